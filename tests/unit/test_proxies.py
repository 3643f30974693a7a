"""What is read of an Envoy's configuration dump, and how its synchronisation is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlab.proxies import dump, sync
from netlab.proxies.find import Envoy

ROUTER = Envoy("router-1", "router", "10.0.1.1", "", Path("/admin.sock"))
SIDECAR = Envoy("hello-0", "sidecar", "10.255.1.2", "hello", Path("/admin.sock"))
TYPES = ("cds", "rds")
OUTBOUND = "outbound|8080|guid-1|hello.example.test"
OTHER = "outbound|8080|guid-2|hello.example.test"


def proxy(**changed: object) -> dict[str, object]:
    return {
        "proxy": "router~10.0.1.1~router-1~x",
        "type": "router",
        "connected_at": 1.0,
        "last_push_ms": 2.0,
        "cds_sent": "4",
        "cds_acked": "4",
        "rds_sent": "",
        "rds_acked": "",
        "errors": {},
        "sent": {},
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "states"),
    [
        ({}, ["SYNCED", "NOT SENT"]),
        ({"cds_sent": "5"}, ["STALE", "NOT SENT"]),
        ({"cds_sent": "5", "errors": {"cds": "malformed IP address"}}, ["ERROR", "NOT SENT"]),
        ({"rds_sent": "6"}, ["SYNCED", "STALE"]),
        ({"type": "sidecar"}, ["ABSENT", "ABSENT"]),
        ({"proxy": "router~10.0.1.2~router-2~x"}, ["ABSENT", "ABSENT"]),
    ],
)
def test_an_envoy_is_judged_by_what_pilot_sent_and_it_answered(changed, states):
    (judged,) = sync.judge([ROUTER], [proxy(**changed)], TYPES)
    assert list(judged["states"].values()) == states
    assert sync.synced(judged) == (states == ["SYNCED", "NOT SENT"])


def test_each_envoy_has_its_own_proxy_and_a_missing_one_is_told():
    judged = sync.judge([ROUTER, SIDECAR], [proxy()], TYPES)
    assert [each["proxy"] for each in judged] == ["router~10.0.1.1~router-1~x", None]
    assert [each["node"] for each in judged] == ["router-1", "hello-0"]


def test_versions_and_refusals_are_read_of_every_type():
    found = {
        "configs": [
            {
                "dynamic_active_clusters": [{"version_info": "a", "cluster": {"name": OUTBOUND}}],
                "dynamic_warming_clusters": [{"version_info": "b", "cluster": {"name": OTHER}}],
                "static_clusters": [{"cluster": {"name": "pilot-sd"}}],
            },
            {
                "dynamic_listeners": [
                    {
                        "name": "0.0.0.0_80",
                        "active_state": {"version_info": "c", "listener": {"name": "0.0.0.0_80"}},
                        "error_state": {"details": "malformed IP address", "failed_configuration": {"name": "bad"}},
                    },
                    {"name": "warming", "warming_state": {}},
                ]
            },
            {"dynamic_route_configs": [{"version_info": "d", "route_config": {"name": "http.80"}}]},
            {
                "dynamic_scoped_route_configs": [
                    {"version_info": "e", "name": "http.80", "scoped_route_configs": [{"name": "hello.example.test"}]}
                ]
            },
        ]
    }
    assert dump.versions(found) == {
        "cds": {OUTBOUND: "a", OTHER: "b"},
        "lds": {"0.0.0.0_80": "c"},
        "rds": {"http.80": "d"},
        "srds": {"hello.example.test": "e"},
    }
    assert dump.refusals(found) == {"bad": "malformed IP address"}


def test_routes_name_apps_where_clusters_have_guids():
    weighted = {"clusters": [{"name": OUTBOUND, "weight": 30}, {"name": OTHER, "weight": 70}]}
    host = {
        "domains": ["hello.example.test", "hello.example.test:80"],
        "routes": [
            {"match": {"path_separated_prefix": "/a"}, "route": {"weighted_clusters": weighted}, "name": "hello/a"},
            {"match": {"prefix": "/"}, "route": {"cluster": OTHER}},
            {"match": {"path": "/x"}, "direct_response": {"status": 404}},
        ],
    }
    found = {"configs": [{"dynamic_route_configs": [{"route_config": {"name": "http.80", "virtual_hosts": [host]}}]}]}
    rows = list(dump.routes(found, {"guid-1": "hello"}))
    assert [(row["match"], row["leads_to"]) for row in rows] == [
        ("/a and below", "30 % hello, 70 % guid-2"),
        ("/*", "guid-2"),
        ("/x exactly", "answer 404"),
    ]
    assert rows[0]["clusters"] == [OUTBOUND, OTHER]


def test_endpoints_have_their_app_host_and_counters():
    status = {
        "name": OUTBOUND,
        "host_statuses": [
            {
                "address": {"socket_address": {"address": "10.0.2.1", "port_value": 61000}},
                "stats": [{"name": "rq_total", "value": "7"}, {"name": "rq_error"}],
                "health_status": {"eds_health_status": "HEALTHY", "failed_outlier_check": True},
            }
        ],
    }
    (row,) = dump.endpoints({"cluster_statuses": [status]}, {"guid-1": "hello"})
    assert (row["endpoint"], row["host"], row["app"]) == ("10.0.2.1:61000", "hello.example.test", "hello")
    assert (row["requests"], row["errors"], row["ejected"]) == (7, 0, True)
