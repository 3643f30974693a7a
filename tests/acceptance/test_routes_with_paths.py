"""Rows A10 to A14 of the acceptance table: context paths, and several apps on one host."""

from __future__ import annotations

import pytest

from tests.acceptance.visitor import Visitor

pytestmark = pytest.mark.root

DOMAIN = "mesh.example.test"

# The table has a URL watched for 15 s to see that it stays as it is, as a change took so long to come. Here `settle`
# makes sure that every change so far is in force: nothing is on its way any more that could alter what is asked next.


def test_a10_only_the_path_is_served(visitor: Visitor) -> None:
    host = f"a10.{DOMAIN}"
    visitor.cf("map_route", name="hello", route=f"{host}/nothing/matters")
    visitor.until(f"{host}/nothing/matters", 200)
    visitor.settle()
    assert visitor.get(f"{host}/nothing/matters").path == "/nothing/matters"
    for base in (host, f"{host}/nothing", f"{host}/nothing/mattersnot"):
        assert {answer.status for answer in visitor.ask_routers(base)} == {404}, base
    below = visitor.get(f"{host}/nothing/matters/below")
    assert (below.status, below.app, below.path) == (200, "hello", "/nothing/matters/below")


def test_a11_without_its_path_a_request_falls_back_to_the_host(visitor: Visitor) -> None:
    host = f"a11.{DOMAIN}"
    path = f"{host}/nothing/matters"
    visitor.cf("map_route", name="hello", route=path)
    visitor.until(path, 200)
    visitor.cf("unmap_route", name="hello", route=path)
    visitor.until(path, 404)
    visitor.cf("map_route", name="hello", route=path)
    visitor.until(path, 200)
    visitor.cf("delete_route", route=path)
    visitor.until(path, 404)
    visitor.cf("map_route", name="hola", route=host)
    visitor.until(path, 200)
    assert {answer.app for answer in visitor.ask_routers(path)} == {"hola"}


def test_a12_two_paths_and_a_second_host_lead_to_the_app(visitor: Visitor) -> None:
    urls = [f"a12.{DOMAIN}/nothing/matters", f"a12.{DOMAIN}/nothing/matters/again", f"a12-other.{DOMAIN}"]
    for url in urls:
        visitor.cf("map_route", name="hello", route=url)
    for url in urls:
        visitor.until(url, 200)
        assert {(answer.status, answer.app) for answer in visitor.ask_routers(url)} == {(200, "hello")}


def test_a13_each_path_of_a_host_reaches_its_own_app(visitor: Visitor) -> None:
    host = f"a13.{DOMAIN}"
    for app in ("hello", "hola"):
        visitor.cf("map_route", name=app, route=f"{host}/{app}")
    for app in ("hello", "hola"):
        visitor.until(f"{host}/{app}", 200)
    visitor.settle()
    for app in ("hello", "hola"):
        answers = visitor.ask_routers(f"{host}/{app}")
        assert {(answer.status, answer.app) for answer in answers} == {(200, app)}


def test_a14_apps_on_one_host_and_path_share_it(visitor: Visitor) -> None:
    url = f"a14.{DOMAIN}/nothing/matters"
    visitor.cf("map_route", name="hello", route=url)
    visitor.cf("map_route", name="hola", route=url)
    visitor.until(url, 200)
    instances = {r["instance_guid"] for r in visitor.lab.containers() if r["app_name"] in ("hello", "hola")}
    assert len(instances) == 3
    visitor.until_seen(url, lambda answer: answer.instance, instances)
