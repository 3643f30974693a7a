"""A small client of the Cloud Controller's API."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

# httpx imports these with the first request; named here, the fork server has them.
import anyio._backends._asyncio  # noqa: F401
import httpcore  # noqa: F401
import httpx

from netlab.errors import MeshError

PER_PAGE = 5000
_TIMEOUT_SECONDS = 15.0
_JOB_SECONDS = 30.0
_LOOK = "netlab logs api capi"


class Refused(MeshError):
    """The API answered with an error document; `fields` hold its status, codes and details."""


class CapiClient:
    """Speaks to the API by its name, wherever that is; use as an async context manager, which logs in.

    `connect` is an `ip:port` to dial instead of resolving the name: the Host header, the TLS server name and
    the verification stay those of the name.
    """

    def __init__(self, *, api: str, username: str, password: str, ca: str, connect: str | None = None) -> None:
        self._api = api.rstrip("/")
        self._username = username
        self._password = password
        self._connect = connect
        # Not create_default_context(): it would read the machine's CAs too, which takes ten times as long.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=ca)
        # One connection: a second handshake costs more than the API's one thread could gain by it.
        self._http = httpx.AsyncClient(
            verify=context,
            timeout=httpx.Timeout(_TIMEOUT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=1),
            trust_env=False,
        )
        self._tokens: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        """Log in."""
        try:
            await self._login()
        except BaseException:
            await self._http.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """One document."""
        return await self._call("GET", path, query=query)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Create something, or have something done."""
        return await self._call("POST", path, body=body or {})

    async def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change something."""
        return await self._call("PATCH", path, body=body)

    async def put(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Change something as version 2 of the API has it."""
        return await self._call("PUT", path, body=body or {})

    async def delete(self, path: str) -> None:
        """Delete something, and wait for the job that does it, if there is one."""
        response = await self._authorized("DELETE", path)
        location = response.headers.get("location")
        if location is None:
            return
        job = location.rpartition("/")[2]
        pause = 0.02
        async with asyncio.timeout(_JOB_SECONDS):
            while True:
                found = await self.get(f"/v3/jobs/{job}")
                if found["state"] == "COMPLETE":
                    return
                if found["state"] == "FAILED":
                    details = "; ".join(error["detail"] for error in found["errors"])
                    raise Refused(f"CAPI could not delete {path}: {details}", hint=_LOOK)
                await asyncio.sleep(pause)
                pause = min(1.0, pause * 2)

    async def list(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All resources of a list, page after page."""
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            document = await self.get(path, **query, per_page=PER_PAGE, page=page)
            found += document["resources"]
            if document["pagination"]["next"] is None:
                return found
            page += 1

    async def curl(
        self, *, path: str, method: str | None = None, data: str | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Any request with the token, answered as it is: `status`, `reason`, `headers` and `body` (text)."""
        method = method or ("GET" if data is None else "POST")
        sent = {"authorization": f"bearer {self._tokens['access_token']}", "content-type": "application/json"}
        url = f"{self._api}/{path.lstrip('/')}"
        response = await self._send(method, url, headers={**sent, **(headers or {})}, content=data)
        return {
            "status": response.status_code,
            "reason": response.reason_phrase,
            "headers": dict(response.headers),
            "body": response.text,
        }

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        response = await self._authorized(method, path, query=query, body=body)
        document: dict[str, Any] = response.json() if response.content else {}
        return document

    async def _authorized(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """A request with the token; once more with a new token if the old one is no longer good."""
        for last in (False, True):
            headers = {"authorization": f"bearer {self._tokens['access_token']}"}
            response = await self._send(method, self._api + path, headers=headers, params=query, json=body)
            if response.status_code != 401 or last:
                break
            await self._login()
        if response.is_error:
            raise _refusal(response)
        return response

    async def _login(self) -> None:
        # The API names its UAA, as it does for every client; the first request of all needs no token.
        if "uaa" not in self._tokens:
            response = await self._send("GET", f"{self._api}/")
            if response.is_error:
                raise _refusal(response)
            self._tokens["uaa"] = response.json()["links"]["uaa"]["href"]
        form = {"grant_type": "password", "username": self._username, "password": self._password}
        response = await self._send(
            "POST", f"{self._tokens['uaa']}/oauth/token", data=form, headers={"authorization": "Basic Y2Y6"}
        )
        if response.is_error:
            raise MeshError(f"UAA refuses the login of {self._username}: {_description(response)}")
        self._tokens["access_token"] = response.json()["access_token"]

    async def _send(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        target = httpx.URL(url)
        headers = {**arguments.pop("headers", {}), "host": target.netloc.decode()}
        extensions: dict[str, Any] = {}
        if self._connect is not None:
            host, _, port = self._connect.rpartition(":")
            # One connection serves the names of the API and the UAA: the certificate holds both.
            extensions["sni_hostname"] = httpx.URL(self._api).host
            target = target.copy_with(host=host, port=int(port))
        try:
            return await self._http.request(method, target, headers=headers, extensions=extensions, **arguments)
        except httpx.HTTPError as error:
            where = f"{self._api} ({self._connect})" if self._connect else self._api
            raise MeshError(
                f"CAPI at {where} does not answer: {str(error) or type(error).__name__}", hint=_LOOK
            ) from error


def _refusal(response: httpx.Response) -> Refused:
    """The error that an error document stands for; its message is the details, which are made to be read."""
    try:
        errors = response.json()["errors"]
        details = "; ".join(str(error["detail"]) for error in errors)
        titles = [str(error["title"]) for error in errors]
    except (ValueError, LookupError, TypeError):
        details, titles = response.text[:200] or response.reason_phrase, []
    return Refused(f"CAPI refuses: {details}", status=response.status_code, titles=titles)


def _description(response: httpx.Response) -> str:
    try:
        return str(response.json()["error_description"])
    except (ValueError, LookupError, TypeError):
        return f"{response.status_code} {response.reason_phrase}"
