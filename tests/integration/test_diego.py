"""BBS, auctioneer and two reps on the real kernel, with real Envoys and the demo app."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from netlab.kernel import rules
from netlab.protocols import bbs_pb2 as pb
from tests.integration.diego_bench import BBS_URL, Diego

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


PATIENT = pytest.mark.parametrize("diego", [60.0], indirect=True, ids=["patient"])
"""For a BBS that takes no cell for lost while its rep starts anew, however long that takes."""


@pytest.fixture
def diego(request: pytest.FixtureRequest) -> Iterator[Diego]:
    # Not below pytest's own folder: that is closed to the users that Envoy and apps run as.
    directory = Path(tempfile.mkdtemp(prefix="nltd", dir="/run"))
    directory.chmod(0o711)
    try:
        with Diego(directory) as bench:
            bench.cell_ttl = getattr(request, "param", bench.cell_ttl)
            bench.start("bbs", "auctioneer", "cell-1", "cell-2")
            yield bench
    finally:
        shutil.rmtree(directory)


def test_instances_run_on_both_cells_and_answer_through_their_sidecars(diego: Diego) -> None:
    began = time.monotonic()
    diego.desire("hello-1", 2)
    lrps = diego.until_running("hello-1", 2)
    print(f"two instances after {time.monotonic() - began:.3f} s")
    assert {lrp.actual_lrp_instance_key.cell_id for lrp in lrps} == {"cell-1", "cell-2"}
    for lrp in lrps:
        answer = diego.request(lrp, "/some/path?x=1")
        assert answer["app"] == "hello"
        assert answer["index"] == lrp.actual_lrp_key.index
        assert answer["instance_guid"] == lrp.actual_lrp_instance_key.instance_guid
        assert answer["address"] == lrp.actual_lrp_net_info.instance_address
        # The sidecar's connection, not the client's.
        assert answer["peer"].partition(":")[0] != "10.0.0.100"
    records = {record["node"]: record for record in diego.records()}
    assert set(records) == {"hello-0", "hello-1"}
    record = records["hello-0"]
    assert record["state"] == "RUNNING"
    installed = rules.backend().list(Path(record["namespace_path"]), "nat")
    capture = [entry for entry in installed if entry.rule.target == "DNAT"]
    assert [entry.packets for entry in capture] == [1]
    assert "sidecar of hello/0" in capture[0].rule.comment


def test_scaling_down_loses_no_request_and_takes_everything_back(diego: Diego) -> None:
    before = {cell: installed(diego, cell) for cell in ("cell-1", "cell-2")}
    diego.desire("hello-1", 3)
    first, second, third = diego.until_running("hello-1", 3)
    diego.scale("hello-1", 1)
    (left,) = diego.until_running("hello-1", 1)
    assert left.actual_lrp_instance_key == first.actual_lrp_instance_key
    # Told to the routers already, but they may not have heard: the instance still answers.
    assert diego.request(second)["index"] == 1
    gone = {lrp.actual_lrp_instance_key.instance_guid for lrp in (second, third)}
    diego.until(lambda: True if not gone & {record["handle"] for record in diego.records()} else None)
    diego.remove("hello-1")
    diego.until(lambda: True if not diego.actual() and not diego.records() else None)
    assert {cell: installed(diego, cell) for cell in before} == before
    assert [path.name for path in diego.namespaces.iterdir() if "hello" in path.name] == []
    assert list((diego.run_dir / "containers").iterdir()) == []


def installed(diego: Diego, cell: str) -> list[str]:
    return [str(entry.rule) for entry in rules.backend().list(diego.namespace(cell), "nat")]


def test_an_instance_that_ends_is_restarted_and_counted(diego: Diego) -> None:
    diego.desire("hello-1", 1)
    (lrp,) = diego.until_running("hello-1", 1)
    diego.request(lrp, "/exit?code=3")

    def restarted() -> bool | None:
        (now,) = diego.actual()
        return True if now.state == "RUNNING" and now.crash_count == 1 else None

    diego.until(restarted)
    (record,) = [record for record in diego.records() if record["state"] == "RUNNING"]
    assert record["node"] == "hello-0", "the successor has the name"
    os.kill(record["sidecar_pid"], signal.SIGKILL)
    diego.until(lambda: True if diego.actual()[0].crash_count == 2 else None)
    assert "the sidecar was killed by SIGKILL" in diego.actual()[0].crash_reason
    (again,) = diego.until_running("hello-1", 1)
    diego.request(again, "/exit?code=3")
    diego.until(lambda: True if diego.actual()[0].state == "CRASHED" else None)
    diego.until(lambda: True if not diego.records() else None)


def test_a_killed_bbs_forgets_nothing(diego: Diego) -> None:
    diego.desire("hello-1", 2)
    before = diego.until_running("hello-1", 2)
    diego.kill("bbs")
    diego.start("bbs")
    assert diego.actual("hello-1") == before
    diego.kill("bbs")
    (record, _) = diego.records()
    os.kill(record["app_pid"], signal.SIGKILL)
    diego.start("bbs")
    diego.until(lambda: True if any(lrp.crash_count for lrp in diego.actual()) else None)
    diego.until_running("hello-1", 2)


def test_an_instance_that_ceases_to_be_healthy_crashes(diego: Diego) -> None:
    action = pb.Action(
        run_action=pb.RunAction(path="/bin/sh", args=["-c", 'touch up; exec python3 -m http.server "$PORT"'])
    )
    check = pb.Check(http_check=pb.HTTPCheck(port=8080, path="/up", interval_ms=100))
    diego.desire("files-1", 1, action=action, check_definition=pb.CheckDefinition(checks=[check]))
    diego.until_running("files-1", 1)
    (record,) = diego.records()
    (diego.run_dir / "containers" / record["handle"] / "app" / "up").unlink()
    diego.until(lambda: True if diego.actual()[0].crash_count else None)
    prefix = "Instance became unhealthy: Liveness check unsuccessful: "
    expected = f"{prefix}failed to make HTTP request to '/up' on port 8080: received status code 404 in "
    assert diego.actual()[0].crash_reason.startswith(expected), diego.actual()
    diego.until_running("files-1", 1)


@PATIENT
def test_a_connection_is_waited_for_also_by_the_next_rep(diego: Diego) -> None:
    diego.desire("hello-1", 1)
    (lrp,) = diego.until_running("hello-1", 1)
    cell = lrp.actual_lrp_instance_key.cell_id
    with diego.connect(lrp) as client:
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1\r\nHost: hello\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            diego.scale("hello-1", 0)
            diego.until(lambda: True if diego.records()[0]["state"] == "STOPPING" else None)
            assert diego.actual() == []
            diego.kill(cell)
            diego.start(cell)
        client.sendall(b"GET / HTTP/1.1\r\nHost: hello\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    diego.until(lambda: True if not diego.records() else None)


@PATIENT
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_rep_finds_its_containers_again(diego: Diego, number: int) -> None:
    diego.desire("hello-1", 4)
    before = diego.until_running("hello-1", 4)
    diego.kill("cell-1", number)
    on_cell = [lrp for lrp in before if lrp.actual_lrp_instance_key.cell_id == "cell-1"]
    assert all(diego.request(lrp)["app"] == "hello" for lrp in on_cell)
    dead = on_cell[0].actual_lrp_instance_key.instance_guid
    (pid,) = (record["app_pid"] for record in diego.records() if record["handle"] == dead)
    os.kill(pid, signal.SIGKILL)
    diego.start("cell-1")
    diego.until(lambda: True if dead not in guids(diego) else None)
    after = diego.until_running("hello-1", 4)
    kept = {lrp.actual_lrp_instance_key.instance_guid for lrp in before} - {dead}
    assert kept <= {lrp.actual_lrp_instance_key.instance_guid for lrp in after}
    diego.scale("hello-1", 0)
    diego.until(lambda: True if not diego.records() else None)


def guids(diego: Diego) -> set[str]:
    return {lrp.actual_lrp_instance_key.instance_guid for lrp in diego.actual()}


def test_instances_of_a_lost_cell_are_replaced_and_its_return_is_tidied_up(diego: Diego) -> None:
    diego.desire("hello-1", 2)
    before = diego.until_running("hello-1", 2)
    lost = next(lrp for lrp in before if lrp.actual_lrp_instance_key.cell_id == "cell-1")
    diego.kill("cell-1")

    def replaced() -> bool | None:
        on_cell_2 = [lrp for lrp in diego.actual() if lrp.actual_lrp_instance_key.cell_id == "cell-2"]
        return True if len(on_cell_2) == 2 and all(lrp.state == "RUNNING" for lrp in on_cell_2) else None

    diego.until(replaced)
    diego.until_running("hello-1", 2)
    assert diego.request(lost)["app"] == "hello"
    diego.start("cell-1")
    diego.until(lambda: True if lost.actual_lrp_instance_key.instance_guid not in handles(diego) else None)
    assert len(diego.until_running("hello-1", 2)) == 2


def handles(diego: Diego) -> set[str]:
    return {record["handle"] for record in diego.records()}


def test_an_auctioneer_that_was_away_places_what_waited(diego: Diego) -> None:
    diego.kill("auctioneer")
    diego.desire("hello-1", 1)
    assert [lrp.state for lrp in diego.actual()] == ["UNCLAIMED"]
    diego.start("auctioneer")
    diego.until_running("hello-1", 1)
    diego.kill("cell-1")
    diego.kill("cell-2")
    diego.until(lambda: True if any(lrp.presence == 2 for lrp in diego.actual()) else None)
    diego.until(lambda: True if any(lrp.placement_error for lrp in diego.actual()) else None)
    diego.start("cell-1", "cell-2")
    diego.until_running("hello-1", 1)


def test_an_app_with_bits_that_only_root_may_read(diego: Diego) -> None:
    bits = diego.run_dir / "private" / "bits"
    bits.mkdir(parents=True)
    bits.parent.chmod(0o700)
    (bits / "answer.json").write_text('{"it": "works"}')
    (bits / "answer.json").chmod(0o600)
    action = pb.Action(
        run_action=pb.RunAction(
            path="/bin/sh", args=["-c", 'id -u > whoami.json; exec python3 -m http.server "$PORT"'], dir=str(bits)
        )
    )
    check = pb.Check(http_check=pb.HTTPCheck(port=8080, path="/answer.json"))
    diego.desire("files-1", 1, action=action, check_definition=pb.CheckDefinition(checks=[check]))
    (lrp,) = diego.until_running("files-1", 1)
    assert diego.request(lrp, "/answer.json") == {"it": "works"}
    assert diego.request(lrp, "/whoami.json") == 2000
    assert sorted(path.name for path in bits.iterdir()) == ["answer.json"], "the app works on a copy"


def test_an_app_that_cannot_start_says_why(diego: Diego) -> None:
    run = pb.RunAction(path="/bin/sh", args=["-c", "true"], dir="/nowhere")
    diego.desire("broken-1", 1, action=pb.Action(run_action=run))
    diego.until(lambda: True if diego.actual()[0].state == "CRASHED" else None)
    (lrp,) = diego.actual()
    assert lrp.crash_count == 3
    assert lrp.crash_reason == "the app's directory /nowhere does not exist"
    diego.remove("broken-1")
    assert diego.actual() == []
    diego.desire(
        "silent-1", 1, action=pb.Action(run_action=pb.RunAction(path="/bin/sleep", args=["60"])), start_timeout_ms=500
    )
    diego.until(lambda: True if diego.actual()[0].crash_count else None)
    assert diego.actual()[0].crash_reason == "port 8080 did not answer within 0.5 s"


def test_events_reach_a_subscriber_as_they_happen(diego: Diego) -> None:
    def follow(client: httpx.Client) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        with client.stream("POST", f"{BBS_URL}/v1/events/lrp_instances.r1", content=b"") as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            diego.desire("hello-1", 1)
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                assert int(fields["id"]) == len(found)
                found.append((fields["event"], base64.b64decode(fields["data"])))
                if len(found) == 4:
                    return found
        return found

    events = diego.call(follow)
    assert [name for name, _ in events] == [
        "desired_lrp_created",
        "actual_lrp_instance_created",
        "actual_lrp_instance_changed",
        "actual_lrp_instance_changed",
    ]
    last = pb.ActualLRPInstanceChangedEvent.FromString(events[3][1])
    assert (last.before.state, last.after.state) == ("CLAIMED", "RUNNING")
    assert last.after.actual_lrp_net_info.ports[0].host_port == 61000
