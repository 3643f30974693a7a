"""The BBS's records: in memory to read, in a database before anybody is told of a change.

There is one BBS to a lab, so what it holds in memory is the truth; the database (SQLite with a write-ahead log, or
PostgreSQL by URL) is what it starts from. A transaction is committed before memory changes, so a BBS that is killed
loses nothing that it acknowledged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Delete,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
)
from sqlalchemy.engine import Connection, RowMapping

from netlab.bbs.events import Change
from netlab.bbs.lrp import ActualLRP, Instance, Key, NetInfo, Port, Presence, State
from netlab.protocols import bbs_pb2

Slot = tuple[str, int, Presence]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_METADATA = MetaData()
_ACTUAL = Table(
    "actual_lrps",
    _METADATA,
    Column("process_guid", String, primary_key=True),
    Column("instance_index", Integer, primary_key=True),
    Column("presence", Integer, primary_key=True),
    Column("domain", String, nullable=False),
    Column("state", String, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("instance_guid", String, nullable=False),
    Column("cell_id", String, nullable=False),
    Column("net_info", String, nullable=False),
    Column("crash_count", Integer, nullable=False),
    Column("crash_reason", String, nullable=False),
    Column("placement_error", String, nullable=False),
    Column("epoch", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("retiring", Boolean, nullable=False),
)
_DESIRED = Table(
    "desired_lrps",
    _METADATA,
    Column("process_guid", String, primary_key=True),
    Column("message", LargeBinary, nullable=False),
)
_CELLS = Table(
    "cells",
    _METADATA,
    Column("cell_id", String, primary_key=True),
    Column("message", LargeBinary, nullable=False),
)
_DOMAINS = Table(
    "domains",
    _METADATA,
    Column("domain", String, primary_key=True),
    Column("fresh_until", BigInteger, nullable=False),
)
_DELETE_ACTUAL = _ACTUAL.delete().where(
    _ACTUAL.c.process_guid == bindparam("old_process_guid"),
    _ACTUAL.c.instance_index == bindparam("old_index"),
    _ACTUAL.c.presence == bindparam("old_presence"),
)
_DELETE_DESIRED = _DESIRED.delete().where(_DESIRED.c.process_guid == bindparam("old_process_guid"))
_DELETE_CELL = _CELLS.delete().where(_CELLS.c.cell_id == bindparam("old_cell_id"))
_DELETE_DOMAIN = _DOMAINS.delete().where(_DOMAINS.c.domain == bindparam("old_domain"))

FOREVER = 0
"""When a domain goes stale that stays fresh whatever happens."""


class Store:
    """All records of one BBS. Readers get the immutable records themselves; messages they must not change."""

    def __init__(self, url: str) -> None:
        """Open the database at an SQLAlchemy URL, make its tables where they are missing, and read everything."""
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _tune_sqlite)
        _METADATA.create_all(self._engine)
        self._connection: Connection = self._engine.connect()
        self.desired: dict[str, bbs_pb2.DesiredLRP] = {}
        self.cells: dict[str, bbs_pb2.CellPresence] = {}
        self.domains: dict[str, int] = {}
        """When each domain goes stale, in nanoseconds since the epoch, or FOREVER."""
        self._actual: dict[str, dict[tuple[int, Presence], ActualLRP]] = {}
        self._load()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
        self._engine.dispose()

    def processes(self) -> set[str]:
        """Every process that is desired or has a record."""
        return self.desired.keys() | self._actual.keys()

    def actual(self, process_guid: str | None = None) -> Iterator[ActualLRP]:
        """The records of one process, or all."""
        if process_guid is not None:
            yield from self._actual.get(process_guid, {}).values()
            return
        for records in self._actual.values():
            yield from records.values()

    def record(self, process_guid: str, index: int, presence: Presence = Presence.ORDINARY) -> ActualLRP | None:
        """One instance's record of the given presence, if there is one."""
        return self._actual.get(process_guid, {}).get((index, presence))

    def fresh(self, domain: str, now: int) -> bool:
        """Whether whoever owns the domain said lately that its desired LRPs are complete."""
        until = self.domains.get(domain)
        return until is not None and (until == FOREVER or until > now)

    def write(
        self,
        changes: Sequence[Change] = (),
        *,
        desired: Mapping[str, bbs_pb2.DesiredLRP | None] | None = None,
        cells: Mapping[str, bbs_pb2.CellPresence | None] | None = None,
        domains: Mapping[str, int | None] | None = None,
    ) -> None:
        """Carry out one transaction: durable when this returns, and visible to readers only then.

        None as a value removes what has that key.
        """
        desired, cells, domains = desired or {}, cells or {}, domains or {}
        slots = _final(changes)
        with self._connection.begin():
            self._replace(
                _DELETE_ACTUAL,
                _ACTUAL,
                [{"old_process_guid": guid, "old_index": index, "old_presence": int(p)} for guid, index, p in slots],
                [_row(record) for record in slots.values() if record is not None],
            )
            self._replace(
                _DELETE_DESIRED,
                _DESIRED,
                [{"old_process_guid": guid} for guid in desired],
                [
                    {"process_guid": guid, "message": message.SerializeToString()}
                    for guid, message in desired.items()
                    if message is not None
                ],
            )
            self._replace(
                _DELETE_CELL,
                _CELLS,
                [{"old_cell_id": cell_id} for cell_id in cells],
                [
                    {"cell_id": cell_id, "message": message.SerializeToString()}
                    for cell_id, message in cells.items()
                    if message is not None
                ],
            )
            self._replace(
                _DELETE_DOMAIN,
                _DOMAINS,
                [{"old_domain": domain} for domain in domains],
                [{"domain": domain, "fresh_until": until} for domain, until in domains.items() if until is not None],
            )
        self._remember(slots)
        _merge(self.desired, desired)
        _merge(self.cells, cells)
        _merge(self.domains, domains)

    def _replace(self, delete: Delete, table: Table, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
        if old:
            self._connection.execute(delete, old)
        if new:
            self._connection.execute(table.insert(), new)

    def _remember(self, slots: Mapping[Slot, ActualLRP | None]) -> None:
        for (guid, index, presence), record in slots.items():
            records = self._actual.setdefault(guid, {})
            _merge(records, {(index, presence): record})
            if not records:
                del self._actual[guid]

    def _load(self) -> None:
        with self._connection.begin():
            for row in self._connection.execute(_ACTUAL.select()).mappings():
                record = _lrp(row)
                self._remember({record.slot: record})
            for row in self._connection.execute(_DESIRED.select()).mappings():
                self.desired[row["process_guid"]] = bbs_pb2.DesiredLRP.FromString(row["message"])
            for row in self._connection.execute(_CELLS.select()).mappings():
                self.cells[row["cell_id"]] = bbs_pb2.CellPresence.FromString(row["message"])
            for row in self._connection.execute(_DOMAINS.select()).mappings():
                self.domains[row["domain"]] = row["fresh_until"]


def _final(changes: Sequence[Change]) -> dict[Slot, ActualLRP | None]:
    """What each slot that the changes touch holds after all of them; one may build on another."""
    slots: dict[Slot, ActualLRP | None] = {}
    for change in changes:
        if change.before is not change.after:
            if change.before is not None:
                slots[change.before.slot] = None
            if change.after is not None:
                slots[change.after.slot] = change.after
    return slots


def _merge(target: dict[_Key, _Value], changes: Mapping[_Key, _Value | None]) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = value


def _tune_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # A killed process loses nothing without a sync at each commit; only a power cut would, and that ends the lab too.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _row(lrp: ActualLRP) -> dict[str, Any]:
    return {
        "process_guid": lrp.key.process_guid,
        "instance_index": lrp.key.index,
        "presence": int(lrp.presence),
        "domain": lrp.key.domain,
        "state": lrp.state.value,
        "since": lrp.since,
        "instance_guid": lrp.instance.guid,
        "cell_id": lrp.instance.cell_id,
        "net_info": json.dumps(asdict(lrp.net)),
        "crash_count": lrp.crash_count,
        "crash_reason": lrp.crash_reason,
        "placement_error": lrp.placement_error,
        "epoch": lrp.epoch,
        "revision": lrp.revision,
        "retiring": lrp.retiring,
    }


def _lrp(row: RowMapping) -> ActualLRP:
    net = json.loads(row["net_info"])
    return ActualLRP(
        key=Key(row["process_guid"], row["instance_index"], row["domain"]),
        state=State(row["state"]),
        since=row["since"],
        instance=Instance(row["instance_guid"], row["cell_id"]),
        net=NetInfo(**{**net, "ports": tuple(Port(**port) for port in net["ports"])}),
        crash_count=row["crash_count"],
        crash_reason=row["crash_reason"],
        placement_error=row["placement_error"],
        presence=Presence(row["presence"]),
        epoch=row["epoch"],
        revision=row["revision"],
        retiring=row["retiring"],
    )
