"""Rolling deployments: the steps as a pure function, and their documents and effects through the API."""

import asyncio
import logging

import pytest

from netlab.capi.deployer import Deployer
from netlab.capi.desired import copilot_state, diego_state, routes_updates
from netlab.capi.rollout import advance
from netlab.protocols import bbs_pb2 as bbs
from tests.unit.capi_bench import Bench


@pytest.mark.parametrize(
    ("versions", "running", "in_flight", "after"),
    [
        ({"a": 3}, 0, 1, {"a": 3, "b": 1}),
        ({"a": 3, "b": 1}, 0, 1, {"a": 3, "b": 1}),
        ({"a": 3, "b": 1}, 1, 1, {"a": 2, "b": 2}),
        ({"a": 2, "b": 2}, 1, 1, {"a": 2, "b": 2}),
        ({"a": 1, "b": 3}, 3, 1, {"b": 3}),
        ({"a": 3}, 0, 2, {"a": 3, "b": 2}),
        ({"a": 3, "b": 2}, 2, 2, {"a": 1, "b": 3}),
        ({"a": 3}, 0, 9, {"a": 3, "b": 3}),
    ],
)
def test_each_new_instance_that_runs_lets_an_old_one_go(versions, running, in_flight, after):
    assert advance(versions, "b", 3, in_flight, running) == after


def test_a_successor_that_fails_later_takes_nothing_back():
    assert advance({"a": 1, "b": 3}, "b", 3, 1, 1) == {"a": 1, "b": 3}


def test_of_several_others_the_newest_goes_first():
    assert advance({"a": 3, "b": 1}, "c", 3, 1, 0) == {"a": 3, "c": 1}, "b never ran"
    assert advance({"a": 2, "b": 1, "c": 1}, "c", 3, 1, 1) == {"a": 2, "c": 2}


def test_back_to_the_oldest_at_once():
    assert advance({"a": 3, "b": 1}, "a", 3, 3, 3) == {"a": 3}
    assert advance({"a": 3, "b": 2}, "a", 3, 3, 1) == {"a": 3, "b": 2}
    assert advance({"a": 0}, "b", 0, 1, 0) == {"b": 0}


@pytest.fixture
def bench():
    with Bench() as bench:
        yield bench


class Rolling:
    """An app of two instances, what Diego and Copilot know of it, and a Diego that runs what one tells it to."""

    def __init__(self, bench):
        self.bench = bench
        self.guid = bench.make_app()["guid"]
        bench.post(f"/v3/processes/{self.guid}/actions/scale", {"instances": 2})
        bench.post(f"/v3/apps/{self.guid}/actions/start")
        self.deployer = Deployer(bench.api, logging.getLogger("test"))
        self.wanted = {}
        self.associated = []
        self.note()

    @property
    def versions(self):
        """Instances by Diego guid, in the order in which Diego was told of them."""
        return list(self.wanted.values())

    def note(self):
        for change in self.bench.diego.take():
            match change:
                case bbs.DesireLRPRequest():
                    self.wanted[change.desired_lrp.process_guid] = change.desired_lrp.instances
                case bbs.UpdateDesiredLRPRequest():
                    self.wanted[change.process_guid] = change.update.instances
                case bbs.RemoveDesiredLRPRequest():
                    del self.wanted[change.process_guid]
        for change in self.bench.copilot.take():
            if hasattr(change, "capi_diego_process_association"):
                self.associated = list(change.capi_diego_process_association.diego_process_guids)
        # What is told step by step is what a peer that lost everything would be told.
        stated = diego_state(self.bench.sessions, self.bench.config)
        assert {lrp.process_guid: lrp.instances for lrp in stated} == self.wanted
        state = copilot_state(self.bench.sessions, self.bench.config)
        for association in state.capi_diego_process_associations:
            assert set(association.diego_process_guids) == set(self.wanted) == set(self.associated)

    def deploy(self, **fields):
        body = {"relationships": {"app": {"data": {"guid": self.guid}}}, **fields}
        document = self.bench.post("/v3/deployments", body)
        self.note()
        return document["guid"]

    def run(self, *failing):
        """Let everything run that Diego wants, but for some versions, and the deployment take its next step."""
        self.bench.diego.lrps = [
            bbs.ActualLRP(
                actual_lrp_key=bbs.ActualLRPKey(process_guid=guid, index=index, domain="cf-apps"),
                actual_lrp_instance_key=bbs.ActualLRPInstanceKey(instance_guid=f"{guid}-{index}", cell_id="cell-1"),
                state="CRASHED" if guid in failing else "RUNNING",
            )
            for guid, instances in self.wanted.items()
            for index in range(instances)
        ]
        asyncio.run(self.deployer.advance())
        self.note()

    def status(self, guid):
        status = self.bench.get(f"/v3/deployments/{guid}")["status"]
        return status["value"], status["reason"]


@pytest.fixture
def rolling(bench):
    return Rolling(bench)


def test_a_deployment_replaces_one_after_the_other(rolling, bench):
    (old,) = rolling.wanted
    guid = rolling.deploy(strategy="rolling", metadata={"labels": {"a": "b"}})
    document = bench.get(f"/v3/deployments/{guid}")
    assert document["status"]["value"] == "ACTIVE"
    assert document["status"]["reason"] == "DEPLOYING"
    assert set(document["status"]["details"]) == {"last_successful_healthcheck", "last_status_change"}
    assert (document["strategy"], document["options"]) == ("rolling", {"max_in_flight": 1})
    assert document["metadata"]["labels"] == {"a": "b"}
    assert document["relationships"] == {"app": {"data": {"guid": rolling.guid}}}
    assert set(document["links"]) == {"self", "app", "cancel"}
    assert rolling.versions == [2, 1]
    rolling.run()
    assert rolling.versions == [1, 2]
    rolling.run()
    assert rolling.versions == [2]
    assert old not in rolling.wanted
    assert rolling.status(guid) == ("FINALIZED", "DEPLOYED")
    assert "cancel" not in bench.get(f"/v3/deployments/{guid}")["links"]
    link = bench.get(f"/v3/apps/{rolling.guid}")["links"]["deployments"]["href"]
    assert [each["guid"] for each in bench.get(link.removeprefix(bench.config.api_url))["resources"]] == [guid]


def test_new_instances_that_do_not_come_up_halt_it_and_a_cancel_goes_back(rolling, bench):
    (old,) = rolling.wanted
    guid = rolling.deploy()
    (new,) = set(rolling.wanted) - {old}
    for _ in range(3):
        rolling.run(new)
    assert rolling.wanted == {old: 2, new: 1}
    assert rolling.status(guid) == ("ACTIVE", "DEPLOYING")
    stats = bench.get(f"/v3/processes/{rolling.guid}/stats")["resources"]
    assert [each["state"] for each in stats] == ["RUNNING", "RUNNING"], "the old ones serve"
    assert bench.request("POST", f"/v3/deployments/{guid}/actions/cancel").status_code == 200
    rolling.note()
    assert rolling.status(guid) == ("ACTIVE", "CANCELING")
    rolling.run(new)
    assert rolling.wanted == {old: 2}
    assert rolling.status(guid) == ("FINALIZED", "CANCELED")
    detail = bench.refused("POST", f"/v3/deployments/{guid}/actions/cancel")
    assert detail == "Cannot cancel a FINALIZED deployment"


def test_a_cancel_in_the_middle_brings_the_old_ones_back_first(rolling, bench):
    (old,) = rolling.wanted
    guid = rolling.deploy()
    rolling.run()
    assert rolling.versions == [1, 2]
    bench.post(f"/v3/deployments/{guid}/actions/cancel")
    rolling.note()
    assert rolling.versions == [2, 2]
    rolling.run()
    assert rolling.wanted == {old: 2}


def test_another_deployment_supersedes_the_first(rolling):
    (old,) = rolling.wanted
    first = rolling.deploy()
    rolling.run()
    second = rolling.deploy()
    assert rolling.status(first) == ("FINALIZED", "SUPERSEDED")
    assert sum(rolling.versions) >= 3
    for _ in range(3):
        rolling.run()
    assert rolling.versions == [2]
    assert old not in rolling.wanted
    assert rolling.status(second) == ("FINALIZED", "DEPLOYED")


@pytest.mark.parametrize("action", ["stop", "restart"])
def test_stop_and_restart_cancel_it(rolling, bench, action):
    guid = rolling.deploy()
    bench.post(f"/v3/apps/{rolling.guid}/actions/{action}")
    rolling.note()
    assert rolling.status(guid) == ("FINALIZED", "CANCELED")
    assert rolling.versions == ([] if action == "stop" else [2])


def test_deleting_the_app_deletes_it(rolling, bench):
    guid = rolling.deploy()
    bench.call("DELETE", f"/v3/apps/{rolling.guid}")
    rolling.note()
    assert rolling.wanted == {}
    bench.call("GET", f"/v3/deployments/{guid}", status=404)


def test_a_stopped_app_is_deployed_by_starting_it(rolling, bench):
    bench.post(f"/v3/apps/{rolling.guid}/actions/stop")
    rolling.note()
    guid = rolling.deploy()
    assert rolling.status(guid) == ("FINALIZED", "DEPLOYED")
    assert rolling.versions == [2]


def test_no_scaling_meanwhile_and_routes_reach_all_versions(rolling, bench):
    rolling.deploy()
    detail = bench.refused("POST", f"/v3/processes/{rolling.guid}/actions/scale", {"instances": 5})
    assert detail == "Cannot scale this process while a deployment is in flight."
    assert {update.process_guid for update in routes_updates(bench.sessions, rolling.guid)} == set(rolling.wanted)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"strategy": "canary"}, "Strategy 'canary' is not a supported deployment strategy: use 'rolling'"),
        ({"options": {"max_in_flight": 0}}, "Options.max in flight input should be greater than or equal to 1"),
        ({"nonsense": 1}, "Unknown field(s): 'nonsense'"),
        (
            {"revision": {"guid": "x"}},
            "Cannot create deployment from a revision for an app without revisions enabled",
        ),
        (
            {"droplet": {"guid": "x"}},
            "Unable to assign current droplet. Ensure the droplet exists and belongs to this app.",
        ),
        (
            {"relationships": {"app": {"data": {"guid": "x"}}}},
            "Unable to use app. Ensure that the app exists and you have access to it.",
        ),
    ],
)
def test_what_cannot_be_deployed(rolling, bench, fields, detail):
    body = {"relationships": {"app": {"data": {"guid": rolling.guid}}}, **fields}
    assert bench.refused("POST", "/v3/deployments", body) == detail


def test_one_that_was_killed_goes_on(tmp_path):
    url = f"sqlite:///{tmp_path}/capi.sqlite3"
    with Bench(url) as bench:
        rolling = Rolling(bench)
        guid = rolling.deploy()
        rolling.run()
        known = rolling.wanted
    with Bench(url) as again:
        stated = {lrp.process_guid: lrp.instances for lrp in diego_state(again.sessions, again.config)}
        assert stated == known
        rolling.bench, rolling.deployer = again, Deployer(again.api, logging.getLogger("test"))
        rolling.run()
        assert rolling.status(guid) == ("FINALIZED", "DEPLOYED")
