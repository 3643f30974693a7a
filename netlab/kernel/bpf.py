"""Loading the one BPF program that tells whether netfilter takes BPF links (kernel 6.4 and later)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from netlab.kernel import syscalls

_PROG_LOAD, _LINK_CREATE = 5, 28
_PROG_TYPE_NETFILTER, _ATTACH_NETFILTER = 32, 45
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_IPV4, _PREROUTING, _PRIORITY = 2, 0, -351


def probe_netfilter_link() -> str:
    """Attach a program that accepts everything to the calling thread's namespace, and let go of it again.

    Raises `OSError` if the kernel does not take it.
    """
    # r0 = 1 (NF_ACCEPT); exit
    code = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    instructions = ctypes.create_string_buffer(code, len(code))
    license_text = ctypes.create_string_buffer(b"GPL")
    load = struct.pack(
        "=IIQQIIQIi16sII",
        _PROG_TYPE_NETFILTER,
        len(code) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(license_text),
        0,
        0,
        0,
        0,
        0,
        b"netlab_probe",
        0,
        _ATTACH_NETFILTER,
    )
    program = _bpf(_PROG_LOAD, load)
    try:
        attach = struct.pack("=IIIIIIiI", program, 0, _ATTACH_NETFILTER, 0, _IPV4, _PREROUTING, _PRIORITY, 0)
        os.close(_bpf(_LINK_CREATE, attach))
    finally:
        os.close(program)
    return "attached a program to PREROUTING"


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"the number of bpf(2) on {platform.machine()} is not known")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return syscalls.syscall(number, command, ctypes.addressof(buffer), len(attributes))
