"""Virtual hosts and their routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2 as components
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from netlab.pilot.translate.names import Target, gateway_routes
from netlab.pilot.translate.wire import serialized
from netlab.protocols import networking_pb2 as istio

DEFAULT_RETRY_ON: Final = (
    "connect-failure,refused-stream,reset-before-request,unavailable,cancelled,retriable-status-codes"
)
"""Istio's default, and requests of which nothing was sent when their kept connection turned out dead."""
_DEFAULT_RETRIES: Final = 2
_REDIRECTS: Final = {
    301: components.RedirectAction.MOVED_PERMANENTLY,
    302: components.RedirectAction.FOUND,
    303: components.RedirectAction.SEE_OTHER,
    307: components.RedirectAction.TEMPORARY_REDIRECT,
    308: components.RedirectAction.PERMANENT_REDIRECT,
}

PortOf = Callable[[str], int]
"""The port to use for a destination host that names none."""


def route_configuration(port: int, hosts: Iterable[bytes]) -> bytes:
    """The table, serialized, of a gateway port; without any host everything is answered 404.

    `hosts` come from `as_entry`: a table of thousands is put together for each change of one of them.
    """
    head = RouteConfiguration(
        name=gateway_routes(port),
        # A route may name a cluster that is not there (yet): it answers 503, and harms no other route.
        validate_clusters=BoolValue(value=False),
    )
    return b"".join((serialized(head), *(list(hosts) or [as_entry(blackhole(port))])))


def as_entry(host: VirtualHost) -> bytes:
    """A virtual host as it stands within a serialized RouteConfiguration."""
    return serialized(RouteConfiguration(virtual_hosts=[host]))


def blackhole(port: int) -> VirtualHost:
    """The virtual host of a gateway that serves nobody."""
    return VirtualHost(
        name=f"blackhole:{port}",
        domains=["*"],
        routes=[
            components.Route(
                match=components.RouteMatch(prefix="/"),
                direct_response=components.DirectResponseAction(status=404),
            )
        ],
    )


def virtual_host(
    host: str, port: int, services: Iterable[istio.VirtualService], port_of: PortOf
) -> tuple[VirtualHost, set[Target]]:
    """A host's virtual host on a gateway port, and the targets that its routes lead to.

    Several VirtualServices of a host are merged: their routes in order, those that match everything last.
    """
    special: list[components.Route] = []
    general: list[components.Route] = []
    targets: set[Target] = set()
    for service in services:
        for http in service.http:
            made = list(_routes(host, http, port_of))
            targets |= {target for _, used in made for target in used}
            for route, _ in made:
                (general if is_catch_all(route.match) else special).append(route)
            if made and is_catch_all(made[-1][0].match):
                break
    domains = ["*"] if host == "*" else [host, f"{host}:{port}"]
    return VirtualHost(name=f"{host}:{port}", domains=domains, routes=[*special, *general[:1]]), targets


def is_catch_all(match: components.RouteMatch) -> bool:
    """Whether nothing gets past this match."""
    return match.prefix == "/" and not match.headers and not match.query_parameters


def _routes(host: str, http: istio.HTTPRoute, port_of: PortOf) -> Iterable[tuple[components.Route, set[Target]]]:
    for request in http.match or [istio.HTTPMatchRequest()]:
        route = components.Route(match=route_match(request))
        # Access logs name the route, and a reader knows routes by host and path.
        path = request.uri.prefix or request.uri.exact or request.uri.regex or "/"
        route.name = http.name or f"{host}{path}"
        if http.HasField("redirect"):
            route.redirect.CopyFrom(_redirect(http.redirect))
            yield route, set()
        elif http.HasField("direct_response"):
            route.direct_response.status = http.direct_response.status
            body = http.direct_response.body
            if body.HasField("string"):
                route.direct_response.body.inline_string = body.string
            elif body.HasField("bytes"):
                route.direct_response.body.inline_bytes = body.bytes
            yield route, set()
        else:
            action, targets = _action(http, port_of)
            route.route.CopyFrom(action)
            _headers(route, http.headers)
            yield route, targets


def route_match(request: istio.HTTPMatchRequest) -> components.RouteMatch:
    """When a route applies. A prefix ends at a segment's boundary: `/foo` is for `/foo/bar`, not for `/foobar`."""
    match = components.RouteMatch()
    uri = request.uri
    prefix = uri.prefix.rstrip("/")
    if uri.HasField("exact"):
        match.path = uri.exact
    elif uri.HasField("regex"):
        match.safe_regex.CopyFrom(regex_pb2.RegexMatcher(regex=uri.regex))
    elif not prefix:
        match.prefix = "/"
    elif "?" in prefix or "#" in prefix:
        match.prefix = prefix
    else:
        match.path_separated_prefix = prefix
    if request.ignore_uri_case:
        match.case_sensitive.value = False
    for name, wanted in (
        (":method", request.method),
        (":authority", request.authority),
        (":scheme", request.scheme),
    ):
        if wanted.WhichOneof("match_type"):
            match.headers.append(_header(name, wanted))
    for name, wanted in sorted(request.headers.items()):
        match.headers.append(_header(name, wanted))
    for name, wanted in sorted(request.without_headers.items()):
        header = _header(name, wanted)
        header.invert_match = True
        header.treat_missing_header_as_empty = True
        match.headers.append(header)
    for name, wanted in sorted(request.query_params.items()):
        match.query_parameters.append(
            components.QueryParameterMatcher(name=name, string_match=_string(wanted))
            if wanted.WhichOneof("match_type")
            else components.QueryParameterMatcher(name=name, present_match=True)
        )
    return match


def retry_policy(retries: istio.HTTPRetry | None) -> components.RetryPolicy | None:
    """The retries of a route: Istio's default of 2 without any setting, none for 0 attempts."""
    policy = components.RetryPolicy(
        retry_on=DEFAULT_RETRY_ON,
        num_retries=UInt32Value(value=_DEFAULT_RETRIES),
        retriable_status_codes=[503],
        retry_host_predicate=[
            components.RetryPolicy.RetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts", typed_config=_PREVIOUS_HOSTS
            )
        ],
        host_selection_retry_max_attempts=5,
    )
    if retries is None:
        return policy
    if retries.attempts <= 0:
        return None
    policy.num_retries.value = retries.attempts
    if retries.HasField("per_try_timeout"):
        policy.per_try_timeout.CopyFrom(retries.per_try_timeout)
    if retries.retry_on:
        words = [word.strip() for word in retries.retry_on.split(",")]
        codes = [int(word) for word in words if word.isdecimal()]
        names = [word for word in words if word and not word.isdecimal()]
        del policy.retriable_status_codes[:]
        policy.retriable_status_codes.extend(codes)
        if codes and "retriable-status-codes" not in names:
            names.append("retriable-status-codes")
        policy.retry_on = ",".join(names)
    return policy


_PREVIOUS_HOSTS: Final = ProtoAny()
_PREVIOUS_HOSTS.Pack(previous_hosts_pb2.PreviousHostsPredicate())


def _action(http: istio.HTTPRoute, port_of: PortOf) -> tuple[components.RouteAction, set[Target]]:
    # Envoy would give up after 15 s; a route without timeout waits for its app.
    action = components.RouteAction(timeout=http.timeout if http.HasField("timeout") else Duration())
    policy = retry_policy(http.retries if http.HasField("retries") else None)
    if policy:
        action.retry_policy.CopyFrom(policy)
    if http.rewrite.uri:
        action.prefix_rewrite = http.rewrite.uri
    if http.rewrite.authority:
        action.host_rewrite_literal = http.rewrite.authority
    destinations = [(_target(d.destination, port_of), d) for d in http.route if d.weight or len(http.route) == 1]
    if len(destinations) == 1:
        action.cluster = destinations[0][0].cluster
    else:
        for target, destination in destinations:
            weighted = action.weighted_clusters.clusters.add()
            weighted.name = target.cluster
            weighted.weight.value = destination.weight
            _headers(weighted, destination.headers)
    return action, {target for target, _ in destinations}


def _target(destination: istio.Destination, port_of: PortOf) -> Target:
    host = destination.host.lower()
    return Target(destination.port.number or port_of(host), destination.subset, host)


def _headers(route: components.Route | components.WeightedCluster.ClusterWeight, headers: istio.Headers) -> None:
    request, response = headers.request, headers.response
    route.request_headers_to_add.extend(_options(request))
    route.request_headers_to_remove.extend(request.remove)
    route.response_headers_to_add.extend(_options(response))
    route.response_headers_to_remove.extend(response.remove)


def _options(operations: istio.Headers.HeaderOperations) -> Iterable[base_pb2.HeaderValueOption]:
    actions: Mapping[int, Mapping[str, str]] = {
        base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD: operations.set,
        base_pb2.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD: operations.add,
    }
    for action, values in actions.items():
        for key, value in sorted(values.items()):
            yield base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=key, value=value), append_action=action)


def _redirect(redirect: istio.HTTPRedirect) -> components.RedirectAction:
    return components.RedirectAction(
        host_redirect=redirect.authority,
        path_redirect=redirect.uri,
        response_code=_REDIRECTS.get(redirect.redirect_code, components.RedirectAction.MOVED_PERMANENTLY),
    )


def _header(name: str, wanted: istio.StringMatch) -> components.HeaderMatcher:
    if wanted.WhichOneof("match_type") is None:
        return components.HeaderMatcher(name=name, present_match=True)
    return components.HeaderMatcher(name=name, string_match=_string(wanted))


def _string(wanted: istio.StringMatch) -> string_pb2.StringMatcher:
    match wanted.WhichOneof("match_type"):
        case "prefix":
            return string_pb2.StringMatcher(prefix=wanted.prefix)
        case "regex":
            return string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=wanted.regex))
    return string_pb2.StringMatcher(exact=wanted.exact)
