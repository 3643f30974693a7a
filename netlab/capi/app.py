"""The ASGI application: which handler answers what, who may call it, and how refusals look."""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netlab.capi import root
from netlab.capi.call import Api, Call, Handler
from netlab.capi.config import CapiConfig
from netlab.capi.endpoints import ENDPOINTS
from netlab.capi.errors import (
    ApiError,
    insufficient_scope,
    invalid_token,
    not_authenticated,
    not_authorized,
    too_large,
    unknown_error,
    unknown_request,
)
from netlab.capi.tokens import Claims, InvalidToken
from netlab.capi.uaa import Uaa

_BODY_LIMIT = 1024 * 1024
_UPLOAD_LIMIT = 1024 * _BODY_LIMIT
_LOG = logging.getLogger("capi")

_PUBLIC: Mapping[str, Callable[[CapiConfig], dict[str, Any]]] = {
    "/": root.root,
    "/v2/info": root.info,
    "/v3": root.v3,
    "/v3/info": root.v3_info,
}


def make_app(api: Api) -> ASGIApp:
    """The application that serves both hosts; `Host: uaa.…` or `login.…` reaches the UAA, any other the API."""
    cloud_controller = Router(
        routes=[
            *(Route(path, _public(document, api)) for path, document in _PUBLIC.items()),
            *(
                Route(path, _endpoint(api, handlers), methods=["GET", "POST", "PATCH", "PUT", "DELETE"])
                for path, handlers in ENDPOINTS.items()
            ),
        ],
        default=_Unknown(),
        redirect_slashes=False,
    )
    uaa = Router(routes=Uaa(api).routes(), redirect_slashes=False)
    own = {f"uaa.{api.config.system_domain}", f"login.{api.config.system_domain}"}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").partition(":")[0].lower()
        given = headers.get(b"x-vcap-request-id", b"")[:200]
        request_id = (given + b"::" if given else b"") + str(uuid.uuid4()).encode()
        begun = False

        async def send_marked(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], (b"x-vcap-request-id", request_id)]
            await send(message)

        try:
            await (uaa if host in own else cloud_controller)(scope, receive, send_marked)
        except ClientDisconnect:
            return
        except Exception:
            # The one place that turns a bug into the document that clients of Cloud Foundry expect.
            _LOG.exception("%s %s failed, request %s", scope["method"], scope["path"], request_id.decode())
            if begun:
                raise
            await _refusal(unknown_error(), scope["path"])(scope, receive, send_marked)

    return application


def _refusal(error: ApiError, path: str) -> JSONResponse:
    return JSONResponse(error.v2_document() if path.startswith("/v2/") else error.document(), error.status)


def _public(document: Callable[[CapiConfig], dict[str, Any]], api: Api) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_request: Request) -> Response:
        return JSONResponse(document(api.config))

    return endpoint


def _endpoint(api: Api, handlers: Mapping[str, Handler]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            claims = _claims(api, request)
            method = "GET" if request.method == "HEAD" else request.method
            handler = handlers.get(method)
            if handler is None:
                raise unknown_request()
            if not (claims.may_read if method == "GET" else claims.may_write):
                raise insufficient_scope() if request.url.path.startswith("/v2/") else not_authorized()
            body = b"" if method in {"GET", "DELETE"} else await _body(request)
            call = Call(api, claims, request.url.path, request.path_params, request.query_params, body)
            answer = handler(call)
            response = await answer if inspect.isawaitable(answer) else answer
            if call.warnings:
                response.headers["x-cf-warnings"] = ",".join(quote(warning) for warning in call.warnings)
            return response
        except ApiError as error:
            return _refusal(error, request.url.path)

    return endpoint


def _claims(api: Api, request: Request) -> Claims:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise not_authenticated()
    if scheme.lower() != "bearer":
        raise invalid_token()
    try:
        return api.tokens.access(token.strip())
    except InvalidToken:
        raise invalid_token() from None


async def _body(request: Request) -> bytes:
    """The body; of an upload, a form of files, nothing: it is read to its end, as no endpoint looks into one."""
    upload = request.headers.get("content-type", "").startswith("multipart/form-data")
    limit = _UPLOAD_LIMIT if upload else _BODY_LIMIT
    parts = []
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > limit:
            raise too_large()
        if not upload:
            parts.append(part)
    return b"".join(parts)


class _Unknown:
    """What answers where there is no endpoint."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with the API's own document."""
        await _refusal(unknown_request(), scope["path"])(scope, receive, send)
