"""What a peer that missed things is brought to, and how a link behaves while its peer is away."""

import asyncio
import json
import logging

import pytest

from netlab.capi.bbs_client import differences
from netlab.capi.changes import mapping_changes
from netlab.capi.desired import copilot_state, diego_state, routes_updates
from netlab.capi.link import Link
from netlab.capi.weights import rescale
from netlab.protocols import bbs_pb2 as bbs
from tests.unit.capi_bench import DOMAIN, Bench

LOG = logging.getLogger("test")


@pytest.fixture
def bench():
    with Bench(istio_domains=[DOMAIN, "apps.internal"]) as bench:
        yield bench


def replay(changes):
    """What a Copilot that heard all changes knows."""
    routes, mappings, processes = {}, {}, {}
    for change in changes:
        name = type(change).__name__
        if name == "UpsertRouteRequest":
            routes[change.route.guid] = change.route
        elif name == "DeleteRouteRequest":
            del routes[change.guid]
        elif name == "MapRouteRequest":
            mapping = change.route_mapping
            mappings[mapping.route_guid, mapping.capi_process_guid] = mapping
        elif name == "UnmapRouteRequest":
            mapping = change.route_mapping
            del mappings[mapping.route_guid, mapping.capi_process_guid]
        elif name == "UpsertCapiDiegoProcessAssociationRequest":
            association = change.capi_diego_process_association
            processes[association.capi_process_guid] = association
        else:
            del processes[change.capi_process_guid]
    return routes, mappings, processes


def test_a_full_synchronisation_says_the_same_as_all_changes(bench):
    a, b, c = (bench.make_app(name) for name in "abc")
    routes = [bench.make_route("x"), bench.make_route("x", "/p"), bench.make_route("i", domain="apps.internal")]
    bench.make_route("elsewhere", domain="sys.example.test")
    for route in routes:
        bench.map(route, a, b)
    bench.replace(routes[0], (a, 70), (c, 30))
    for app in (a, b, c):
        bench.post(f"/v3/apps/{app['guid']}/actions/start")
    bench.post(f"/v3/apps/{a['guid']}/actions/restart")
    bench.post(f"/v3/apps/{b['guid']}/actions/stop")
    bench.call("DELETE", f"/v3/routes/{routes[1]['guid']}")
    told_routes, told_mappings, told_processes = replay(bench.copilot.take())
    state = copilot_state(bench.sessions, bench.config)
    assert {route.guid: route for route in state.routes} == told_routes
    assert {(m.route_guid, m.capi_process_guid): m for m in state.route_mappings} == told_mappings
    found = {each.capi_process_guid: each for each in state.capi_diego_process_associations}
    assert found == told_processes
    assert len(told_routes) == 2
    assert set(told_processes) == {a["guid"], c["guid"]}


def test_the_bbs_is_repaired(bench):
    app = bench.make_app(environment_variables={"GREETING": "hi"})
    guid = app["guid"]
    bench.map(bench.make_route("x"), app)
    bench.map(bench.make_route("i", domain="apps.internal"), app)
    assert routes_updates(bench.sessions, guid) == []
    bench.post(f"/v3/apps/{guid}/actions/start")
    (desire,) = bench.diego.take()
    wanted = diego_state(bench.sessions, bench.config)
    assert wanted == [desire.desired_lrp]
    assert differences(wanted, wanted) == []
    assert differences([], wanted) == [desire]
    fewer = bbs.DesiredLRP()
    fewer.CopyFrom(wanted[0])
    fewer.instances = 5
    stranger = bbs.DesiredLRP(process_guid="stranger", domain="cf-apps")
    update, remove = differences([fewer, stranger], wanted)
    assert (update.process_guid, update.update.instances) == (wanted[0].process_guid, 1)
    assert remove == bbs.RemoveDesiredLRPRequest(process_guid="stranger")
    (update,) = routes_updates(bench.sessions, guid)
    assert update.update.routes == wanted[0].routes
    assert not update.update.HasField("instances")


def test_the_recipe(bench):
    lifecycle = {"type": "netlab", "data": {"directory": "/srv/bits", "port": 9000}}
    app = bench.make_app("hello", lifecycle=lifecycle, environment_variables={"GREETING": "hi"})
    guid = app["guid"]
    check = {"type": "http", "data": {"endpoint": "/health", "timeout": 30}}
    bench.call("PATCH", f"/v3/processes/{guid}", {"command": "exec ./serve $PORT", "health_check": check})
    bench.map(bench.make_route("x"), app)
    bench.map(bench.make_route("y"), app, port=9001)
    bench.map(bench.make_route("i", domain="apps.internal"), app)
    bench.post(f"/v3/apps/{guid}/actions/start")
    lrp = bench.diego.take()[-1].desired_lrp
    run = lrp.action.run_action
    assert (run.path, list(run.args), run.dir) == ("/bin/sh", ["-c", "exec ./serve $PORT"], "/srv/bits")
    env = {variable.name: variable.value for variable in run.env}
    assert (env["PORT"], env["GREETING"]) == ("9000", "hi")
    about = json.loads(env["VCAP_APPLICATION"])
    assert about["application_name"] == "hello"
    assert about["application_uris"] == ["x.mesh.example.test", "y.mesh.example.test", "i.apps.internal"]
    assert list(lrp.ports) == [9000, 9001]
    assert [entry["port"] for entry in json.loads(lrp.routes.routes["cf-router"])] == [9000, 9001]
    assert json.loads(lrp.routes.routes["internal-router"]) == [{"hostname": "i.apps.internal"}]
    assert (lrp.domain, lrp.log_guid, lrp.start_timeout_ms) == ("cf-apps", guid, 30_000)
    assert lrp.metric_tags["app_name"].static == "hello"
    assert lrp.check_definition.checks[0].http_check.path == "/health"


def test_the_demo_app_needs_nothing(bench):
    app = bench.make_app()
    bench.post(f"/v3/apps/{app['guid']}/actions/start")
    lrp = bench.diego.take()[-1].desired_lrp
    assert (lrp.action.run_action.path, lrp.action.run_action.dir, list(lrp.ports)) == ("netlab-demo", "", [8080])
    assert lrp.check_definition.checks[0].tcp_check.port == 8080


def test_mapping_changes_map_before_they_unmap():
    changes = mapping_changes("r", {"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 4, "d": 1})
    assert [
        (type(c).__name__[:3], c.route_mapping.capi_process_guid, c.route_mapping.route_weight) for c in changes
    ] == [
        ("Map", "c", 4),
        ("Map", "d", 1),
        ("Unm", "a", 1),
    ]


@pytest.mark.parametrize(
    ("weights", "total", "shares"),
    [([1, 1, 1], 100, [34, 33, 33]), ([80, 20], 50, [40, 10]), ([1], 100, [100]), ([99, 1], 2, [1, 1])],
)
def test_rescale(weights, total, shares):
    found = rescale(weights, total)
    assert sum(found) == total
    assert min(found) >= 1
    assert all(abs(one - other) <= 1 for one, other in zip(found, shares, strict=True))


class Peer(Link[str]):
    """A peer that can be away; it remembers what it heard."""

    def __init__(self, sync_seconds=60.0):
        super().__init__("peer", sync_seconds, LOG)
        self.database: list[str] = []
        self.heard: list[str] = []
        self.away = False
        self.syncs = 0

    def change(self, name):
        self.database.append(name)
        self.put([name])

    async def deliver(self, change):
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionError("away")
        self.heard.append(change)

    async def sync(self):
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionError("away")
        self.start_over()
        self.heard = list(self.database)
        self.syncs += 1


def run(body, **options):
    async def whole():
        peer = Peer(**options)
        task = asyncio.create_task(peer.run())
        try:
            async with asyncio.timeout(5):
                await body(peer)
        finally:
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(whole())


async def until(condition):
    while not condition():  # noqa: ASYNC110 - the conditions have no event
        await asyncio.sleep(0.001)


def test_changes_arrive_in_order_after_the_first_synchronisation():
    async def body(peer):
        peer.change("before")
        await until(lambda: peer.syncs == 1)
        for number in range(100):
            peer.change(str(number))
        await until(lambda: len(peer.heard) == 101)
        assert peer.heard == peer.database
        assert peer.syncs == 1

    run(body)


def test_an_outage_is_repaired_once_and_nothing_comes_twice():
    async def body(peer):
        await until(lambda: peer.syncs == 1)
        peer.away = True
        for number in range(10):
            peer.change(str(number))
        await asyncio.sleep(0.02)
        assert peer.heard == []
        peer.away = False
        peer.retry()
        await until(lambda: len(peer.heard) == 10)
        peer.change("after")
        await until(lambda: "after" in peer.heard)
        assert peer.heard == peer.database
        assert peer.syncs == 2

    run(body)


def test_synchronisation_repeats():
    async def body(peer):
        peer.database.append("lost")
        await until(lambda: peer.syncs >= 3)
        assert peer.heard == ["lost"]

    run(body, sync_seconds=0.01)


def test_a_peer_that_was_made_anew_is_told_everything():
    async def body(peer):
        await until(lambda: peer.syncs == 1)
        peer.database.append("x")
        peer.resync()
        await until(lambda: peer.heard == ["x"])

    run(body)


def test_a_peer_that_is_back_while_an_attempt_fails_is_told_at_once():
    class Late(Peer):
        """The news that it is back comes while the attempt before it is still under way."""

        failures = 0

        async def sync(self):
            if self.failures < 6:
                self.failures += 1
                if self.failures == 6:
                    self.resync()
                else:
                    asyncio.get_running_loop().call_soon(self.retry)
                raise ConnectionError("away")
            await super().sync()

    async def whole():
        peer = Late()
        task = asyncio.create_task(peer.run())
        # Without the news, the sixth failure is followed by a pause of 0.8 s.
        await asyncio.wait_for(until(lambda: peer.syncs == 1), 0.5)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(whole())


def test_a_subject_is_told_in_order_and_does_not_hold_up_others():
    class Slow(Peer):
        """Changes are `subject:number`; those of `a` wait for the last of `b`."""

        def subject(self, change):
            return change.partition(":")[0]

        async def deliver(self, change):
            while change.startswith("a") and "b:9" not in self.heard:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
            await super().deliver(change)

    async def whole():
        peer = Slow()
        task = asyncio.create_task(peer.run())
        await until(lambda: peer.syncs == 1)
        for number in range(10):
            peer.change(f"a:{number}")
            peer.change(f"b:{number}")
        await until(lambda: len(peer.heard) == 20)
        for subject in "ab":
            assert [c for c in peer.heard if c[0] == subject] == [f"{subject}:{number}" for number in range(10)]
        assert peer.syncs == 1
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(whole(), 5))
