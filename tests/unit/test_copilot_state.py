"""Copilot's memory: instances by event and list, dirty hosts, idempotence."""

import pytest

from netlab.copilot.instances import Instances
from netlab.copilot.model import Backend, HostKey, Route
from netlab.copilot.state import State
from netlab.protocols import bbs_pb2 as bbs

RUNNING, EVACUATING = "RUNNING", bbs.ActualLRP.EVACUATING


def lrp(process="d1", guid="i1", n=1, state=RUNNING, presence=bbs.ActualLRP.ORDINARY, ports=((8080, 61001),)):
    return bbs.ActualLRP(
        actual_lrp_key=bbs.ActualLRPKey(process_guid=process, index=0, domain="cf-apps"),
        actual_lrp_instance_key=bbs.ActualLRPInstanceKey(instance_guid=guid, cell_id=f"cell-{n}"),
        actual_lrp_net_info=bbs.ActualLRPNetInfo(
            address=f"10.0.2.{n}",
            instance_address=f"10.255.{n}.2",
            ports=[bbs.PortMapping(container_port=c, host_port=h) for c, h in ports],
        ),
        state=state,
        presence=presence,
    )


def changed(before, after):
    def info(x):
        return bbs.ActualLRPInfo(actual_lrp_net_info=x.actual_lrp_net_info, state=x.state, presence=x.presence)

    return bbs.ActualLRPInstanceChangedEvent(
        actual_lrp_key=after.actual_lrp_key,
        actual_lrp_instance_key=after.actual_lrp_instance_key,
        before=info(before),
        after=info(after),
    )


@pytest.mark.parametrize(
    "row",
    [
        lrp(state="CLAIMED"),
        lrp(ports=((2222, 61002),)),
        lrp(ports=((8080, 0),)),
        lrp(ports=()),
        lrp(guid=""),
    ],
    ids=["claimed", "only ssh", "no host port", "no port", "unclaimed"],
)
def test_unreachable_instances_are_no_backends(row):
    instances = Instances()
    assert instances.created(bbs.ActualLRPInstanceCreatedEvent(actual_lrp=row)) == set()
    if row.actual_lrp_instance_key.instance_guid:
        assert instances.replace([row]) == set()


def test_the_last_port_that_is_not_ssh_counts():
    instances = Instances()
    instances.replace([lrp(ports=((8080, 61001), (9090, 61002), (2222, 61003)))])
    assert instances.backends("d1") == [Backend("10.0.2.1", 61002, "10.255.1.2", 9090)]


def test_a_normal_start_by_events():
    instances = Instances()
    unclaimed, claimed, running = lrp(guid="", state="UNCLAIMED"), lrp(state="CLAIMED"), lrp()
    assert instances.created(bbs.ActualLRPInstanceCreatedEvent(actual_lrp=unclaimed)) == set()
    assert instances.changed(changed(unclaimed, claimed)) == set()
    assert instances.changed(changed(claimed, running)) == {"d1"}
    assert instances.changed(changed(running, running)) == set()
    assert len(instances.backends("d1")) == 1


def test_removing_one_instance_keeps_its_siblings():
    instances = Instances()
    instances.replace([lrp(guid="i1", n=1), lrp(guid="i2", n=2)])
    removed = bbs.ActualLRPInstanceRemovedEvent(actual_lrp=lrp(guid="i1", state="CRASHED"))
    assert instances.removed(removed) == {"d1"}
    assert [b.cell_address for b in instances.backends("d1")] == ["10.0.2.2"]
    assert instances.removed(removed) == set()


def test_an_evacuating_instance_serves_until_it_is_removed():
    instances = Instances()
    instances.replace([lrp()])
    evacuating = lrp(presence=EVACUATING)
    assert instances.changed(changed(lrp(), evacuating)) == set()
    replacement = lrp(guid="i2", n=2)
    assert instances.changed(changed(lrp(guid="i2", n=2, state="CLAIMED"), replacement)) == {"d1"}
    assert instances.removed(bbs.ActualLRPInstanceRemovedEvent(actual_lrp=evacuating)) == {"d1"}
    assert [b.cell_address for b in instances.backends("d1")] == ["10.0.2.2"]


def test_a_crash_takes_the_instance_out():
    instances = Instances()
    row = lrp()
    instances.replace([row])
    crash = bbs.ActualLRPCrashedEvent(
        actual_lrp_key=row.actual_lrp_key, actual_lrp_instance_key=row.actual_lrp_instance_key
    )
    assert instances.crashed(crash) == {"d1"}
    assert instances.backends("d1") == []


def test_a_list_repairs_missed_events():
    instances = Instances()
    instances.replace([lrp(guid="i1"), lrp(process="d2", guid="i3")])
    assert instances.replace([lrp(guid="i2", n=2), lrp(process="d2", guid="i3")]) == {"d1"}
    assert instances.replace([]) == {"d1", "d2"}


# ---- dirty hosts

KEY = HostKey("h", False)


def mesh() -> State:
    state = State()
    state.upsert_route(Route("r1", "h"))
    state.upsert_route(Route("r2", "other"))
    state.map_route("r1", "app", 1)
    state.upsert_association("app", ["d1"])
    state.instances_changed(state.instances.replace([lrp()]))
    state.take_dirty()
    return state


def test_an_instance_dirties_only_the_hosts_of_its_process():
    state = mesh()
    state.instances_changed({"d1", "unknown"})
    assert state.take_dirty() == [KEY]
    assert state.take_dirty() == []


@pytest.mark.parametrize(
    "again",
    [
        lambda s: s.upsert_route(Route("r1", "h")),
        lambda s: s.map_route("r1", "app", 1),
        lambda s: s.upsert_association("app", ["d1"]),
        lambda s: s.unmap_route("r1", "nobody"),
        lambda s: s.delete_route("nothing"),
        lambda s: s.delete_association("nobody"),
        lambda s: s.sync(dict(s.routes), dict(s.mappings), dict(s.associations)),
    ],
)
def test_what_changes_nothing_dirties_nothing(again):
    state = mesh()
    called = []
    state.on_change = lambda: called.append(1)
    again(state)
    assert (state.take_dirty(), called) == ([], [])


def test_mapping_and_unmapping_twice_is_as_once():
    state = mesh()
    before = state.view(KEY)
    state.map_route("r1", "app", 1)
    assert state.view(KEY) == before
    state.unmap_route("r1", "app")
    state.unmap_route("r1", "app")
    assert state.view(KEY).paths == ()
    state.map_route("r1", "app", 1)
    assert state.view(KEY) == before


def test_mappings_may_come_before_their_route():
    state = State()
    state.map_route("r1", "app", 1)
    assert state.take_dirty() == []
    state.upsert_route(Route("r1", "h"))
    assert state.take_dirty() == [KEY]
    assert [d.process for d in state.view(KEY).paths[0].destinations] == ["app"]


def test_a_route_that_moves_dirties_both_hosts():
    state = mesh()
    state.upsert_route(Route("r1", "new"))
    assert state.take_dirty() == [KEY, HostKey("new", False)]


def test_sync_replaces_and_dirties_what_differs():
    state = mesh()
    state.sync({"r1": Route("r1", "h"), "r3": Route("r3", "third")}, {("r1", "app"): 1}, {"app": ("d1",)})
    assert state.take_dirty() == [HostKey("other", False), HostKey("third", False)]
    state.sync({}, {}, {})
    assert state.take_dirty() == [KEY, HostKey("third", False)]
    assert not (state.routes)
    assert not (state.mappings)
    assert not (state.associations)
    assert not (state._routes_of_host)
    assert not (state._processes_of_route)
    assert not (state._processes_of_diego)


def test_the_port_of_a_process_is_remembered_while_it_has_no_instance():
    state = mesh()
    state.instances_changed(state.instances.replace([lrp(ports=((9000, 61001),))]))
    assert state.view(KEY).paths[0].destinations[0].port == 9000
    state.delete_association("app")
    destination = state.view(KEY).paths[0].destinations[0]
    assert (destination.port, destination.backends) == (9000, ())


def test_vips():
    state = State()
    state.upsert_route(Route("r", "a.apps.internal", internal=True, vip="127.128.0.1"))
    state.upsert_route(Route("s", "b.example"))
    assert state.vip_of("A.apps.internal") == "127.128.0.1"
    assert state.vip_of("b.example") is None
