"""The generated modules match their .proto files, and the field numbers are those of the real systems."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.message import Message

from netlab.protocols import bbs_pb2, copilot_pb2, mcp_pb2, networking_pb2

ROOT = Path(__file__).resolve().parents[2]


def test_committed_modules_are_what_the_generator_writes(tmp_path):
    pytest.importorskip("grpc_tools")
    subprocess.run([sys.executable, ROOT / "scripts/generate-protocols", tmp_path], check=True)
    generated = sorted(p.name for p in (tmp_path / "netlab/protocols").iterdir())
    committed = ROOT / "netlab/protocols"
    assert generated == sorted(p.name for p in committed.glob("*_pb2*.py*"))
    # Another version of the generator words the modules differently; the descriptors inside must not differ.
    for module in (copilot_pb2, mcp_pb2, networking_pb2, bbs_pb2):
        name = module.__name__.rpartition(".")[2]
        text = (tmp_path / "netlab/protocols" / f"{name}.py").read_text()
        call = next(
            node
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "AddSerializedFile"
        )
        assert ast.literal_eval(call.args[0]) == module.DESCRIPTOR.serialized_pb, name


@pytest.mark.parametrize(
    ("module", "package"),
    [
        (copilot_pb2, "api"),
        (mcp_pb2, "istio.mcp.v1alpha1"),
        (networking_pb2, "istio.networking.v1alpha3"),
        (bbs_pb2, "models"),
    ],
)
def test_packages(module, package):
    assert module.DESCRIPTOR.package == package


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        (copilot_pb2.Route, "guid=1 host=2 path=3 internal=4 vip=5"),
        (copilot_pb2.RouteMapping, "capi_process_guid=1 route_guid=2 route_weight=3"),
        (copilot_pb2.CapiDiegoProcessAssociation, "capi_process_guid=1 diego_process_guids=2"),
        (
            copilot_pb2.BulkSyncRequest,
            "route_mappings=1 routes=2 capi_diego_process_associations=3",
        ),
        (copilot_pb2.GetVIPByNameRequest, "fqdn=1"),
        (
            mcp_pb2.RequestResources,
            ("sink_node=1 collection=2 initial_resource_versions=3 response_nonce=4 error_detail=5 incremental=6"),
        ),
        (
            mcp_pb2.Resources,
            "system_version_info=1 collection=2 resources=3 removed_resources=4 nonce=5 incremental=6",
        ),
        (mcp_pb2.Metadata, "name=1 create_time=2 version=3 labels=4 annotations=5"),
        (mcp_pb2.Resource, "metadata=1 body=2"),
        (networking_pb2.Gateway, "servers=1 selector=2"),
        (networking_pb2.VirtualService, "hosts=1 gateways=2 http=3 tcp=4 tls=5 export_to=6"),
        (
            networking_pb2.HTTPRoute,
            (
                "match=1 route=2 redirect=3 rewrite=4 websocket_upgrade=5 timeout=6 retries=7 fault=8 mirror=9"
                " cors_policy=10 append_headers=11 headers=16 name=17 mirror_percent=18 mirror_percentage=19"
                " direct_response=21"
            ),
        ),
        (networking_pb2.HTTPRouteDestination, "destination=1 weight=2 headers=7"),
        (networking_pb2.DestinationRule, "host=1 traffic_policy=2 subsets=3 export_to=4"),
        (
            networking_pb2.ServiceEntry,
            "hosts=1 addresses=2 ports=3 location=4 resolution=5 endpoints=6 export_to=7 subject_alt_names=8",
        ),
        (
            networking_pb2.ServiceEntry.Endpoint,
            "address=1 ports=2 labels=3 network=4 locality=5 weight=6",
        ),
        (networking_pb2.Sidecar, "workload_selector=1 ingress=2 egress=3"),
        (networking_pb2.IstioEgressListener, "port=1 bind=2 capture_mode=3 hosts=4"),
        (
            bbs_pb2.ActualLRP,
            (
                "actual_lrp_key=1 actual_lrp_instance_key=2 actual_lrp_net_info=3 crash_count=4 crash_reason=5"
                " state=6 placement_error=7 since=8 modification_tag=9 presence=10"
            ),
        ),
        (
            bbs_pb2.ActualLRPInfo,
            (
                "actual_lrp_net_info=3 crash_count=4 crash_reason=5 state=6 placement_error=7 since=8"
                " modification_tag=9 presence=10"
            ),
        ),
        (bbs_pb2.ActualLRPNetInfo, "address=1 ports=2 instance_address=3 preferred_address=4"),
        (
            bbs_pb2.PortMapping,
            "container_port=1 host_port=2 container_tls_proxy_port=3 host_tls_proxy_port=4",
        ),
        (bbs_pb2.ActualLRPsRequest, "domain=1 cell_id=2 process_guid=3 index=4"),
        (
            bbs_pb2.ActualLRPInstanceChangedEvent,
            "actual_lrp_key=1 actual_lrp_instance_key=2 before=3 after=4",
        ),
        (bbs_pb2.CellsResponse, "error=1 cells=2"),
        (
            bbs_pb2.DesiredLRP,
            (
                "process_guid=1 domain=2 root_fs=3 instances=4 environment_variables=5 setup=6 action=7 monitor=9"
                " disk_mb=10 memory_mb=11 cpu_weight=12 privileged=13 ports=14 routes=15 log_source=16"
                " log_guid=17 annotation=19 egress_rules=20 modification_tag=21 network=26 start_timeout_ms=27"
                " max_pids=29 certificate_properties=30 check_definition=33 image_layers=34 metric_tags=35"
                " sidecars=36"
            ),
        ),
    ],
)
def test_field_numbers(message: type[Message], numbers):
    assert " ".join(f"{f.name}={f.number}" for f in message.DESCRIPTOR.fields) == numbers


def test_ports_of_a_desired_lrp_are_not_packed():
    # Tag 14 with wire type 0 (varint), once for each port: what Diego's Go code writes and reads.
    assert bbs_pb2.DesiredLRP(ports=[8080, 2222]).SerializeToString() == b"\x70\x90\x3f\x70\xae\x11"
