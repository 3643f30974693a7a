"""The pure parts of the rep: what a container is to the kernel, and what a desired LRP says about it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from netlab.diego.rep.config import RepConfig
from netlab.diego.rep.plan import ContainerNet, container_plan, mac
from netlab.diego.rep.pool import Pool
from netlab.diego.rep.recipe import HttpCheck, PortPair, TcpCheck, environment, node_name, of_desired
from netlab.diego.rep.record import ContainerState, Record, read_all
from netlab.diego.rep.workshop import Workshop
from netlab.envoy.bootstrap import sidecar_bootstrap
from netlab.kernel.iptc_backend import IptcBackend
from netlab.kernel.ops import AddAddress, AddNeighbour, AddRoute, CreateVeth
from netlab.lab import certificates
from netlab.protocols import bbs_pb2 as pb
from netlab.tls import TlsFiles

GUID = "5e5d22c3-5d5a-4f51-b8a3-9f3d1c9d8a01"


def net(*ports: PortPair) -> ContainerNet:
    return ContainerNet(
        handle=GUID,
        app_name="hello",
        index=0,
        namespace="lab-hello-0",
        cell_namespace="lab-cell-1",
        address="10.255.1.2",
        cell_address="10.0.2.1",
        ports=ports or (PortPair(8080, 61000),),
    )


def test_names_of_devices_chains_and_macs() -> None:
    assert net().host_device == "s-010255001002"
    assert net().chain == "netin--5e5d22c3-5d5a-4f51-b8"
    assert len(net().chain) == 28
    assert mac("ee:ee", "10.255.1.2") == "ee:ee:0a:ff:01:02"


def test_the_link_is_point_to_point_with_permanent_neighbours() -> None:
    ops = container_plan(net()).ops
    (veth,) = (op for op in ops if isinstance(op, CreateVeth))
    assert (veth.namespace, veth.name, veth.peer_namespace, veth.peer_name) == (
        "lab-cell-1",
        "s-010255001002",
        "lab-hello-0",
        "eth0",
    )
    assert (veth.mac, veth.peer_mac) == ("aa:aa:0a:ff:01:02", "ee:ee:0a:ff:01:02")
    assert [(op.namespace, op.address, op.peer) for op in ops if isinstance(op, AddAddress)] == [
        ("lab-cell-1", "169.254.0.1/32", "10.255.1.2"),
        ("lab-hello-0", "10.255.1.2/32", "169.254.0.1"),
    ]
    assert [(op.namespace, op.address, op.mac) for op in ops if isinstance(op, AddNeighbour)] == [
        ("lab-cell-1", "10.255.1.2", "ee:ee:0a:ff:01:02"),
        ("lab-hello-0", "169.254.0.1", "aa:aa:0a:ff:01:02"),
    ]
    (route,) = (op for op in ops if isinstance(op, AddRoute))
    assert (route.destination, route.via, route.device) == ("default", "169.254.0.1", "eth0")


def test_the_cells_rules() -> None:
    plan = container_plan(net(PortPair(8080, 61000), PortPair(9090, 61001)))
    chain = net().chain
    assert plan.cell_rules.create_chains == (chain,)
    assert [" ".join(rule.specification()) for rule in plan.cell_rules.append] == [
        (
            "-d 10.0.2.1 -p tcp -m tcp --dport 61000 -m comment --comment "
            f"netlab: ingress to hello/0 ({GUID}), app port 8080 -j DNAT --to-destination 10.255.1.2:8080"
        ),
        (
            "-d 10.0.2.1 -p tcp -m tcp --dport 61001 -m comment --comment "
            f"netlab: ingress to hello/0 ({GUID}), app port 9090 -j DNAT --to-destination 10.255.1.2:9090"
        ),
        f"-m comment --comment netlab: host ports of hello/0 ({GUID}) -j {chain}",
    ]
    assert plan.cell_cleanup.delete == plan.cell_rules.append[-1:]
    assert plan.cell_cleanup.delete_chains == (chain,)


def test_the_containers_rules() -> None:
    rules = container_plan(net(PortPair(8080, 61000), PortPair(2222, 61001))).container_rules
    chain = [rule for rule in rules.append if rule.chain == "NETLAB_INBOUND"]
    exempt = [rule.matches[0].options[0][1] for rule in chain if rule.target == "RETURN"]
    assert exempt == ["2222", "15001", "15020", "15090", "61001"]
    capture = [rule for rule in chain if rule.target == "DNAT"]
    assert [rule.matches[0].options for rule in capture] == [(("dport", "8080"),)], "SSH is not for the sidecar"
    assert capture[0].target_options == (("to-destination", "10.255.1.2:15001"),)
    assert capture[0].comment == f"netlab: sidecar of hello/0 ({GUID}), app port 8080"
    assert chain.index(capture[0]) == len(chain) - 1
    jump = rules.append[-1]
    assert (jump.chain, jump.target, jump.protocol) == ("PREROUTING", "NETLAB_INBOUND", "tcp")
    assert all(rule.comment for rule in rules.append)


def test_a_number_comes_back_late() -> None:
    pool = Pool(100, 3)
    assert [pool.take(), pool.take()] == [100, 101]
    pool.give_back([100])
    assert [pool.take(), pool.take(), pool.take()] == [102, 100, None]
    assert pool.free == 0


def test_a_pool_goes_on_where_an_earlier_one_was() -> None:
    pool = Pool(100, 10)
    pool.take_these([100, 104])
    assert [pool.take(), pool.free] == [105, 7]


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("hello", "hello-2"),
        ("Hello World!", "hello-world-2"),
        ("--", "app-2"),
        ("ä" * 9, "app-2"),
        ("a" * 99, f"{'a' * 40}-2"),
    ],
)
def test_the_name_of_a_node(app: str, name: str) -> None:
    assert node_name(app, 2) == name


def desired(**fields: object) -> pb.DesiredLRP:
    return pb.DesiredLRP(process_guid="web-1", domain="cf-apps", **fields)  # type: ignore[arg-type]


def test_an_lrp_that_says_nothing_is_the_demo_app() -> None:
    recipe = of_desired(desired(log_guid="app-guid"))
    assert recipe.is_demo
    assert (recipe.app_name, recipe.app_guid, recipe.ports) == ("web-1", "app-guid", (8080,))
    assert recipe.checks == (TcpCheck(8080),)
    assert recipe.start_timeout == 60


def test_an_app_with_bits() -> None:
    run = pb.RunAction(
        path="/bin/sh",
        args=["-c", "./serve"],
        dir="/srv/app",
        env=[pb.EnvironmentVariable(name="COLOUR", value="blue")],
        resource_limits=pb.ResourceLimits(nofile=512),
    )
    wrapped = pb.Action(timeout_action=pb.TimeoutAction(action=pb.Action(run_action=run)))
    lrp = desired(
        action=pb.Action(codependent_action=pb.CodependentAction(actions=[wrapped])),
        ports=[9000, 9001, 9000],
        start_timeout_ms=1500,
        check_definition=pb.CheckDefinition(
            checks=[
                pb.Check(http_check=pb.HTTPCheck(port=9000, path="/up", request_timeout_ms=500)),
                pb.Check(tcp_check=pb.TCPCheck(port=9001)),
            ]
        ),
    )
    lrp.metric_tags["app_name"].static = "shop"
    lrp.metric_tags["process_id"].static = "capi-guid"
    recipe = of_desired(lrp)
    assert not recipe.is_demo
    assert (recipe.app_name, recipe.capi_process_guid) == ("shop", "capi-guid")
    assert (recipe.program, recipe.arguments, recipe.directory) == ("/bin/sh", ("-c", "./serve"), "/srv/app")
    assert recipe.ports == (9000, 9001)
    assert recipe.checks == (HttpCheck(9000, "/up", 0.5), TcpCheck(9001))
    assert (recipe.start_timeout, recipe.nofile) == (1.5, 512)


def test_how_often_an_instance_is_checked_that_runs() -> None:
    checks = [
        pb.Check(http_check=pb.HTTPCheck(path="/up", interval_ms=5000)),
        pb.Check(tcp_check=pb.TCPCheck(connect_timeout_ms=300)),
    ]
    recipe = of_desired(desired(check_definition=pb.CheckDefinition(checks=checks)))
    assert recipe.checks == (HttpCheck(8080, "/up", 1.0, 5.0), TcpCheck(8080, 0.3, 30.0))


def test_a_process_health_check_asks_no_port() -> None:
    assert of_desired(desired(check_definition=pb.CheckDefinition())).checks == ()


def test_the_environment_of_an_instance() -> None:
    variables = {"VCAP_APPLICATION": json.dumps({"application_name": "shop"}), "PORT": "1", "COLOUR": "blue"}
    run = pb.RunAction(path="x", env=[pb.EnvironmentVariable(name=k, value=v) for k, v in variables.items()])
    recipe = of_desired(desired(action=pb.Action(run_action=run)))
    assert recipe.app_name == "shop"
    found = environment(
        recipe,
        guid=GUID,
        index=3,
        address="10.255.1.2",
        cell_address="10.0.2.1",
        ports=[PortPair(8080, 61000), PortPair(9090, 61001)],
        home="/home/app",
        credentials={"CF_INSTANCE_CERT": "/credentials/instance.crt"},
    )
    assert found["CF_INSTANCE_CERT"] == "/credentials/instance.crt"
    assert found["TMPDIR"] == "/home/app/tmp"
    assert found["COLOUR"] == "blue"
    assert found["CF_INSTANCE_ADDR"] == "10.0.2.1:61000"
    assert json.loads(found["CF_INSTANCE_PORTS"])[1] == {"external": 61001, "internal": 9090}
    assert (found["CF_INSTANCE_INTERNAL_IP"], found["CF_INSTANCE_INDEX"], found["PORT"]) == ("10.255.1.2", "3", "8080")
    assert found["INSTANCE_GUID"] == found["CF_INSTANCE_GUID"] == GUID
    application = json.loads(found["VCAP_APPLICATION"])
    assert (application["application_name"], application["instance_index"]) == ("shop", 3)


def test_a_broken_vcap_application_does_no_harm() -> None:
    run = pb.RunAction(path="x", env=[pb.EnvironmentVariable(name="VCAP_APPLICATION", value="{")])
    assert of_desired(desired(action=pb.Action(run_action=run))).app_name == "web-1"


def record(handle: str, cell: str) -> Record:
    return Record(
        handle=handle,
        node="hello-0",
        namespace="lab-hello-0",
        namespace_path="/x/lab-hello-0",
        cell=cell,
        app_name="hello",
        app_guid="app",
        process_guid="web-1",
        domain="cf-apps",
        index=0,
        instance_guid=handle,
        address="10.255.1.2",
        cell_address="10.0.2.1",
        app_port=8080,
        host_port=61000,
        ports=[PortPair(8080, 61000)],
        sidecar_port=15001,
        state=ContainerState.RUNNING,
        app_pid=1,
    )


def test_records_are_read_by_the_rep_of_their_cell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = record("a", "cell-1"), record("b", "cell-2")
    ours.write(tmp_path)
    theirs.write(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    with caplog.at_level(logging.ERROR):
        assert list(read_all(tmp_path, "cell-1", logging.getLogger("test"))) == [ours]
    assert "broken.json" in caplog.text
    written = json.loads((tmp_path / "a.json").read_text())
    assert (written["state"], written["host_port"], written["sidecar_pid"]) == ("RUNNING", 61000, None)
    ours.remove(tmp_path)
    ours.remove(tmp_path)
    assert list(read_all(tmp_path, "cell-1", logging.getLogger("test"))) == []


def workshop(run_dir: Path, cell: str) -> Workshop:
    certificates.make(run_dir, "lab", {})
    config = RepConfig(
        cell_id=cell,
        lab="lab",
        run_dir=run_dir,
        namespace=f"lab-{cell}",
        cell_address="10.0.2.1",
        overlay_network="10.255.0.0/16",
        overlay_subnet="10.255.1.0/24",
        listen="10.0.2.1:1801",
        tls=TlsFiles.of(run_dir, "rep"),
        bbs_url="https://10.0.0.11:8889",
        pilot_address="10.0.0.12:15010",
        envoy_binary=run_dir / "envoy",
    )
    return Workshop(config, IptcBackend(), sidecar_bootstrap, logging.getLogger("test"))


def test_a_name_is_its_containers_until_that_is_gone(tmp_path: Path) -> None:
    wanted = of_desired(pb.DesiredLRP(process_guid="web-1", domain="cf-apps"))
    ours, theirs = workshop(tmp_path, "cell-1"), workshop(tmp_path, "cell-2")

    def reserve(cell: Workshop, guid: str) -> Record:
        return cell.reserve(wanted, guid, 0, "cf-apps", "10.255.1.2")

    first = reserve(ours, "aaaa-1")
    assert reserve(theirs, "bbbb-2").node == f"{first.node}-bbbb"
    ours.release_names()
    assert reserve(ours, "cccc-3").node == f"{first.node}-cccc"
    # A rep that is killed before it has written the record leaves the name, which no container has.
    first.remove(ours.config.containers)
    theirs.release_names()
    assert reserve(theirs, "dddd-4").node == f"{first.node}-dddd"
    ours.release_names()
    assert reserve(theirs, "eeee-5").node == first.node
