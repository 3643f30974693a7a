"""Which resources Pilot refuses, each with its reason. The other resources of the same update are not affected."""

from __future__ import annotations

from google.protobuf.message import Message

from netlab.protocols import networking_pb2 as istio


def problem(body: Message) -> str | None:
    """Why this resource cannot be used, or None if it can."""
    match body:
        case istio.Gateway():
            return _gateway(body)
        case istio.VirtualService():
            return _virtual_service(body)
        case istio.DestinationRule():
            return None if body.host else "no host"
        case istio.ServiceEntry():
            return _service_entry(body)
    return None


def _gateway(gateway: istio.Gateway) -> str | None:
    for server in gateway.servers:
        if not 0 < server.port.number < 65536:
            return f"server port {server.port.number} is no port"
        if not server.hosts:
            return f"the server on port {server.port.number} has no hosts"
    return None


def _virtual_service(service: istio.VirtualService) -> str | None:
    if not service.hosts:
        return "no hosts"
    for number, route in enumerate(service.http, 1):
        weights = [destination.weight for destination in route.route]
        if len(weights) > 1 and (min(weights) < 0 or sum(weights) != 100):
            return f"the weights of HTTP route {number} are {weights}; they must total 100"
        if any(not destination.destination.host for destination in route.route):
            return f"a destination of HTTP route {number} has no host"
        if not (route.route or route.HasField("redirect") or route.HasField("direct_response")):
            return f"HTTP route {number} leads nowhere"
    return None


def _service_entry(entry: istio.ServiceEntry) -> str | None:
    if not entry.hosts:
        return "no hosts"
    numbers = [port.number for port in entry.ports]
    names = [port.name for port in entry.ports]
    if len(set(numbers)) < len(numbers) or len(set(names)) < len(names):
        return "two ports have the same number or name"
    if any(not 0 < number < 65536 for number in numbers):
        return f"ports {numbers}: not all are ports"
    return None
