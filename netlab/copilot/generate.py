"""From a host's routes and instances to its Istio resources. Pure; equal input gives equal output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from netlab.copilot.model import Backend, Destination, HostKey, HostView, PathRoute
from netlab.copilot.weights import percentages
from netlab.protocols import mcp_collections as collections
from netlab.protocols import networking_pb2 as istio

GATEWAY = "cloudfoundry-ingress"
DEFAULT_SIDECAR = "cloudfoundry-default-sidecar"
APP_LABEL = "cfapp"
DEFAULT_PORT = 8080
_INTERNAL_TIMEOUT_SECONDS = 15
_INTERNAL_ATTEMPTS = 3


class Named(NamedTuple):
    """A resource and where it belongs: its collection and its name (`<name>` or `internal/<name>`)."""

    collection: str
    name: str
    body: Message


def fixed_resources(ingress_port: int) -> list[Named]:
    """What is there even without any route: the ingress gateway, and the sidecar scope that shows nothing."""
    gateway = istio.Gateway(
        servers=[
            istio.Server(port=istio.Port(number=ingress_port, protocol="http", name="http"), hosts=["*"]),
        ]
    )
    sidecar = istio.Sidecar(egress=[istio.IstioEgressListener(hosts=["~/*"])])
    return [
        Named(collections.GATEWAYS, GATEWAY, gateway),
        Named(collections.SIDECARS, DEFAULT_SIDECAR, sidecar),
    ]


def names_of(key: HostKey) -> list[tuple[str, str]]:
    """The (collection, name) of every resource that a host may have."""
    prefix = "internal/" if key.internal else ""
    return [
        (collections.VIRTUAL_SERVICES, f"{prefix}copilot-service-for-{key.host}"),
        (collections.DESTINATION_RULES, f"{prefix}copilot-rule-for-{key.host}"),
        (collections.SERVICE_ENTRIES, f"{prefix}copilot-service-entry-for-{key.host}"),
    ]


def host_resources(view: HostView) -> list[Named]:
    """VirtualService, DestinationRule and ServiceEntry of a host; nothing for one without mapped route.

    A route whose processes have no running instance keeps its resources, without endpoints: the answer to a
    request is then 503 and not 404.
    """
    paths = [path for path in view.paths if path.destinations]
    if not paths:
        return []
    if view.key.internal:
        # Internal routes have no paths; should there be some, their destinations serve the host.
        paths = [_merged(paths)]
    paths.sort(key=lambda path: (-len(path.path), path.path))
    destinations = _by_process(paths)
    bodies: list[Message] = [
        _virtual_service(view.key, paths),
        _destination_rule(view.key.host, destinations),
        _service_entry(view, destinations),
    ]
    return [Named(collection, name, body) for (collection, name), body in zip(names_of(view.key), bodies, strict=True)]


def _merged(paths: Iterable[PathRoute]) -> PathRoute:
    destinations = {d.process: d for path in paths for d in path.destinations}
    return PathRoute("", tuple(destinations[process] for process in sorted(destinations)))


def _by_process(paths: Iterable[PathRoute]) -> list[Destination]:
    """Each process once, though it may be mapped to several paths of the host."""
    found = {d.process: d for path in paths for d in path.destinations}
    return [found[process] for process in sorted(found)]


def _virtual_service(key: HostKey, paths: Iterable[PathRoute]) -> istio.VirtualService:
    return istio.VirtualService(
        hosts=[key.host],
        gateways=[] if key.internal else [GATEWAY],
        http=[_http_route(key, path) for path in paths],
    )


def _http_route(key: HostKey, path: PathRoute) -> istio.HTTPRoute:
    live = [d for d in path.destinations if d.backends] or list(path.destinations)
    live.sort(key=lambda d: d.process)
    route = istio.HTTPRoute(
        route=[
            istio.HTTPRouteDestination(
                destination=istio.Destination(host=key.host, subset=d.process, port=istio.PortSelector(number=d.port)),
                weight=share,
            )
            for d, share in zip(live, percentages([d.weight for d in live]), strict=True)
        ]
    )
    if path.path:
        route.match.add().uri.prefix = path.path
    if key.internal:
        route.timeout.CopyFrom(Duration(seconds=_INTERNAL_TIMEOUT_SECONDS))
        route.retries.attempts = _INTERNAL_ATTEMPTS
        route.retries.retry_on = "5xx"
    return route


def _destination_rule(host: str, destinations: Iterable[Destination]) -> istio.DestinationRule:
    return istio.DestinationRule(
        host=host,
        subsets=[istio.Subset(name=d.process, labels={APP_LABEL: d.process}) for d in destinations],
    )


def _service_entry(view: HostView, destinations: list[Destination]) -> istio.ServiceEntry:
    ports = sorted({d.port for d in destinations} | {b.container_port for d in destinations for b in d.backends})
    # Endpoints find their port by its name, so each port needs its own; the usual single one is "http".
    names = {port: "http" if i == 0 else f"http-{port}" for i, port in enumerate(ports)}
    return istio.ServiceEntry(
        hosts=[view.key.host],
        addresses=[view.vip] if view.key.internal and view.vip else [],
        ports=[istio.Port(number=port, protocol="http", name=names[port]) for port in ports],
        location=istio.ServiceEntry.MESH_INTERNAL,
        resolution=istio.ServiceEntry.STATIC,
        endpoints=[
            _endpoint(backend, d.process, names, internal=view.key.internal)
            for d in destinations
            for backend in sorted(set(d.backends))
        ],
    )


def _endpoint(backend: Backend, process: str, names: dict[int, str], *, internal: bool) -> istio.ServiceEntry.Endpoint:
    address, port = (
        (backend.overlay_address, backend.container_port) if internal else (backend.cell_address, backend.host_port)
    )
    return istio.ServiceEntry.Endpoint(
        address=address, ports={names[backend.container_port]: port}, labels={APP_LABEL: process}
    )
