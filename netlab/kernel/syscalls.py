"""The few system calls that Python 3.11 does not wrap: unshare, setns, mount and umount2.

`ctypes.CDLL` releases the GIL around each call, so other threads run while the kernel works. Each raises
`OSError` with the errno; the callers turn that into an error that names the operation.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)


def _check(result: int, path: Path | None = None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), None if path is None else str(path))


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces of the kinds in `flags` (unshare(2))."""
    _check(_libc.unshare(flags))


def setns(fd: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace that `fd` refers to (setns(2))."""
    _check(_libc.setns(fd, kind))


def mount(source: str, target: Path, filesystem: str = "none", flags: int = 0, data: str = "") -> None:
    """Mount `source` on `target` (mount(2))."""
    result = _libc.mount(source.encode(), os.fsencode(target), filesystem.encode(), flags, data.encode() or None)
    _check(result, target)


def unmount(target: Path, flags: int = MNT_DETACH | UMOUNT_NOFOLLOW) -> None:
    """Unmount `target`, by default lazily: it disappears at once, with everything mounted below it (umount2(2))."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def getsockopt(fd: int, level: int, option: int, request: bytes) -> bytes:
    """Read a socket option whose buffer also carries the question (getsockopt(2))."""
    buffer = ctypes.create_string_buffer(request, len(request))
    size = ctypes.c_uint32(len(request))
    _check(_libc.getsockopt(fd, level, option, buffer, ctypes.byref(size)))
    return buffer.raw[: size.value]


def bind(fd: int, address: bytes) -> None:
    """Bind a socket to an address of any family (bind(2)); Python's own cannot name all interfaces of AF_PACKET."""
    _check(_libc.bind(fd, address, len(address)))


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def attach_filter(fd: int, program: bytes) -> None:
    """Give a socket a classic BPF program, in place of the one it has (SO_ATTACH_FILTER)."""
    request = _FilterProgram(len(program) // 8, program)
    _check(_libc.setsockopt(fd, 1, 26, ctypes.byref(request), ctypes.sizeof(request)))


def syscall(number: int, *arguments: int) -> int:
    """Make a system call by its number, for which the C library has no function (syscall(2))."""
    result = int(_libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))
    if result < 0:
        _check(result)
    return result
