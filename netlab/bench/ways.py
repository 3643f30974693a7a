"""What the ways of building a fabric share: a thread to lose in namespaces, and a look at links as they go."""

from __future__ import annotations

import resource
import select
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self, TypeVar

from netlab.errors import KernelError

_LINK_GROUP, _DELETE_LINK = 1, 17
_Result = TypeVar("_Result")


def in_thread(work: Callable[[], _Result]) -> _Result:
    """Run `work` in a thread of its own, whose namespace nobody needs afterwards."""
    results: list[_Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def allow_open_files(count: int) -> None:
    """Raise this process's limit of open files, if it is lower and may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


class LinkWatch:
    """Sees links of the calling thread's namespace go."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
        self._socket.bind((0, _LINK_GROUP))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait_for_removals(self, count: int, timeout: float = 60.0) -> None:
        """Return once `count` links have gone since the watch began."""
        gone: set[int] = set()
        while len(gone) < count:
            if not select.select([self._socket], [], [], timeout)[0]:
                raise KernelError(f"{count - len(gone)} of {count} links are still there after {timeout:g} s")
            data, offset = self._socket.recv(1 << 18), 0
            while offset + 24 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == _DELETE_LINK:
                    gone.add(struct.unpack_from("=i", data, offset + 20)[0])
                offset += (length + 3) & ~3
