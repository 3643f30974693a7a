"""One proxy's delta ADS stream. Sans I/O: requests come in; responses, already serialized, come out.

A request is answered at once. Changes of the view are pushed in the order CDS, EDS, LDS, RDS with removals last,
and only while nothing is unacknowledged, so that changes coalesce for a proxy that is slow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from netlab.pilot.xds.resources import Resource, View
from netlab.pilot.xds.types import CLUSTER, ENDPOINT, LISTENER, PUSH_ORDER, ROUTE, SHORT

_WILDCARD_TYPES = (CLUSTER, LISTENER)


@dataclass
class Subscription:
    """What a proxy wants of one type, and what became of what it was sent."""

    type_url: str
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: str = ""
    """The nonce of the last response."""
    acked: str = ""
    """The nonce of the last response that was accepted."""
    error: str = ""
    """Why the last answered response was refused; empty if it was accepted."""
    unanswered: set[str] = field(default_factory=set)
    responses: int = 0
    resources: int = 0
    bytes_sent: int = 0

    def wants(self, name: str) -> bool:
        """Whether the proxy is subscribed to a resource of this name."""
        return self.wildcard or name in self.names


class DeltaSession:
    """The state of one stream over a view."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.revision = view.revision
        """The revision of the view that the proxy has been brought to."""
        self.subscriptions = {type_url: Subscription(type_url) for type_url in PUSH_ORDER}
        self._known: set[str] = set()
        """The types asked for on this stream."""
        self._stale_clusters: list[str] = []
        self._nonce = 0

    @property
    def busy(self) -> bool:
        """Whether a response is still unanswered."""
        return any(s.unanswered for s in self.subscriptions.values())

    def receive(self, request: discovery_pb2.DeltaDiscoveryRequest) -> list[bytes]:
        """Take one request: an ACK, a NACK, a change of subscriptions, or several of these."""
        subscription = self.subscriptions.get(request.type_url)
        if subscription is None:
            return []  # a type that is not served, such as secrets: Envoy waits, and needs no answer
        self._acknowledge(subscription, request)
        first = request.type_url not in self._known
        added = self._subscribe(subscription, request, first=first)
        if first:
            return self._introduce(subscription, dict(request.initial_resource_versions))
        if not added:
            return []
        return self._answer(subscription, added)

    def push(self) -> list[bytes]:
        """Bring the proxy to the view's present revision; nothing while it is busy or up to date."""
        return [] if self.busy else self._catch_up()

    def _catch_up(self) -> list[bytes]:
        if self.revision == self.view.revision:
            return []
        since, self.revision = self.revision, self.view.revision
        changed: dict[str, list[Resource]] = {}
        for type_url, subscription in self.subscriptions.items():
            table = self.view.tables[type_url]
            changed[type_url] = [r for r in table.since(since) if subscription.wants(r.name)]
        changed[ENDPOINT] = self._endpoints(changed[CLUSTER], changed[ENDPOINT])
        out = [
            self._response(self.subscriptions[type_url], changed[type_url])
            for type_url in PUSH_ORDER
            if type_url in self._known and changed[type_url]
        ]
        return out + self._removals(since)

    def give_up_waiting(self) -> None:
        """Take what is unanswered as lost, so that the next push is sent."""
        for subscription in self.subscriptions.values():
            subscription.unanswered.clear()

    def drop_stale_clusters(self) -> list[bytes]:
        """What a reconnected proxy still has and should not; to be called once its routes are up to date."""
        stale = [name for name in self._stale_clusters if name not in self.view.tables[CLUSTER].resources]
        self._stale_clusters = []
        return [self._response(self.subscriptions[CLUSTER], (), stale)] if stale else []

    def _acknowledge(self, s: Subscription, request: discovery_pb2.DeltaDiscoveryRequest) -> None:
        nonce = request.response_nonce
        if not nonce or nonce not in s.unanswered:
            return
        s.unanswered.discard(nonce)
        if request.HasField("error_detail"):
            s.error = request.error_detail.message
        else:
            s.acked = nonce
            s.error = ""

    def _subscribe(self, s: Subscription, request: discovery_pb2.DeltaDiscoveryRequest, *, first: bool) -> list[str]:
        names = list(request.resource_names_subscribe)
        if "*" in names or (first and not names and s.type_url in _WILDCARD_TYPES):
            s.wildcard = True
        if "*" in request.resource_names_unsubscribe:
            s.wildcard = False
        s.names.difference_update(request.resource_names_unsubscribe)
        names = [name for name in names if name != "*"]
        s.names.update(names)
        # What a reconnecting proxy has of a named type, it is subscribed to.
        if first and s.type_url not in _WILDCARD_TYPES:
            s.names.update(request.initial_resource_versions)
        return names

    def _introduce(self, s: Subscription, versions: dict[str, str]) -> list[bytes]:
        """Answer the first request of a type, also with nothing, because a starting Envoy waits for it."""
        table = self.view.tables[s.type_url]
        resources = [r for r in table.differing(versions) if s.wants(r.name)]
        gone = [name for name in versions if name not in table.resources]
        gone += [name for name in s.names if name not in table.resources and name not in versions]
        if s.type_url == CLUSTER:
            # Routes may lead to these until RDS has been answered.
            self._stale_clusters, gone = gone, []
        # What is answered below is of the view's present revision; what it leads to must not be older.
        out = [] if s.type_url == CLUSTER else self._catch_up()
        self._known.add(s.type_url)
        out.append(self._response(s, resources, gone))
        if s.type_url == CLUSTER and ENDPOINT in self._known:
            out += self._endpoints_response(resources)
        if s.type_url == ROUTE:
            out += self.drop_stale_clusters()
        return out

    def _answer(self, s: Subscription, names: Iterable[str]) -> list[bytes]:
        """Send what was newly subscribed to; an unknown name is answered as removed."""
        out = self._catch_up() if s.type_url == ROUTE else []
        table = self.view.tables[s.type_url].resources
        wanted = list(dict.fromkeys(names))
        found = [table[name] for name in wanted if name in table]
        out.append(self._response(s, found, [name for name in wanted if name not in table]))
        return out

    def _endpoints(self, clusters: list[Resource], changed: list[Resource]) -> list[Resource]:
        """The endpoints to send with these clusters.

        A cluster that is new or changed warms until it gets endpoints, so they go with it, unasked.
        """
        table = self.view.tables[ENDPOINT].resources
        found = {r.name: r for r in changed}
        for cluster in clusters:
            if cluster.name in table:
                found.setdefault(cluster.name, table[cluster.name])
        return list(found.values())

    def _endpoints_response(self, clusters: list[Resource]) -> list[bytes]:
        endpoints = self._endpoints(clusters, [])
        return [self._response(self.subscriptions[ENDPOINT], endpoints)] if endpoints else []

    def _removals(self, since: int) -> list[bytes]:
        """Listeners and routes go before the clusters they lead to. Endpoints end with their cluster."""
        out = []
        for type_url in (LISTENER, ROUTE, CLUSTER):
            subscription = self.subscriptions[type_url]
            names = [n for n in self.view.tables[type_url].removed_since(since) if subscription.wants(n)]
            if names and type_url in self._known:
                out.append(self._response(subscription, (), names))
        return out

    def _response(self, s: Subscription, resources: Iterable[Resource], removed: Iterable[str] = ()) -> bytes:
        self._nonce += 1
        s.sent = str(self._nonce)
        s.unanswered.add(s.sent)
        head = discovery_pb2.DeltaDiscoveryResponse(
            type_url=s.type_url,
            nonce=s.sent,
            system_version_info=str(self.view.revision),
            removed_resources=list(removed),
        ).SerializeToString()
        wires = [r.wire for r in resources]
        response = b"".join((head, *wires))
        s.responses += 1
        s.resources += len(wires)
        s.bytes_sent += len(response)
        return response

    def status(self) -> dict[str, Any]:
        """Nonces sent and accepted by type, and why what was refused was, as `/debug/syncz` shows them."""
        found: dict[str, Any] = {}
        for type_url, s in self.subscriptions.items():
            found[f"{SHORT[type_url]}_sent"] = s.sent
            found[f"{SHORT[type_url]}_acked"] = s.acked
        found["errors"] = {SHORT[type_url]: s.error for type_url, s in self.subscriptions.items() if s.error}
        return found

    def wanted_versions(self) -> dict[str, dict[str, str]]:
        """The version of each resource that the proxy should have, by type and name."""
        return {
            SHORT[type_url]: {
                r.name: r.version for r in self.view.tables[type_url].resources.values() if s.wants(r.name)
            }
            for type_url, s in self.subscriptions.items()
        }
