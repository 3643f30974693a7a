"""Somebody who uses a lab by PyPI's cloudfoundry-client, as it is; a program of its own that runs on the node `client`.

    python outside_client.py STORY TARGET

TARGET is what `netlab target -o json` printed. Each story ends with an exception if something is not as it should
be, and leaves neither app nor route. Whatever it changes it looks for through the load balancer.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polling2
import pytest
import requests
from cloudfoundry_client.client import CloudFoundryClient
from cloudfoundry_client.errors import InvalidStatusCode
from cloudfoundry_client.operations.push.push import PushOperation
from oauth2_client.credentials_manager import OAuthError

DOMAIN = "mesh.example.test"
PATIENCE = 20
COMMAND = """exec python3 -c '
import http.server, os

class Greet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "{GREETING} {CF_INSTANCE_INDEX}".format(**os.environ).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Greet).serve_forever()
'"""


class Person:
    """Somebody with an account, who looks at the mesh from outside."""

    def __init__(self, target: dict[str, str]) -> None:
        self.target = target
        self.api = target["api"]
        self.cf = CloudFoundryClient(self.api, verify=target["ca_file"])
        self.cf.init_with_user_credentials(target["username"], target["password"])

    def until(self, what: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
        """Ask until the answer is good; the last one is in the exception."""
        last: list[Any] = []

        def ask() -> Any:
            last[:] = [what()]
            return last[0]

        try:
            return polling2.poll(ask, check_success=good, step=0.02, timeout=PATIENCE)
        except polling2.TimeoutException:
            raise AssertionError(f"still {last[0]}") from None

    def get(self, host: str, path: str = "/") -> tuple[int, str]:
        """One request through the load balancer: the status and the body."""
        response = requests.get(f"http://{host}.{DOMAIN}{path}", timeout=10, proxies={"http": ""})
        return response.status_code, response.text

    def until_status(self, host: str, status: int, path: str = "/") -> str:
        """Wait until the mesh answers so; the body."""
        answer: tuple[int, str] = self.until(lambda: self.get(host, path), lambda found: found[0] == status)
        return answer[1]

    def until_seen(self, host: str, bodies: set[str]) -> None:
        """Wait until the answers of a while are just these."""
        self.until(lambda: {self.get(host)[1] for _ in range(12)}, lambda seen: seen == bodies)

    def share(self, host: str, body: str, times: int) -> float:
        """What part of so many answers is this one."""
        return sum(self.get(host) == (200, body) for _ in range(times)) / times


@contextmanager
def refused(status: int, **expected: Any) -> Iterator[None]:
    """The block must be refused so; of a document of version 3 the first error counts."""
    with pytest.raises(InvalidStatusCode) as caught:
        yield
    error = caught.value
    document = error.body.get("errors", [error.body])[0]
    assert (error.status_code, {name: document[name] for name in expected}) == (status, expected), error


def login(person: Person) -> None:
    """Certificates are verified, wrong passwords refused, and a token that is no longer good is refreshed."""
    with pytest.raises(requests.exceptions.SSLError):
        CloudFoundryClient(person.api)  # the machine does not trust the lab's CA
    stranger = CloudFoundryClient(person.api, verify=person.target["ca_file"])
    with pytest.raises(OAuthError) as caught:
        stranger.init_with_user_credentials(person.target["username"], "wrong")
    assert caught.value.status_code == 401
    cf = person.cf
    by_token = CloudFoundryClient(person.api, verify=person.target["ca_file"])
    by_token.init_with_token(cf.refresh_token)
    assert by_token.v3.spaces.get_first()["name"] == person.target["space"]
    for ask in (cf.v3.spaces.get_first, cf.v2.spaces.get_first):
        cf._access_token = "one.that.expired"  # in ten minutes it would be such a one
        assert ask() is not None
        assert cf._access_token != "one.that.expired"
    machine = CloudFoundryClient(
        person.api, client_id="admin", client_secret=person.target["password"], verify=person.target["ca_file"]
    )
    machine.init_with_client_credentials()
    assert machine.v3.organizations.get_first()["name"] == person.target["org"]


def version_3(person: Person) -> None:
    """The whole life of two apps and of a route that leads to both."""
    cf = person.cf
    space = cf.v3.spaces.get_first(names=person.target["space"])
    assert space.organization()["name"] == person.target["org"]
    domain = cf.v3.domains.get_first(names=DOMAIN)
    apps = {name: _new_app(person, space, name) for name in ("third", "fourth")}
    third, fourth = apps.values()
    listed = cf.v3.apps.list(names=list(apps), space_guids=space["guid"], order_by="-name")
    assert [app["name"] for app in listed] == ["third", "fourth"]
    assert cf.v3.apps.len(names="third") == 1

    route = cf.v3.routes.create(space["guid"], domain["guid"], "three", meta_labels={"made": "here"})
    person.until_status("three", 404)
    destinations = route["links"]["destinations"]["href"]
    cf.post(destinations, json={"destinations": [{"app": {"guid": third["guid"]}}]})
    assert [each["app"]["guid"] for each in route.destinations()["destinations"]] == [third["guid"]]
    assert [each["host"] for each in cf.v3.apps.list_routes(third["guid"])] == ["three"]
    person.until_status("three", 503)

    for app in apps.values():
        app.start()
        _running(person, app, 1)
    assert cf.v3.apps.get(third["guid"])["state"] == "STARTED"
    person.until_seen("three", {"third 0"})

    (process,) = third.processes()
    process.scale(data={"instances": 3})
    _running(person, third, 3)
    person.until_seen("three", {"third 0", "third 1", "third 2"})
    process.scale(data={"instances": 1})
    person.until_seen("three", {"third 0"})

    weights = [{"app": {"guid": third["guid"]}, "weight": 20}, {"app": {"guid": fourth["guid"]}, "weight": 80}]
    cf.patch(destinations, json={"destinations": weights})
    # Five standard deviations to each side, and far from an even share.
    person.until(lambda: person.share("three", "third 0", 200), lambda share: 0.06 < share < 0.34)
    person.until_seen("three", {"third 0", "fourth 0"})
    with refused(422, code=10008, title="CF-UnprocessableEntity"):
        cf.patch(destinations, json={"destinations": [weights[0]]})
    cf.patch(destinations, json={"destinations": [{"app": {"guid": fourth["guid"]}}]})
    person.until_seen("three", {"fourth 0"})

    environment = {"var": {"GREETING": "changed"}}
    cf.patch(f"{person.api}/v3/apps/{fourth['guid']}/environment_variables", json=environment)
    assert cf.v3.apps.get_env(fourth["guid"])["environment_variables"] == environment["var"]
    cf.v3.apps.restart(fourth["guid"])
    person.until_seen("three", {"changed 0"})

    fourth.stop()
    person.until_status("three", 503)
    for app in apps.values():
        cf.v3.apps.remove(app["guid"], asynchronous=False)
        with refused(404, code=10010, title="CF-ResourceNotFound"):
            cf.v3.apps.get(app["guid"])
    assert route.destinations()["destinations"] == []
    job = cf.v3.jobs.wait_for_job_completion(cf.v3.routes.remove(route["guid"]))
    assert (job["state"], job["operation"]) == ("COMPLETE", "route.delete")
    person.until_status("three", 404)


def _new_app(person: Person, space: dict[str, Any], name: str) -> Any:
    """An app that answers with its name and the instance's index."""
    body = {
        "name": name,
        "relationships": {"space": {"data": {"guid": space["guid"]}}},
        "lifecycle": {"type": "buildpack", "data": {"buildpacks": [], "stack": "cflinuxfs3"}},
        "environment_variables": {"GREETING": name},
    }
    app = person.cf.v3.apps.get(person.cf.post(f"{person.api}/v3/apps", json=body).json()["guid"])
    (process,) = app.processes()
    person.cf.patch(process["links"]["self"]["href"], json={"command": COMMAND})
    return app


def _running(person: Person, app: Any, instances: int) -> None:
    """Wait until so many instances run, all at a port of a cell."""
    (process,) = app.processes()
    found = person.until(
        lambda: list(process.stats()),
        lambda stats: [each["state"] for each in stats] == ["RUNNING"] * instances,
    )
    ports = {(each["host"], each["instance_ports"][0]["external"]) for each in found}
    assert len(ports) == instances, found


def version_2(person: Person) -> None:
    """The whole life of an app and its routes as older programs lead it."""
    cf = person.cf
    space = cf.v2.spaces.get_first(name=person.target["space"])
    assert space.organization()["entity"]["name"] == person.target["org"]
    domain = cf.v2.shared_domains.get_first(name=DOMAIN)
    app = cf.v2.apps.create(
        name="second",
        space_guid=space["metadata"]["guid"],
        stack_guid=cf.v2.stacks.get_first()["metadata"]["guid"],
        command=COMMAND,
        memory=64,
        instances=2,
        environment_json={"GREETING": "second"},
        diego=True,
    )
    guid = app["metadata"]["guid"]
    with refused(400, code=100002, error_code="CF-AppNameTaken"):
        cf.v2.apps.create(name="second", space_guid=space["metadata"]["guid"])
    with refused(400, code=220001, error_code="CF-InstancesError"):
        app.instances()
    cf.v2.apps.start(guid, check_time=0.05)
    assert {each["state"] for each in app.instances().values()} == {"RUNNING"}

    route = cf.v2.routes.create_host_route(domain["metadata"]["guid"], space["metadata"]["guid"], "two")
    route_guid = route["metadata"]["guid"]
    with refused(400, code=210003, error_code="CF-RouteHostTaken"):
        cf.v2.routes.create_host_route(domain["metadata"]["guid"], space["metadata"]["guid"], "two")
    cf.v2.apps.associate_route(guid, route_guid)
    person.until_seen("two", {"second 0", "second 1"})
    summary = app.summary()
    assert (summary["running_instances"], summary["routes"][0]["host"]) == (2, "two")
    assert [each["stats"]["uris"] for each in app.stats().values()] == [[f"two.{DOMAIN}"]] * 2
    assert [each["entity"]["host"] for each in cf.v2.apps.list_routes(guid)] == ["two"]
    assert [each["entity"]["name"] for each in route.apps()] == ["second"]
    assert app.env()["environment_json"] == {"GREETING": "second"}

    cf.v2.apps.update(guid, instances=1)
    person.until_seen("two", {"second 0"})
    cf.v2.apps.update(guid, environment_json={"GREETING": "changed"})
    app.restage()
    person.until_seen("two", {"changed 0"})

    cf.v2.apps.remove_route(guid, route_guid)
    person.until_status("two", 404)
    cf.put(f"{person.api}/v2/routes/{route_guid}/apps/{guid}")
    person.until_status("two", 200)
    cf.v2.apps.stop(guid)
    person.until_status("two", 503)
    cf.v2.apps.remove(guid)
    with refused(404, code=100004, error_code="CF-AppNotFound"):
        cf.v2.apps.get(guid)
    cf.v2.spaces.delete_unmapped_routes(space["metadata"]["guid"])
    assert cf.v2.routes.get_first(host="two") is None
    person.until_status("two", 404)


def push(person: Person) -> None:
    """The client's own push of a manifest, twice; the files go nowhere, the command counts."""
    cf = person.cf
    space = cf.v2.spaces.get_first(name=person.target["space"])["metadata"]["guid"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bits").mkdir()
        (Path(folder) / "bits" / "README").write_text("Nobody reads this.\n")
        manifest = Path(folder) / "manifest.yml"
        for greeting in ("pushed", "again"):
            app = {
                "name": "pushed",
                "path": "bits",
                "memory": "64M",
                "command": COMMAND,
                "env": {"GREETING": greeting},
                "routes": [{"route": f"push.{DOMAIN}"}, {"route": f"pull.{DOMAIN}"}],
            }
            manifest.write_text(json.dumps({"applications": [app]}))
            PushOperation(cf).push(space, str(manifest))
            for host in ("push", "pull"):
                person.until_seen(host, {f"{greeting} 0"})
    cf.v2.apps.remove(cf.v2.apps.get_first(name="pushed")["metadata"]["guid"])
    for route in list(cf.v2.routes.list(host=["push", "pull"])):
        cf.delete(f"{person.api}{route['metadata']['url']}")
    person.until_status("push", 404)


STORIES = {story.__name__: story for story in (login, version_3, version_2, push)}

if __name__ == "__main__":
    STORIES[sys.argv[1]](Person(json.loads(sys.argv[2])))
