"""The access log that every Envoy of the lab writes to standard output: one JSON object a request.

Addresses are `ip:port`; a value that Envoy has none for is null. The trace joins these lines with packets by
`request_id`, connection ids and addresses, so every address before and after NAT is there.
"""

from __future__ import annotations

from typing import Any, Final

JSON_FORMAT: Final[dict[str, str]] = {
    "start_time": "%START_TIME(%s.%9f)%",  # Unix seconds, as text
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "authority": "%REQ(:AUTHORITY)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "downstream_direct_remote": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "downstream_remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
    # Behind an original_dst filter this is where the client meant to go, before the container's DNAT.
    "downstream_local": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_direct_local": "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%",
    "upstream_local": "%UPSTREAM_LOCAL_ADDRESS%",
    "upstream_remote": "%UPSTREAM_REMOTE_ADDRESS%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "route_name": "%ROUTE_NAME%",
    "duration_ms": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "connection_id": "%CONNECTION_ID%",
    "upstream_connection_id": "%UPSTREAM_CONNECTION_ID%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}


def stdout_access_log() -> dict[str, Any]:
    """The `access_log` entry of an HttpConnectionManager or a tcp_proxy, as proto3 JSON."""
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": dict(JSON_FORMAT)},
        },
    }
