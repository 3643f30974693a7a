from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from netlab.bbs import lrp as life
from netlab.bbs.events import Change
from netlab.bbs.lrp import Instance, Key, NetInfo, Port, Presence
from netlab.bbs.store import FOREVER, Store
from netlab.protocols import bbs_pb2

KEY = Key("web-1", 0, "cf-apps")
NET = NetInfo("10.0.2.1", (Port(8080, 61000), Port(9090, 61001, 61443, 61444)), "10.255.1.2", 2)
WAITING = life.unclaimed(KEY, 1)
RUNNING = life.retire(life.start(WAITING, Instance("guid", "cell-1"), NET, 2))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/bbs.sqlite3"


def test_everything_comes_back(url: str) -> None:
    desired = bbs_pb2.DesiredLRP(process_guid="web-1", domain="cf-apps", instances=2)
    cell = bbs_pb2.CellPresence(cell_id="cell-1", rep_url="https://10.0.2.1:1801")
    store = Store(url)
    store.write(
        [Change(None, RUNNING)],
        desired={"web-1": desired},
        cells={"cell-1": cell},
        domains={"cf-apps": FOREVER, "other": 5},
    )
    store.close()
    store = Store(url)
    assert list(store.actual()) == [RUNNING]
    assert store.desired == {"web-1": desired}
    assert store.cells == {"cell-1": cell}
    assert store.domains == {"cf-apps": FOREVER, "other": 5}
    store.write([Change(RUNNING, None)], desired={"web-1": None}, cells={"cell-1": None}, domains={"other": None})
    store.close()
    store = Store(url)
    assert list(store.actual()) == []
    assert (store.desired, store.cells, store.domains) == ({}, {}, {"cf-apps": FOREVER})
    assert store.processes() == set()
    store.close()


def test_records_of_one_instance_by_presence(url: str) -> None:
    store = Store(url)
    doubtful = life.suspect(RUNNING)
    store.write([Change(None, RUNNING)])
    store.write([Change(RUNNING, doubtful), Change(None, WAITING)])
    assert store.record("web-1", 0) is WAITING
    assert store.record("web-1", 0, Presence.SUSPECT) is doubtful
    trusted = life.trust(doubtful)
    store.write([Change(WAITING, None), Change(doubtful, trusted)])
    store.close()
    store = Store(url)
    assert list(store.actual("web-1")) == [trusted]
    store.close()


def test_changes_of_one_transaction_build_on_each_other(url: str) -> None:
    store = Store(url)
    store.write([Change(None, RUNNING)])
    again = life.unclaim(RUNNING, 3)
    store.write([Change(RUNNING, again), Change(again, None)])
    assert list(store.actual()) == []
    store.write([Change(None, WAITING), Change(WAITING, RUNNING)])
    store.close()
    store = Store(url)
    assert list(store.actual()) == [RUNNING]
    store.close()


def test_a_transaction_that_fails_changes_nothing(url: str) -> None:
    store = Store(url)
    broken = bbs_pb2.DesiredLRP(process_guid="x")
    with pytest.raises(Exception, match="process_guid"):
        store.write([Change(None, WAITING)], desired={None: broken})  # type: ignore[dict-item]
    assert list(store.actual()) == []
    store.write([Change(None, RUNNING)])
    assert list(store.actual()) == [RUNNING]
    store.close()


def test_freshness(url: str) -> None:
    store = Store(url)
    store.write(domains={"for-ever": FOREVER, "until-5": 5})
    assert [store.fresh(name, 4) for name in ("for-ever", "until-5", "unknown")] == [True, True, False]
    assert [store.fresh(name, 6) for name in ("for-ever", "until-5", "unknown")] == [True, False, False]
    store.close()


def test_what_was_written_outlives_kill_9(url: str) -> None:
    pid = os.fork()
    if pid == 0:
        Store(url).write([Change(None, RUNNING)])
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    store = Store(url)
    assert list(store.actual()) == [RUNNING]
    store.close()
