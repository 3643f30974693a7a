"""The events of the BBS's stream (`POST /v1/events/lrp_instances.r1`): from the lines of its body to messages."""

from __future__ import annotations

import base64
import binascii
import socket
from collections.abc import AsyncIterator
from typing import Final

from google.protobuf.message import DecodeError, Message

from netlab.errors import MeshError
from netlab.protocols import bbs_pb2 as bbs

PATH: Final = "/v1/events/lrp_instances.r1"
EVENTS: Final[dict[str, type[Message]]] = {
    "actual_lrp_instance_created": bbs.ActualLRPInstanceCreatedEvent,
    "actual_lrp_instance_changed": bbs.ActualLRPInstanceChangedEvent,
    "actual_lrp_instance_removed": bbs.ActualLRPInstanceRemovedEvent,
    "actual_lrp_crashed": bbs.ActualLRPCrashedEvent,
}
"""The events of instances; the stream also carries those of desired LRPs."""
KEEPALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 4),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""Socket options for a subscriber: a BBS whose machine vanished sends nothing, not even a reset; these tell in 10 s."""


def parse_event(name: str, data: str) -> Message | None:
    """The event of an SSE `event` name and its base64 `data`; None for one of a desired LRP. Raises MeshError."""
    kind = EVENTS.get(name)
    if kind is None:
        return None
    try:
        return kind.FromString(base64.b64decode(data, validate=True))
    except (binascii.Error, DecodeError) as error:
        raise MeshError(f"the BBS sent a {name} event that cannot be read: {error}") from error


async def instance_events(lines: AsyncIterator[str]) -> AsyncIterator[Message]:
    """The events of instances that the lines of a stream make, as they come. Raises MeshError."""
    name = data = ""
    async for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif not line:
            event = parse_event(name, data)
            name = data = ""
            if event is not None:
                yield event
