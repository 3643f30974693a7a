"""The UAA as far as clients of the Cloud Controller need it: tokens, and the key that proves them."""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from netlab.capi.call import Api
from netlab.capi.tokens import ALGORITHM, InvalidToken
from netlab.capi.users import ORIGIN, remember

USER_SCOPES = frozenset(
    {
        "cloud_controller.admin",
        "cloud_controller.read",
        "cloud_controller.write",
        "network.admin",
        "openid",
        "password.write",
        "routing.router_groups.read",
        "routing.router_groups.write",
        "scim.read",
        "scim.write",
        "uaa.user",
    }
)
CLIENT_SCOPES = frozenset({"cloud_controller.admin", "cloud_controller.read", "cloud_controller.write"})
_GRANTS = {"cf": {"password", "refresh_token"}, "admin": {"client_credentials"}}
_LIMIT = 64 * 1024


class OAuthError(Exception):
    """A refusal of the token endpoint: status, error and description as OAuth 2 names them."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description

    def answer(self) -> JSONResponse:
        """The document that says so."""
        return JSONResponse({"error": self.error, "error_description": self.description}, self.status)


class Uaa:
    """The endpoints at uaa.<system domain>.

    Two clients are known: `cf` with an empty secret, for people with a password, and `admin` with the
    administrator's password as its secret, for programs (client_credentials).
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._user_guid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{api.config.uaa_url}/Users/{api.config.admin_user}"))

    def routes(self) -> list[Route]:
        """The routes for a Starlette router."""
        return [
            Route("/oauth/token", self._token, methods=["POST"]),
            Route("/token_keys", self._token_keys),
            Route("/token_key", self._token_key),
            Route("/check_token", self._check_token, methods=["POST"]),
            Route("/userinfo", self._user_info),
            Route("/.well-known/openid-configuration", self._configuration),
            Route("/login", self._info),
            Route("/info", self._info),
        ]

    async def _token(self, request: Request) -> JSONResponse:
        try:
            form = await _form(request)
            client = self._client(request, form)
            answer = self._grant(client, form)
        except OAuthError as error:
            return error.answer()
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    def _client(self, request: Request, form: dict[str, str]) -> str:
        refusal = OAuthError(401, "invalid_client", "Bad credentials")
        header = request.headers.get("authorization")
        if header is None:
            name, secret = form.get("client_id", ""), form.get("client_secret", "")
        else:
            scheme, _, encoded = header.partition(" ")
            try:
                text = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, ValueError):
                raise refusal from None
            if scheme.lower() != "basic":
                raise refusal
            name, _, secret = (unquote_plus(part) for part in text.partition(":"))
        expected = {"cf": "", "admin": self._api.config.admin_password}.get(name)
        if expected is None or not _same(secret, expected):
            raise refusal
        return name

    def _grant(self, client: str, form: dict[str, str]) -> dict[str, Any]:
        grant_type = form.get("grant_type", "")
        if grant_type not in {"password", "refresh_token", "client_credentials"}:
            raise OAuthError(400, "unsupported_grant_type", f"Unsupported grant type: {grant_type}")
        if grant_type not in _GRANTS[client]:
            raise OAuthError(401, "unauthorized_client", f"Unauthorized grant type: {grant_type}")
        config = self._api.config
        if grant_type == "client_credentials":
            return self._api.tokens.issue(client, client, client, grant_type, _scopes(form, CLIENT_SCOPES))
        if grant_type == "refresh_token":
            try:
                claims = self._api.tokens.refresh(form.get("refresh_token", ""))
            except InvalidToken:
                raise OAuthError(401, "invalid_token", "The token expired, was revoked, or is malformed") from None
            return self._api.tokens.issue(
                claims.subject, claims.user_name, client, grant_type, _scopes(form, claims.scopes)
            )
        right_user = _same(form.get("username", ""), config.admin_user)
        right_password = _same(form.get("password", ""), config.admin_password)
        if not (right_user and right_password):
            raise OAuthError(401, "unauthorized", "Bad credentials")
        scopes = _scopes(form, USER_SCOPES)
        with self._api.transaction() as transaction:
            remember(transaction, self._user_guid, config.admin_user)
        return self._api.tokens.issue(self._user_guid, config.admin_user, client, grant_type, scopes)

    async def _check_token(self, request: Request) -> JSONResponse:
        try:
            form = await _form(request)
            self._client(request, form)
            return JSONResponse(self._api.tokens.document(form.get("token", "")))
        except OAuthError as error:
            return error.answer()
        except InvalidToken:
            return OAuthError(400, "invalid_token", "The token expired, was revoked, or is malformed").answer()

    async def _user_info(self, request: Request) -> JSONResponse:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = self._api.tokens.access(token.strip() if scheme.lower() == "bearer" else "")
        except InvalidToken:
            return OAuthError(401, "invalid_token", "Full authentication is required").answer()
        if "openid" not in claims.scopes:
            return OAuthError(403, "insufficient_scope", "Insufficient scope for this resource").answer()
        name = claims.user_name
        return JSONResponse(
            {
                "sub": claims.subject,
                "user_id": claims.subject,
                "user_name": name,
                "name": name,
                "email": name,
                "origin": ORIGIN,
            }
        )

    async def _configuration(self, _request: Request) -> JSONResponse:
        base = self._api.config.uaa_url
        return JSONResponse(
            {
                "issuer": f"{base}/oauth/token",
                "token_endpoint": f"{base}/oauth/token",
                "userinfo_endpoint": f"{base}/userinfo",
                "jwks_uri": f"{base}/token_keys",
                "grant_types_supported": sorted(set().union(*_GRANTS.values())),
                "scopes_supported": sorted(USER_SCOPES),
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "subject_types_supported": ["public"],
                "response_types_supported": [],
            }
        )

    async def _token_keys(self, _request: Request) -> JSONResponse:
        return JSONResponse({"keys": self._api.tokens.keys()})

    async def _token_key(self, _request: Request) -> JSONResponse:
        return JSONResponse(self._api.tokens.keys()[0])

    async def _info(self, _request: Request) -> JSONResponse:
        config = self._api.config
        return JSONResponse(
            {
                "app": {"version": "0.1.0"},
                "links": {"uaa": config.uaa_url, "login": config.uaa_url},
                "zone_name": "uaa",
                "entityID": f"uaa.{config.system_domain}",
                "prompts": {"username": ["text", "Email"], "password": ["password", "Password"]},
            }
        )


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _scopes(form: dict[str, str], granted: frozenset[str]) -> frozenset[str]:
    """The scopes that were asked for, all if none was; raises if one of them is not granted."""
    asked = frozenset(form.get("scope", "").replace(",", " ").split())
    if not asked <= granted:
        names = " ".join(sorted(asked - granted))
        raise OAuthError(400, "invalid_scope", f"Invalid scope: {names}. The user may not have it")
    return asked or granted


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LIMIT:
            raise OAuthError(413, "invalid_request", "The request body is too large")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise OAuthError(400, "invalid_request", "The request body is not a form") from None
    return {name: values[-1] for name, values in fields.items()}
