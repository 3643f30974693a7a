"""The Cloud Controller without sockets: its ASGI application over a database in memory, and recorders for peers."""

import asyncio
import json
from collections.abc import Sequence
from functools import cache

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.orm import sessionmaker

from netlab.capi.app import make_app
from netlab.capi.call import Api
from netlab.capi.config import CapiConfig
from netlab.capi.database import open_database, seed
from netlab.capi.models import SigningKey
from netlab.capi.tokens import TokenIssuer
from netlab.protocols import bbs_pb2 as bbs

PASSWORD = "s3cret"
DOMAIN = "mesh.example.test"


@cache
def signing_key(_name):
    """A key that many benches share: making one takes longer than most tests."""
    private = rsa.generate_private_key(65537, 2048)
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return private.private_bytes(*kinds).decode()


class Recorder:
    """What a peer would have been told."""

    def __init__(self):
        self.changes = []
        self.lrps: list[bbs.ActualLRP] | None = []
        self.used: dict[str, dict[str, dict[str, float]]] = {}

    def put(self, changes):
        self.changes += changes

    def take(self):
        taken, self.changes = self.changes, []
        return taken

    async def retire(self, process_guid, index):
        if self.lrps is None:
            raise ConnectionError("away")
        self.changes.append((process_guid, index))

    async def actual_lrps(self, process_guid) -> Sequence[bbs.ActualLRP]:
        if self.lrps is None:
            raise ConnectionError("away")
        return [lrp for lrp in self.lrps if lrp.actual_lrp_key.process_guid == process_guid]

    async def usage(self, cells):
        return {guid: used for cell in cells for guid, used in self.used.get(cell, {}).items()}

    async def follow(self, changed: asyncio.Event) -> None:
        changed.set()
        await asyncio.Event().wait()


class Bench:
    """One Cloud Controller, logged in."""

    def __init__(self, url="sqlite://", key="one", **config):
        tls = {"certificate": "/none", "private_key": "/none", "ca": "/none"}
        defaults = {
            "listen": "127.0.0.1:443",
            "tls": tls,
            "database_url": url,
            "system_domain": "sys.example.test",
            "istio_domains": [DOMAIN],
            "copilot_address": "127.0.0.1:9001",
            "bbs_url": "https://127.0.0.1:8889",
            "admin_password": PASSWORD,
        }
        self.config = CapiConfig.model_validate(defaults | config)
        self.engine = open_database(url)
        self.sessions = sessionmaker(self.engine, expire_on_commit=False)
        seed(self.sessions, self.config.system_domain, self.config.istio_domains)
        with self.sessions.begin() as session:
            if session.get(SigningKey, key) is None:
                session.add(SigningKey(kid=key, private_pem=signing_key(key)))
        self.copilot, self.diego = Recorder(), Recorder()
        tokens = TokenIssuer.load(self.sessions, f"{self.config.uaa_url}/oauth/token")
        self.api = Api(self.config, self.sessions, tokens, self.copilot, self.diego)
        self.app = make_app(self.api)
        self.token = self.tokens()["access_token"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.dispose()

    def send(self, method, url, **arguments) -> httpx.Response:
        """One request as it is."""

        async def body():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as client:
                return await client.request(method, url, **arguments)

        return asyncio.run(body())

    def request(self, method, path, **arguments) -> httpx.Response:
        """One request to the API with the token."""
        headers = {"authorization": f"bearer {self.token}"} | arguments.pop("headers", {})
        return self.send(method, self.config.api_url + path, headers=headers, **arguments)

    def call(self, method, path, body=None, status=None, **arguments):
        """One request that must succeed (or end in `status`), and the document of its answer."""
        # ASCII, so that a test can send what has no UTF-8.
        content = None if body is None else json.dumps(body).encode()
        response = self.request(method, path, content=content, **arguments)
        if status is None:
            assert response.is_success, response.text
        else:
            assert response.status_code == status, response.text
        return response.json() if response.content else None

    def get(self, path, **arguments):
        return self.call("GET", path, **arguments)

    def post(self, path, body=None, **arguments):
        return self.call("POST", path, body or {}, **arguments)

    def refused(self, method, path, body=None, **arguments):
        """One request that must end in 422; the detail of its error."""
        (error,) = self.call(method, path, body, status=422, **arguments)["errors"]
        assert (error["code"], error["title"]) == (10008, "CF-UnprocessableEntity")
        return error["detail"]

    def tokens(self, status=200, auth=("cf", ""), **form):
        """A token answer of the UAA."""
        data = {"grant_type": "password", "username": "admin", "password": PASSWORD} | form
        response = self.send("POST", f"{self.config.uaa_url}/oauth/token", data=data, auth=auth)
        assert response.status_code == status, response.text
        return response.json()

    @property
    def space(self):
        return self.get("/v3/spaces")["resources"][0]["guid"]

    def domain(self, name=DOMAIN):
        return self.get(f"/v3/domains?names={name}")["resources"][0]["guid"]

    def app_body(self, name, **fields):
        return {"name": name, "relationships": {"space": {"data": {"guid": self.space}}}, **fields}

    def make_app(self, name="hello", **fields):
        return self.post("/v3/apps", self.app_body(name, **fields))

    def route_body(self, host="hello", path=None, domain=DOMAIN):
        relationships = {"space": {"data": {"guid": self.space}}, "domain": {"data": {"guid": self.domain(domain)}}}
        body = {"relationships": relationships}
        return body | ({} if host is None else {"host": host}) | ({} if path is None else {"path": path})

    def make_route(self, host="hello", path=None, domain=DOMAIN):
        return self.post("/v3/routes", self.route_body(host, path, domain))

    def map(self, route, *apps, **fields):
        entries = [{"app": {"guid": app["guid"]}, **fields} for app in apps]
        return self.post(f"/v3/routes/{route['guid']}/destinations", {"destinations": entries})

    def replace(self, route, *entries, **arguments):
        body = {"destinations": [{"app": {"guid": app["guid"]}, "weight": weight} for app, weight in entries]}
        return self.call("PATCH", f"/v3/routes/{route['guid']}/destinations", body, **arguments)
