"""Serialization, such that equal content gives equal bytes."""

from __future__ import annotations

from google.protobuf.message import Message


def serialized(message: Message) -> bytes:
    """The message's bytes; maps are in the order of their keys."""
    return message.SerializeToString(deterministic=True)
