"""Listeners: the routers' gateway ports, and the sidecars' one inbound port."""

from __future__ import annotations

from collections.abc import Sequence

# Imported for their descriptors: the access log of netlab.envoy is JSON, and typed by them.
import envoy.extensions.access_loggers.stream.v3.stream_pb2  # noqa: F401
from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from netlab.envoy.accesslog import stdout_access_log
from netlab.envoy.bootstrap import SIDECAR_INBOUND_PORT
from netlab.pilot.translate import names
from netlab.pilot.translate.clusters import from_ads

_ORIGINAL_DST = "envoy.filters.listener.original_dst"


def gateway(bind: str, port: int) -> Listener:
    """A router's listener for plain HTTP: routes by RDS, the client's address in X-Forwarded-For."""
    manager = _manager(f"outbound_{names.listener(bind, port)}")
    manager.use_remote_address.value = True
    manager.rds.config_source.CopyFrom(from_ads())
    manager.rds.route_config_name = names.gateway_routes(port)
    return Listener(
        name=names.listener(bind, port),
        address=_address(bind, port),
        traffic_direction=base_pb2.TrafficDirection.OUTBOUND,
        filter_chains=[listener_components_pb2.FilterChain(filters=[_http(manager)])],
    )


def virtual_inbound(app_ports: Sequence[int]) -> Listener:
    """A sidecar's listener: what the container's DNAT sent here goes on to the app's port it was meant for.

    A connection that was made to the sidecar's port itself has no app port, and ends in the black hole.
    """
    return Listener(
        name=names.VIRTUAL_INBOUND,
        address=_address("0.0.0.0", SIDECAR_INBOUND_PORT),
        traffic_direction=base_pb2.TrafficDirection.INBOUND,
        listener_filters=[
            listener_components_pb2.ListenerFilter(
                name=_ORIGINAL_DST, typed_config=_pack(original_dst_pb2.OriginalDst())
            )
        ],
        filter_chains=[_inbound_chain(port) for port in app_ports],
        default_filter_chain=_black_hole_chain(),
    )


def _inbound_chain(port: int) -> listener_components_pb2.FilterChain:
    name = names.inbound_cluster(port)
    manager = _manager(f"inbound_0.0.0.0_{port}")
    manager.route_config.CopyFrom(
        route_pb2.RouteConfiguration(
            name=name,
            virtual_hosts=[
                route_components_pb2.VirtualHost(
                    name=f"inbound|http|{port}",
                    domains=["*"],
                    routes=[
                        route_components_pb2.Route(
                            name="default",
                            match=route_components_pb2.RouteMatch(prefix="/"),
                            route=route_components_pb2.RouteAction(cluster=name, timeout=Duration()),
                        )
                    ],
                )
            ],
            validate_clusters=BoolValue(value=False),
        )
    )
    return listener_components_pb2.FilterChain(
        name=name,
        filter_chain_match=listener_components_pb2.FilterChainMatch(destination_port=UInt32Value(value=port)),
        filters=[_http(manager)],
    )


def _black_hole_chain() -> listener_components_pb2.FilterChain:
    proxy = tcp_proxy_pb2.TcpProxy(stat_prefix=names.BLACK_HOLE, cluster=names.BLACK_HOLE, access_log=[_access_log()])
    return listener_components_pb2.FilterChain(
        name=names.BLACK_HOLE,
        filters=[listener_components_pb2.Filter(name="envoy.filters.network.tcp_proxy", typed_config=_pack(proxy))],
    )


def _manager(stat_prefix: str) -> HttpConnectionManager:
    return HttpConnectionManager(
        stat_prefix=stat_prefix,
        server_name="istio-envoy",
        normalize_path=BoolValue(value=True),
        strip_trailing_host_dot=True,
        access_log=[_access_log()],
        # The request id is how a trace finds one request at every hop, so it is never changed, and told back.
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        request_id_extension=hcm_pb2.RequestIDExtension(
            typed_config=_pack(uuid_pb2.UuidRequestIdConfig(pack_trace_reason=BoolValue(value=False)))
        ),
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        http_filters=[hcm_pb2.HttpFilter(name="envoy.filters.http.router", typed_config=_pack(router_pb2.Router()))],
    )


def _http(manager: HttpConnectionManager) -> listener_components_pb2.Filter:
    return listener_components_pb2.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=_pack(manager)
    )


def _access_log() -> accesslog_pb2.AccessLog:
    return json_format.ParseDict(stdout_access_log(), accesslog_pb2.AccessLog())


def _address(address: str, port: int) -> address_pb2.Address:
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=address, port_value=port))


def _pack(message: Message) -> ProtoAny:
    packed = ProtoAny()
    packed.Pack(message, deterministic=True)
    return packed
