"""Which netfilter rule a packet met: TRACE of the legacy tables and of nftables, without touching a rule of either.

The trace bit of a packet is the same for both. A private nftables table sets it on the first packet of connections;
it is owned by its socket, so it is gone when the process is. The legacy tables then report through NFLOG, which has to
be named as the namespace's logger, and nftables through a netlink group. The bit does not survive a veth between
namespaces, so every namespace on a packet's way needs a trace of its own.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from netlab.errors import KernelError
from netlab.kernel import netns as namespaces
from netlab.kernel import nft
from netlab.kernel.nfnetlink import Message, NetfilterSocket, Request, integer, parse, string, u8, u16, u32
from netlab.kernel.rtnetlink import attribute

_SUBSYSTEM, _CONFIG, _PACKET = 4, 1, 0
_BIND, _COPY_PACKET = 1, 2
_SEQUENCE_FLAGS = 1 | 2
_HEADER_BYTES = 128
_LOGGER = "net/netfilter/nf_log/2"
_NFLOG = "nfnetlink_log"
_TAKEN = frozenset({errno.EBUSY, errno.EEXIST, errno.EPERM})


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One step of a traced packet through the tables of a namespace, in the order in which they happened."""

    source: Literal["legacy", "nft", "tap"]
    """Which tables; a tap is no rule but one of `netlab.kernel.nft.TAPS`, there for the header."""
    table: str
    chain: str
    kind: str
    """`rule`, `return` (the end of a user chain) or `policy` (the end of a built-in one)."""
    number: int
    """The rule's number in its chain, from 1, as `InstalledRule.number`; 0 if it is no rule."""
    packet: bytes
    """The packet from its IP header on, as it was at this step; empty if nftables did not repeat it."""
    verdict: str
    in_index: int
    out_index: int
    time_ns: int
    """Unix time: the packet's, if the kernel stamped it, else that of the reading."""


class RuleTrace:
    """Traces connections that begin in a namespace, all or those to `ports`, until closed.

    Poll the descriptors of `filenos`; `netlab.kernel.capture.close_all` closes many at once. A namespace can have one
    at a time. Raises `KernelError` if it has one already, or if the kernel has no nftables or no NFLOG.
    """

    def __init__(self, netns: Path, ports: Collection[int] | None = None) -> None:
        self._netns = netns
        self._numbers: dict[tuple[str, str, int], int] = {}
        self._logger: str | None = None
        self._sockets: list[NetfilterSocket] = []
        try:
            self._log = self._open(())
            self._table = self._open((nft.TRACE_GROUP,))
            self._bind_log()
            self._table.batch(nft.SUBSYSTEM, nft.trace_table(ports))
        except OSError as error:
            self.close()
            hint = "another trace is looking at this namespace" if error.errno in _TAKEN else None
            message = f"trace rules in {netns.name}: {error.strerror}"
            raise KernelError(message, hint=hint, errno=error.errno) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def lost(self) -> int:
        """How often steps were lost; an absence proves something only if this is 0."""
        return sum(sock.lost for sock in self._sockets)

    def filenos(self) -> tuple[int, ...]:
        """The descriptors, for a poll or an event loop."""
        return tuple(sock.fileno() for sock in self._sockets)

    def read(self) -> list[TraceRecord]:
        """Every step that has arrived, without waiting: those of the legacy tables, then those of nftables."""
        now = time.time_ns()
        logged = (m for m in self._log.read() if (m.subsystem, m.kind) == (_SUBSYSTEM, _PACKET))
        found = [record for record in (_legacy_record(message, now) for message in logged) if record]
        traced = (m for m in self._table.read() if (m.subsystem, m.kind) == (nft.SUBSYSTEM, nft.TRACE))
        found += [self._nft_record(message, now) for message in traced]
        # A tap reports its chain's rules and policy too; only the first report has the header.
        return [record for record in found if record.source != "tap" or record.packet]

    def close(self) -> None:
        """Remove the private table, give the namespace its logger back, close the sockets."""
        for sock in self._sockets:
            sock.close()
        self._sockets = []
        if self._logger is not None:
            # The namespace may be gone before its trace.
            with suppress(KernelError, OSError), namespaces.entered(self._netns):
                namespaces.write_sysctl(_LOGGER, self._logger)
            self._logger = None

    def _open(self, groups: Collection[int]) -> NetfilterSocket:
        sock = NetfilterSocket(self._netns, tuple(groups))
        self._sockets.append(sock)
        return sock

    def _bind_log(self) -> None:
        for body in (
            u8(1, _BIND),
            attribute(2, struct.pack(">IBB", _HEADER_BYTES, _COPY_PACKET, 0)),
            u32(5, 1),
            u16(6, _SEQUENCE_FLAGS),
        ):
            self._log.request(Request(_SUBSYSTEM, _CONFIG, body, family=0))
        with namespaces.entered(self._netns):
            before = namespaces.read_sysctl(_LOGGER)
            if before != _NFLOG:
                namespaces.write_sysctl(_LOGGER, _NFLOG)
                self._logger = before

    def _nft_record(self, message: Message, now: int) -> TraceRecord:
        step = nft.parse_trace(message)
        number = 0
        if step.kind == "rule" and step.table != nft.TABLE:
            key = (step.table, step.chain, step.handle)
            if key not in self._numbers:
                with NetfilterSocket(self._netns) as sock:
                    self._numbers = nft.rule_numbers(sock)
            number = self._numbers.get(key, 0)
        return TraceRecord(
            source="tap" if step.table == nft.TABLE else "nft",
            table=step.table,
            chain=step.chain,
            kind=step.kind,
            number=number,
            packet=step.packet,
            verdict=step.verdict,
            in_index=step.in_index,
            out_index=step.out_index,
            time_ns=now,
        )


def _legacy_record(message: Message, now: int) -> TraceRecord | None:
    parts = parse(message.attributes)
    words = string(parts.get(10, b"")).split()
    if len(words) < 2 or words[0] != "TRACE:":
        return None
    table, chain, kind, number = words[1].rsplit(":", 3)
    stamp = parts.get(3)
    if stamp is not None:
        seconds, microseconds = struct.unpack(">QQ", stamp)
        now = seconds * 1_000_000_000 + microseconds * 1_000
    return TraceRecord(
        source="legacy",
        table=table,
        chain=chain,
        kind=kind,
        number=int(number) if kind == "rule" else 0,
        packet=parts.get(9, b""),
        verdict="",
        in_index=integer(parts.get(4, b"")),
        out_index=integer(parts.get(5, b"")),
        time_ns=now,
    )
