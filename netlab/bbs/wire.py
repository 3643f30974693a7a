"""Between the BBS's own records and the protobuf messages of its wire."""

from __future__ import annotations

from typing import cast

from google.protobuf.message import Message

from netlab.bbs.events import Crashed, InstanceChanged, InstanceCreated, InstanceEvent, InstanceRemoved
from netlab.bbs.lrp import ActualLRP, Instance, Key, NetInfo, Port
from netlab.protocols import bbs_pb2


def key_message(key: Key) -> bbs_pb2.ActualLRPKey:
    """A key as on the wire."""
    return bbs_pb2.ActualLRPKey(process_guid=key.process_guid, index=key.index, domain=key.domain)


def key_of(message: bbs_pb2.ActualLRPKey) -> Key:
    """A key from the wire."""
    return Key(message.process_guid, message.index, message.domain)


def instance_message(instance: Instance) -> bbs_pb2.ActualLRPInstanceKey:
    """An instance key as on the wire."""
    return bbs_pb2.ActualLRPInstanceKey(instance_guid=instance.guid, cell_id=instance.cell_id)


def instance_of(message: bbs_pb2.ActualLRPInstanceKey) -> Instance:
    """An instance key from the wire."""
    return Instance(message.instance_guid, message.cell_id)


def net_message(net: NetInfo) -> bbs_pb2.ActualLRPNetInfo:
    """Addresses and ports as on the wire."""
    return bbs_pb2.ActualLRPNetInfo(
        address=net.address,
        ports=[
            bbs_pb2.PortMapping(
                container_port=port.container_port,
                host_port=port.host_port,
                container_tls_proxy_port=port.container_tls_proxy_port,
                host_tls_proxy_port=port.host_tls_proxy_port,
            )
            for port in net.ports
        ],
        instance_address=net.instance_address,
        preferred_address=cast("bbs_pb2.ActualLRPNetInfo.PreferredAddress.ValueType", net.preferred_address),
    )


def net_of(message: bbs_pb2.ActualLRPNetInfo) -> NetInfo:
    """Addresses and ports from the wire."""
    return NetInfo(
        message.address,
        tuple(
            Port(port.container_port, port.host_port, port.container_tls_proxy_port, port.host_tls_proxy_port)
            for port in message.ports
        ),
        message.instance_address,
        int(message.preferred_address),
    )


def actual_message(lrp: ActualLRP) -> bbs_pb2.ActualLRP:
    """A record as on the wire."""
    return bbs_pb2.ActualLRP(
        actual_lrp_key=key_message(lrp.key),
        actual_lrp_instance_key=instance_message(lrp.instance),
        actual_lrp_net_info=net_message(lrp.net),
        crash_count=lrp.crash_count,
        crash_reason=lrp.crash_reason,
        state=lrp.state.value,
        placement_error=lrp.placement_error,
        since=lrp.since,
        modification_tag=_tag(lrp),
        presence=_presence(lrp),
    )


def event_message(event: InstanceEvent) -> tuple[str, Message]:
    """The name of an event's type on the stream, and its message."""
    match event:
        case InstanceCreated(lrp):
            message: Message = bbs_pb2.ActualLRPInstanceCreatedEvent(actual_lrp=actual_message(lrp))
            return "actual_lrp_instance_created", message
        case InstanceRemoved(lrp):
            message = bbs_pb2.ActualLRPInstanceRemovedEvent(actual_lrp=actual_message(lrp))
            return "actual_lrp_instance_removed", message
        case InstanceChanged(before, after):
            message = bbs_pb2.ActualLRPInstanceChangedEvent(
                actual_lrp_key=key_message(after.key),
                actual_lrp_instance_key=instance_message(after.instance),
                before=_info(before),
                after=_info(after),
            )
            return "actual_lrp_instance_changed", message
        case Crashed(before, after):
            message = bbs_pb2.ActualLRPCrashedEvent(
                actual_lrp_key=key_message(before.key),
                actual_lrp_instance_key=instance_message(before.instance),
                crash_count=after.crash_count,
                crash_reason=after.crash_reason,
                since=after.since,
            )
            return "actual_lrp_crashed", message


def event_cells(event: InstanceEvent) -> set[str]:
    """The cells that an event is about, for subscribers that asked for one cell only."""
    match event:
        case InstanceCreated(lrp) | InstanceRemoved(lrp):
            return {lrp.instance.cell_id}
        case InstanceChanged(before, after) | Crashed(before, after):
            return {before.instance.cell_id, after.instance.cell_id}


def _info(lrp: ActualLRP) -> bbs_pb2.ActualLRPInfo:
    return bbs_pb2.ActualLRPInfo(
        actual_lrp_net_info=net_message(lrp.net),
        crash_count=lrp.crash_count,
        crash_reason=lrp.crash_reason,
        state=lrp.state.value,
        placement_error=lrp.placement_error,
        since=lrp.since,
        modification_tag=_tag(lrp),
        presence=_presence(lrp),
    )


def _tag(lrp: ActualLRP) -> bbs_pb2.ModificationTag:
    return bbs_pb2.ModificationTag(epoch=lrp.epoch, index=lrp.revision)


def _presence(lrp: ActualLRP) -> bbs_pb2.ActualLRP.Presence.ValueType:
    return cast("bbs_pb2.ActualLRP.Presence.ValueType", int(lrp.presence))
