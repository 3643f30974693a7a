"""The least that Python can do for N containers: raw system calls, prepacked messages, no names, no checks.

What netlab is measured against. It makes the same kernel objects as `netlab.bench.fabric` (namespace without IPv6, veth
to the cell's namespace, addresses, default route, permanent neighbours), holds namespaces by descriptors alone and
makes them in two threads. Nothing else in netlab uses it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
import time

from netlab.bench import ways

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_IPV6_OFF = ("/proc/sys/net/ipv6/conf/all/disable_ipv6", "/proc/sys/net/ipv6/conf/default/disable_ipv6")
_THREADS = 2
_GATEWAY = socket.inet_aton("169.254.0.1")
_CELL_MAC = bytes.fromhex("020000000001")


def measure(count: int) -> tuple[float, float]:
    """Make `count` containers and drop them; returns the seconds until they stood, and until the last was gone."""
    return ways.in_thread(lambda: _measure(count))


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) & 3)


def _message(kind: int, body: bytes, flags: int = 0x605) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def _veth(number: int, fd: int) -> bytes:
    peer = struct.pack("=BxHiII", 0, 0, 2, 0, 0) + _attribute(3, b"eth0\0") + _attribute(28, struct.pack("=I", fd))
    peer += _attribute(1, _mac(number))
    body = struct.pack("=BxHiII", 0, 0, number + 2, 1, 1) + _attribute(3, b"c%d\0" % number)
    body += _attribute(1, _CELL_MAC)
    return _message(16, body + _attribute(18, _attribute(1, b"veth") + _attribute(2, _attribute(1, peer))))


def _mac(number: int) -> bytes:
    return struct.pack(">HI", 0x0200, number + 2)


def _up(index: int) -> bytes:
    return _message(16, struct.pack("=BxHiII", 0, 0, index, 1, 1), 5)


def _address(index: int, local: bytes, peer: bytes) -> bytes:
    return _message(20, struct.pack("=BBBBI", 2, 32, 0, 0, index) + _attribute(2, local) + _attribute(1, peer))


def _neighbour(index: int, address: bytes, mac: bytes) -> bytes:
    body = struct.pack("=BxxxiHBB", 2, index, 0x80, 0, 0) + _attribute(1, address) + _attribute(2, mac)
    return _message(28, body, 0x505)


_DEFAULT_ROUTE = _message(
    24,
    struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0)
    + _attribute(5, _GATEWAY)
    + _attribute(4, struct.pack("=I", 2)),
)


def _container_address(number: int) -> bytes:
    return struct.pack(">I", (10 << 24) + (255 << 16) + number + 2)


def _send(sock: socket.socket, messages: list[bytes]) -> None:
    sock.send(b"".join(messages))
    expected = len(messages)
    while expected:
        data, offset = sock.recv(1 << 18), 0
        while offset < len(data):
            length, _, _, _, _, status = struct.unpack_from("=IHHIIi", data, offset)
            if status:
                raise OSError(-status, os.strerror(-status))
            expected -= 1
            offset += (length + 3) & ~3


def _new_namespace() -> tuple[int, socket.socket]:
    if _libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    for path in _IPV6_OFF:
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"1")
        os.close(fd)
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, 32, 8 << 20)
    sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
    sock.setsockopt(270, 10, 1)
    sock.bind((0, 0))
    return os.open(_OWN, os.O_RDONLY), sock


def _measure(count: int) -> tuple[float, float]:
    began = time.monotonic()
    cell_fd, cell = _new_namespace()
    spaces = [(cell_fd, cell)] * count

    def make(share: range) -> None:
        for number in share:
            spaces[number] = _new_namespace()

    threads = [threading.Thread(target=make, args=(range(n, count, _THREADS),)) for n in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for start in range(0, count, 200):
        _send(cell, [_veth(number, spaces[number][0]) for number in range(start, min(start + 200, count))])
    for start in range(0, count, 100):
        messages = []
        for number in range(start, min(start + 100, count)):
            address = _container_address(number)
            messages.append(_address(number + 2, _GATEWAY, address))
            messages.append(_neighbour(number + 2, address, _mac(number)))
        _send(cell, messages)
    for number, (_, sock) in enumerate(spaces):
        local = _container_address(number)
        wanted = [_up(1), _up(2), _address(2, local, _GATEWAY), _DEFAULT_ROUTE]
        _send(sock, [*wanted, _neighbour(2, _GATEWAY, _CELL_MAC)])
    built = time.monotonic() - began
    with ways.LinkWatch() as watch:
        began = time.monotonic()
        for fd, sock in spaces:
            sock.close()
            os.close(fd)
        watch.wait_for_removals(count)
        gone = time.monotonic() - began
    cell.close()
    os.close(cell_fd)
    return built, gone
