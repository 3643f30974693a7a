"""What the BBS answers when it does not do what it was asked: an error inside the response, with HTTP 200."""

from __future__ import annotations

from enum import IntEnum

from netlab.errors import MeshError


class ErrorType(IntEnum):
    """The types of the wire's `models.Error` that this BBS uses."""

    UnknownError = 0
    InvalidRequest = 4
    InvalidProtobufMessage = 6
    ResourceExists = 12
    ResourceNotFound = 13
    ActualLRPCannotBeClaimed = 15
    ActualLRPCannotBeStarted = 16
    ActualLRPCannotBeCrashed = 17
    ActualLRPCannotBeFailed = 18
    ActualLRPCannotBeRemoved = 19
    ActualLRPCannotBeUnclaimed = 21


class Refused(MeshError):
    """The request cannot be done in the present state; `kind` is what a client decides by."""

    def __init__(self, kind: ErrorType, message: str) -> None:
        super().__init__(message, type=kind.name)
        self.kind = kind
