"""Whether the kernel has the legacy iptables tables: it says so itself, without any program or library."""

from __future__ import annotations

import functools
import socket
import struct

from netlab.kernel import netns, syscalls

_IPT_SO_GET_INFO = 64
_TABLE_NAME_BYTES, _INFO_BYTES = 32, 84


def why_not() -> str:
    """Why the legacy nat table cannot be used; empty if it can. Asked once, in a namespace made for the question."""
    return _why_not()


def available() -> bool:
    """Whether the legacy nat table can be used."""
    return not _why_not()


def tables_in_use() -> list[str]:
    """The legacy tables that somebody has used in the calling thread's namespace."""
    try:
        with open("/proc/thread-self/net/ip_tables_names", encoding="ascii") as names:
            return names.read().split()
    except FileNotFoundError:
        return []


@functools.cache
def _why_not() -> str:
    return netns.in_thread(_ask)


def _ask() -> str:
    # In the machine's own namespace the question alone would bring the table into use.
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as sock:
            request = struct.pack(f"={_TABLE_NAME_BYTES}s", b"nat").ljust(_INFO_BYTES, b"\0")
            syscalls.getsockopt(sock.fileno(), socket.SOL_IP, _IPT_SO_GET_INFO, request)
    except OSError as error:
        return error.strerror or str(error)
    return ""
