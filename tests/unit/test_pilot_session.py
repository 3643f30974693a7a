"""Delta ADS sessions: order, acknowledgements, subscriptions, reconnects."""

import asyncio

import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.protobuf import json_format

from netlab.errors import MeshError
from netlab.pilot.debounce import Debounce
from netlab.pilot.xds.proxy import Proxy
from netlab.pilot.xds.resources import View
from netlab.pilot.xds.session import DeltaSession
from netlab.pilot.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SHORT


class Client:
    """A proxy: keeps what it is sent, and acknowledges."""

    def __init__(self, view: View) -> None:
        self.session = DeltaSession(view)
        self.log: list[str] = []
        self.has: dict[str, dict[str, str]] = {t: {} for t in SHORT}

    def take(self, responses: list[bytes], *, ack: bool = True, refuse: str = "") -> list:
        taken = [DeltaDiscoveryResponse.FromString(r) for r in responses]
        for response in taken:
            short = SHORT[response.type_url]
            names = sorted(r.name for r in response.resources)
            self.log.append(f"{short} {'+'.join(names)}" + "".join(f" -{n}" for n in response.removed_resources))
            for resource in response.resources:
                self.has[response.type_url][resource.name] = resource.version
            for name in response.removed_resources:
                self.has[response.type_url].pop(name, None)
        for response in taken if ack else ():
            reply = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
            if refuse:
                reply.error_detail.message = refuse
            self.take(self.session.receive(reply))
        return taken

    def ask(self, type_url: str, *names: str, ack: bool = True, drop=(), **versions: str):
        request = DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=names,
            resource_names_unsubscribe=drop,
            initial_resource_versions=versions,
        )
        return self.take(self.session.receive(request), ack=ack)

    def connect(self) -> None:
        self.ask(CLUSTER)
        self.ask(ENDPOINT, "c1", "c2")
        self.ask(LISTENER)
        self.ask(ROUTE, "r")
        self.log.clear()

    def push(self, **kwargs):
        return self.take(self.session.push(), **kwargs)


def view() -> View:
    made = View("router")
    made.update(
        {
            CLUSTER: {"c1": b"1", "c2": b"1"},
            ENDPOINT: {"c1": b"1", "c2": b"1"},
            LISTENER: {"l": b"1"},
            ROUTE: {"r": b"1"},
        },
        {},
    )
    return made


def test_a_start():
    client = Client(view())
    client.ask(CLUSTER)
    client.ask(ENDPOINT, "c1", "c2")
    client.ask(LISTENER)
    client.ask(ROUTE, "r")
    assert client.log == ["cds c1+c2", "eds c1+c2", "lds l", "rds r"]
    assert client.push() == []
    status = client.session.status()
    assert status["cds_sent"] == status["cds_acked"] == "1"
    assert status["errors"] == {}


def test_a_first_request_is_answered_even_with_nothing():
    client = Client(View("empty"))
    client.ask(CLUSTER)
    client.ask(LISTENER)
    assert client.log == ["cds ", "lds "]


def test_pushes_are_in_order_with_removals_last_and_endpoints_with_new_clusters():
    v = view()
    client = Client(v)
    client.connect()
    v.update(
        {CLUSTER: {"c3": b"1"}, ENDPOINT: {"c3": b"1"}, LISTENER: {"l": b"2"}, ROUTE: {"r": b"2"}},
        {CLUSTER: {"c1"}, ENDPOINT: {"c1"}},
    )
    client.push()
    assert client.log == ["cds c3", "eds c3", "lds l", "rds r", "cds  -c1"]


def test_a_changed_cluster_gets_its_endpoints_again():
    v = view()
    client = Client(v)
    client.connect()
    v.update({CLUSTER: {"c1": b"2"}}, {})
    client.push()
    assert client.log == ["cds c1", "eds c1"]


def test_an_endpoint_change_is_eds_only_and_for_subscribers_only():
    v = view()
    client = Client(v)
    client.connect()
    v.update({ENDPOINT: {"c1": b"2", "c9": b"1"}}, {})
    client.push()
    assert client.log == ["eds c1"]
    client.ask(ENDPOINT, drop=["c1"])
    v.update({ENDPOINT: {"c1": b"3"}}, {})
    client.push()
    assert client.log == ["eds c1"]


def test_changes_coalesce_while_a_proxy_is_busy():
    v = view()
    client = Client(v)
    client.connect()
    v.update({ROUTE: {"r": b"2"}}, {})
    (pushed,) = client.push(ack=False)
    v.update({ROUTE: {"r": b"3"}}, {})
    v.update({ROUTE: {"r": b"4"}}, {})
    assert client.push() == []
    client.session.receive(DeltaDiscoveryRequest(type_url=ROUTE, response_nonce=pushed.nonce))
    client.push()
    assert client.log == ["rds r", "rds r"]
    assert client.has[ROUTE]["r"] == v.tables[ROUTE].resources["r"].version


def test_a_silent_proxy_is_pushed_to_in_the_end():
    v = view()
    client = Client(v)
    client.connect()
    v.update({ROUTE: {"r": b"2"}}, {})
    client.push(ack=False)
    v.update({ROUTE: {"r": b"3"}}, {})
    client.session.give_up_waiting()
    assert len(client.push()) == 1


def test_a_refusal_is_remembered_and_not_repeated():
    v = view()
    client = Client(v)
    client.connect()
    v.update({LISTENER: {"l": b"bad"}}, {})
    client.push(refuse="malformed")
    assert client.session.status()["errors"] == {"lds": "malformed"}
    assert client.session.status()["lds_acked"] != client.session.status()["lds_sent"]
    assert client.push() == []
    v.update({LISTENER: {"l": b"good"}}, {})
    client.push()
    assert client.session.status()["errors"] == {}


def test_stale_nonces_mean_nothing():
    client = Client(view())
    client.connect()
    assert client.session.receive(DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce="999")) == []


def test_a_later_subscription_is_answered_at_once_and_an_unknown_name_as_removed():
    client = Client(view())
    client.ask(CLUSTER)
    client.ask(ENDPOINT, "c1")
    client.ask(ENDPOINT, "c2", "c9")
    assert client.log == ["cds c1+c2", "eds c1", "eds c2 -c9"]


def test_a_reconnect_sends_what_differs_and_drops_clusters_after_the_routes():
    v = view()
    before = Client(v)
    before.connect()
    before.ask(CLUSTER)
    had = {t: dict(names) for t, names in before.has.items()}
    v.update(
        {CLUSTER: {"c3": b"1"}, ENDPOINT: {"c3": b"1"}, ROUTE: {"r": b"2"}},
        {CLUSTER: {"c1"}, ENDPOINT: {"c1"}},
    )
    after = Client(v)
    after.ask(CLUSTER, **had[CLUSTER])
    after.ask(ENDPOINT, *had[ENDPOINT], **had[ENDPOINT])
    after.ask(LISTENER, **had[LISTENER])
    after.ask(ROUTE, "r", **had[ROUTE])
    assert after.log == ["cds c3", "eds  -c1", "lds ", "rds r", "cds  -c1"]


def test_a_reconnect_to_the_same_says_nothing_new():
    v = view()
    before = Client(v)
    before.connect()
    after = Client(v)
    for type_url, names in before.has.items():
        after.ask(type_url, *names, **names)
    assert after.log == ["cds ", "eds ", "lds ", "rds "]


def test_routes_never_lead_to_clusters_of_a_later_revision():
    v = view()
    client = Client(v)
    client.ask(CLUSTER)
    client.ask(ENDPOINT, "c1", "c2")
    client.ask(LISTENER)
    v.update({CLUSTER: {"c3": b"1"}, ENDPOINT: {"c3": b"1"}, ROUTE: {"r": b"2"}}, {})
    client.ask(ROUTE, "r")
    assert client.log[3:] == ["cds c3", "eds c3", "rds r"]


def test_types_that_are_not_served_are_left_alone():
    client = Client(view())
    assert client.session.receive(DeltaDiscoveryRequest(type_url="type.googleapis.com/x.Secret")) == []


def test_equal_content_is_no_change():
    v = view()
    revision = v.revision
    assert v.update({CLUSTER: {"c1": b"1"}}, {CLUSTER: {"nothing"}}) == {}
    assert v.revision == revision


# ---- nodes


def node(text: str, ports=()) -> Node:
    return json_format.ParseDict({"id": text, "metadata": {"POD_PORTS": list(ports)}}, Node())


def test_nodes():
    proxy = Proxy.of(node("sidecar~10.255.1.2~guid~x", [9090, 8080]))
    assert (proxy.kind, proxy.address, proxy.ports) == ("sidecar", "10.255.1.2", (8080, 9090))
    assert Proxy.of(node("router~10.0.1.1~router-1~x")).kind == "router"


@pytest.mark.parametrize("text", ["", "router~a~b", "waypoint~1.2.3.4~x~y", "sidecar~nowhere~guid~x"])
def test_bad_nodes(text):
    with pytest.raises(MeshError):
        Proxy.of(node(text))


# ---- debounce


def test_a_burst_is_waited_out_but_not_for_ever():
    async def body():
        loop = asyncio.get_running_loop()
        debounce = Debounce(0.02, 0.1)
        debounce.touch()
        started = loop.time()
        await debounce.wait()
        assert 0.015 < loop.time() - started < 0.09

        async def keep_touching():
            while True:
                debounce.touch()
                await asyncio.sleep(0.005)

        task = asyncio.create_task(keep_touching())
        started = loop.time()
        await debounce.wait()
        assert 0.09 < loop.time() - started < 0.2
        task.cancel()

    asyncio.run(body())
