"""Rows A1 to A8 of the acceptance table: an app and the hosts that lead to it."""

from __future__ import annotations

import pytest

from tests.acceptance.visitor import Visitor

pytestmark = pytest.mark.root

DOMAIN = "mesh.example.test"


def test_a1_an_app_answers_200(visitor: Visitor) -> None:
    route = f"a1.{DOMAIN}"
    visitor.cf("push", name="a1", routes=[route])
    visitor.until(route, 200)
    answer = visitor.get(route)
    assert (answer.status, answer.app) == (200, "a1")


def test_a3_a_stopped_app_answers_503(visitor: Visitor) -> None:
    route = f"a3.{DOMAIN}"
    visitor.cf("push", name="a3", routes=[route])
    visitor.until(route, 200)
    visitor.cf("stop", name="a3")
    visitor.until(route, 503)
    assert {answer.status for answer in visitor.ask(route, 20)} == {503}
    visitor.cf("start", name="a3")
    visitor.until(route, 200)


def test_a4_two_more_hosts_lead_to_the_app(visitor: Visitor) -> None:
    hosts = [f"a4-{name}.{DOMAIN}" for name in ("one", "two")]
    for route in hosts:
        visitor.cf("map_route", name="hello", route=route)
    for route in hosts:
        visitor.until(route, 200)
        assert visitor.get(route).app == "hello"


def test_a5_a_host_that_is_unmapped_is_404_and_the_other_serves_on(visitor: Visitor) -> None:
    gone, kept = (f"a5-{name}.{DOMAIN}" for name in ("gone", "kept"))
    for route in (gone, kept):
        visitor.cf("map_route", name="hello", route=route)
        visitor.until(route, 200)
    with visitor.steadily(kept) as steady:
        visitor.cf("unmap_route", name="hello", route=gone)
        visitor.until(gone, 404)
        assert {answer.status for answer in visitor.ask_routers(gone)} == {404}
    assert steady.count
    assert not steady.failures
    assert {answer.status for answer in visitor.ask_routers(kept)} == {200}


def test_a6_an_internal_route_is_not_reached_through_the_ingress(visitor: Visitor) -> None:
    domain = visitor.api("post", "/v3/domains", {"name": "apps.internal", "internal": True})
    space = visitor.api("get", "/v3/spaces")["resources"][0]["guid"]
    relationships = {"space": {"data": {"guid": space}}, "domain": {"data": {"guid": domain["guid"]}}}
    guid = visitor.api("post", "/v3/routes", {"host": "a6", "relationships": relationships})["guid"]
    app = visitor.api("get", "/v3/apps", names="hello")["resources"][0]["guid"]
    visitor.api("post", f"/v3/routes/{guid}/destinations", {"destinations": [{"app": {"guid": app}}]})
    visitor.settle()
    assert {answer.status for answer in visitor.ask_routers("a6.apps.internal")} == {404}
    assert visitor.get("a6.apps.internal").status == 404


def test_a7_both_old_ways_of_mapping_a_route_work(visitor: Visitor) -> None:
    (app,) = visitor.api("get", "/v2/apps", q="name:hello")["resources"]
    (domain,) = visitor.api("get", "/v2/domains", q=f"name:{DOMAIN}")["resources"]
    for host, by_app in (("a7-by-app", True), ("a7-by-route", False)):
        entity = {"host": host, "domain_guid": domain["metadata"]["guid"], "space_guid": app["entity"]["space_guid"]}
        visitor.api("post", "/v2/routes", entity)
        (route,) = visitor.api("get", "/v2/routes", q=f"host:{host}")["resources"]
        ends = (f"apps/{app['metadata']['guid']}", f"routes/{route['metadata']['guid']}")
        visitor.api("put", "/v2/" + "/".join(ends if by_app else reversed(ends)))
        visitor.until(f"{host}.{DOMAIN}", 200)
        assert visitor.get(f"{host}.{DOMAIN}").app == "hello"


def test_a8_both_instances_of_an_app_answer(visitor: Visitor) -> None:
    route = f"a8.{DOMAIN}"
    visitor.cf("map_route", name="hello", route=route)
    visitor.until(route, 200)
    instances = {record["instance_guid"] for record in visitor.lab.containers() if record["app_name"] == "hello"}
    assert len(instances) == 2
    visitor.until_seen(route, lambda answer: answer.instance, instances)
