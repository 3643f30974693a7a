"""The UAA's tokens: JSON web tokens signed with a key that the database keeps."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from netlab.capi.models import SigningKey

ACCESS_SECONDS = 600
REFRESH_SECONDS = 30 * 24 * 3600
ALGORITHM = "RS256"
_KEY_BITS = 2048
_EXPONENT = 65537


class InvalidToken(Exception):
    """The token was not made here, has expired, or is of the other kind."""


@dataclass(frozen=True)
class Claims:
    """Who asks, and what they may do."""

    subject: str
    user_name: str
    client: str
    scopes: frozenset[str]

    @property
    def may_read(self) -> bool:
        """Whether the token allows to look."""
        return not self.scopes.isdisjoint(
            {
                "cloud_controller.read",
                "cloud_controller.admin",
                "cloud_controller.admin_read_only",
                "cloud_controller.global_auditor",
            }
        )

    @property
    def may_write(self) -> bool:
        """Whether the token allows to change things."""
        return not self.scopes.isdisjoint({"cloud_controller.write", "cloud_controller.admin"})


class TokenIssuer:
    """Signs and checks tokens with one key."""

    def __init__(self, key: rsa.RSAPrivateKey, kid: str, issuer: str) -> None:
        self._key = key
        self._kid = kid
        self._issuer = issuer
        # The same token comes with every request of a client; its signature is checked once.
        self._verified = lru_cache(maxsize=256)(self._verify)

    @classmethod
    def load(cls, sessions: sessionmaker[Session], issuer: str) -> TokenIssuer:
        """The issuer with the database's key, which is made on the first start."""
        with sessions.begin() as session:
            row = session.scalar(select(SigningKey))
            if row is None:
                key = rsa.generate_private_key(_EXPONENT, _KEY_BITS)
                pem = key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                row = SigningKey(kid=uuid.uuid4().hex, private_pem=pem.decode())
                session.add(row)
            loaded = serialization.load_pem_private_key(row.private_pem.encode(), password=None)
            if not isinstance(loaded, rsa.RSAPrivateKey):
                raise TypeError("the database's signing key is not an RSA key")
            return cls(loaded, row.kid, issuer)

    def keys(self) -> list[dict[str, Any]]:
        """The public keys as JSON web keys, for `GET /token_keys`."""
        public = self._key.public_key()
        key: dict[str, Any] = RSAAlgorithm.to_jwk(public, as_dict=True)
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return [key | {"kid": self._kid, "alg": ALGORITHM, "use": "sig", "value": pem.decode()}]

    def issue(
        self, subject: str, user_name: str, client: str, grant_type: str, scopes: Iterable[str]
    ) -> dict[str, Any]:
        """The token endpoint's answer; a user's, not a client's own, holds a refresh token too."""
        granted = sorted(scopes)
        now = int(time.time())
        common: dict[str, Any] = {
            "sub": subject,
            "scope": granted,
            "client_id": client,
            "cid": client,
            "azp": client,
            "grant_type": grant_type,
            "iat": now,
            "iss": self._issuer,
            "zid": "uaa",
        }
        if grant_type != "client_credentials":
            common |= {"user_id": subject, "user_name": user_name, "email": user_name, "origin": "uaa"}
        audience = sorted({scope.rpartition(".")[0] for scope in granted} | {client})
        jti = uuid.uuid4().hex
        answer: dict[str, Any] = {
            "access_token": self._sign(common | {"jti": jti, "exp": now + ACCESS_SECONDS, "aud": audience}),
            "token_type": "bearer",
            "expires_in": ACCESS_SECONDS - 1,
            "scope": " ".join(granted),
            "jti": jti,
        }
        if grant_type != "client_credentials":
            answer["refresh_token"] = self._sign(
                common | {"jti": f"{uuid.uuid4().hex}-r", "exp": now + REFRESH_SECONDS, "aud": audience}
            )
        return answer

    def document(self, token: str) -> dict[str, Any]:
        """All that an access token says; raises InvalidToken."""
        claims = self._verified(token)
        if claims["exp"] <= time.time() or claims["jti"].endswith("-r"):
            raise InvalidToken
        return dict(claims)

    def access(self, token: str) -> Claims:
        """The claims of an access token; raises InvalidToken."""
        return _claims(self.document(token))

    def refresh(self, token: str) -> Claims:
        """The claims of a refresh token; raises InvalidToken."""
        claims = self._verified(token)
        if claims["exp"] <= time.time() or not claims["jti"].endswith("-r"):
            raise InvalidToken
        return _claims(claims)

    def _sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._key, algorithm=ALGORITHM, headers={"kid": self._kid})

    def _verify(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._key.public_key(),
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                options={"verify_aud": False, "require": ["exp", "sub", "jti", "scope", "cid"]},
            )
        except (jwt.InvalidTokenError, ValueError):
            raise InvalidToken from None


def _claims(claims: Mapping[str, Any]) -> Claims:
    return Claims(
        subject=claims["sub"],
        user_name=claims.get("user_name", claims["cid"]),
        client=claims["cid"],
        scopes=frozenset(claims["scope"]),
    )
