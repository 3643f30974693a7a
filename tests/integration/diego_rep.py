"""A rep whose sidecars are configured by their bootstrap alone, so that no Pilot is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netlab.component import Context
from netlab.diego.rep import job

_TYPE = "type.googleapis.com/envoy.extensions.filters"


def static_bootstrap(
    container_address: str,
    guid: str,
    pilot_address: str,
    admin_path: Path | str,
    app_ports: Sequence[int],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that comes to 15001 goes on to where it was going before the container's rules."""
    proxy = {"@type": f"{_TYPE}.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "inbound", "cluster": "original"}
    original = {"@type": f"{_TYPE}.listener.original_dst.v3.OriginalDst"}
    return {
        "node": {"id": f"sidecar~{container_address}~{guid}~x", "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(admin_path)}}},
        "static_resources": {
            "listeners": [
                {
                    "name": "inbound",
                    "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15001}},
                    "listener_filters": [{"name": "envoy.filters.listener.original_dst", "typed_config": original}],
                    "filter_chains": [
                        {
                            # A connection to 15001 itself would go round and round.
                            "filter_chain_match": {"destination_port": port},
                            "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
                        }
                        for port in app_ports
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "original",
                    "type": "ORIGINAL_DST",
                    "lb_policy": "CLUSTER_PROVIDED",
                    "connect_timeout": "1s",
                }
            ],
        },
    }


async def run(context: Context) -> None:
    await job.run(context, make_bootstrap=static_bootstrap)
