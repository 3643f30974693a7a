"""Bootstraps: shape, and that the real Envoy accepts them."""

import json
import subprocess

import pytest

from netlab.envoy import bootstrap, launch
from netlab.envoy.accesslog import JSON_FORMAT

ROUTER = bootstrap.router_bootstrap("router-1", "10.0.1.1", "10.0.0.12:15010", "/tmp/netlab-router-admin")
SIDECAR = bootstrap.sidecar_bootstrap(
    "10.255.1.2", "abc-guid", "10.0.0.12:15010", "/tmp/netlab-sidecar-admin", [8080, 9090], {"cfapp": "app"}
)


def test_node_ids():
    assert ROUTER["node"]["id"] == "router~10.0.1.1~router-1~x"
    assert SIDECAR["node"]["id"] == "sidecar~10.255.1.2~abc-guid~x"
    assert SIDECAR["node"]["metadata"] == {"POD_PORTS": [8080, 9090], "LABELS": {"cfapp": "app"}}


def test_a_sidecar_has_no_static_listener():
    assert "listeners" not in SIDECAR["static_resources"]
    assert [c["name"] for c in SIDECAR["static_resources"]["clusters"]] == ["pilot-sd"]


def test_a_router_has_health_and_admin_listeners():
    addresses = {
        listener["name"]: (a := listener["address"]["socket_address"]) and (a["address"], a["port_value"])
        for listener in ROUTER["static_resources"]["listeners"]
    }
    assert addresses == {"admin": ("127.0.0.1", 8001), "health": ("0.0.0.0", 8002)}


@pytest.mark.parametrize("config", [ROUTER, SIDECAR], ids=["router", "sidecar"])
def test_the_real_envoy_accepts_it(config, tmp_path):
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(config))
    command = launch.argv(launch.envoy_binary(), path)
    result = subprocess.run([*command, "--mode", "validate"], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr, result.stderr


def test_a_missing_envoy_is_one_line(monkeypatch):
    monkeypatch.setenv("NETLAB_ENVOY", "/nonexistent/envoy")
    with pytest.raises(launch.MachineError, match="/nonexistent/envoy"):
        launch.envoy_binary()


def test_the_access_log_has_the_addresses_the_trace_needs():
    assert {"request_id", "downstream_local", "upstream_remote", "upstream_local"} <= JSON_FORMAT.keys()
