"""The capture's filter program, run on packets by a small interpreter of classic BPF."""

from __future__ import annotations

import socket
import struct

import pytest

from netlab.errors import NetlabBug
from netlab.kernel.capture import port_filter


def run(program: bytes, packet: bytes) -> int:
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator = index = position = 0
    while True:
        code, yes, no, value = instructions[position]
        position += 1
        match code:
            case 0x28:
                accumulator = int.from_bytes(packet[value : value + 2], "big")
            case 0x30:
                accumulator = packet[value]
            case 0x48:
                accumulator = int.from_bytes(packet[index + value : index + value + 2], "big")
            case 0xB1:
                index = 4 * (packet[value] & 0xF)
            case 0x15:
                position += yes if accumulator == value else no
            case 0x45:
                position += yes if accumulator & value else no
            case 0x06:
                return value
            case _:
                raise AssertionError(hex(code))


def frame(
    source: int = 40000,
    destination: int = 80,
    protocol: int = 6,
    *,
    fragment: int = 0,
    options: int = 0,
    kind: int = 0x0800,
) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x45 + options, 0, 40, 1, fragment, 64, protocol, 0)
    header += socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2") + bytes(4 * options)
    return bytes(12) + struct.pack(">H", kind) + header + struct.pack(">HH", source, destination) + bytes(16)


PORTS = {80, 8080, 15001}


@pytest.mark.parametrize(
    ("packet", "taken"),
    [
        (frame(), True),
        (frame(8080, 40000), True),
        (frame(40000, 15001, 17), True),
        (frame(40000, 15001, options=3), True),
        (frame(40000, 443), False),
        (frame(40000, 80, fragment=0x2000), True),
        (frame(80, 80, fragment=0x0010), False),
        (frame(1, 1, socket.IPPROTO_ICMP), True),
        (frame(40000, 80, socket.IPPROTO_GRE), False),
        (frame(kind=0x0806), False),
    ],
)
def test_what_is_taken(packet: bytes, taken: bool) -> None:
    assert bool(run(port_filter(PORTS), packet)) is taken
    assert run(port_filter(None), packet)


def test_most_ports_that_a_jump_can_pass() -> None:
    program = port_filter(range(1, 101))
    assert run(program, frame(40000, 100))
    assert run(program, frame(1, 40000))
    assert not run(program, frame(40000, 101))
    with pytest.raises(NetlabBug):
        port_filter(range(101))
