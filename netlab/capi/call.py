"""One request to the API on its way: who asks, what for, and the transaction that it is answered in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.orm import Session, sessionmaker
from starlette.datastructures import QueryParams
from starlette.responses import Response

from netlab.capi.changes import CopilotChange, CopilotLink, DiegoChange, DiegoLink
from netlab.capi.config import CapiConfig
from netlab.capi.errors import missing, unparsable, unprocessable
from netlab.capi.models import Record
from netlab.capi.tokens import Claims, TokenIssuer

Handler = Callable[["Call"], Response | Awaitable[Response]]
Row = TypeVar("Row", bound=Record)
Message = TypeVar("Message", bound=BaseModel)


@dataclass
class Api:
    """What all requests share."""

    config: CapiConfig
    sessions: sessionmaker[Session]
    tokens: TokenIssuer
    copilot: CopilotLink
    diego: DiegoLink
    deployments: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is something to do about a deployment."""

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        """A transaction that commits at the end; only then Copilot and the BBS are told."""
        with self.sessions.begin() as session:
            transaction = Transaction(session, self.config)
            yield transaction
        if transaction.copilot:
            self.copilot.put(transaction.copilot)
        if transaction.diego:
            self.diego.put(transaction.diego)


@dataclass
class Transaction:
    """One short transaction, and what others are told once it is committed."""

    session: Session
    config: CapiConfig
    copilot: list[CopilotChange] = field(default_factory=list)
    diego: list[DiegoChange] = field(default_factory=list)

    def get(self, kind: type[Row], guid: str, name: str | None = None) -> Row:
        """The row of this guid; raises 404 with the kind's name."""
        row = self.session.get(kind, guid)
        if row is None:
            raise missing(name or kind.__name__)
        return row


@dataclass
class Call:
    """A request whose sender was recognised and may do this."""

    api: Api
    claims: Claims
    path: str
    """The path as it was asked for, without the query."""
    parameters: Mapping[str, str]
    """What the path's placeholders stood for."""
    query: QueryParams
    body: bytes = b""
    warnings: list[str] = field(default_factory=list)
    """What the sender should know although the request succeeds."""

    @property
    def guid(self) -> str:
        """The resource in the path."""
        return self.parameters["guid"]

    def url(self, path: str) -> str:
        """The full address of a path of this API, for links."""
        return self.api.config.api_url + path

    def link(self, path: str, method: str | None = None) -> dict[str, str]:
        """A link object as the API's documents carry it."""
        link = {"href": self.url(path)}
        if method is not None:
            link["method"] = method
        return link

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that commits at the end; only then Copilot and the BBS are told."""
        return self.api.transaction()

    def message(self, kind: type[Message]) -> Message:
        """The body as a message of this kind; raises 400 if it is no JSON object, 422 if it is no such message."""
        document = parse(self.body)
        try:
            return kind.model_validate(document)
        except ValidationError as error:
            raise unprocessable(*details(error.errors(include_url=False))) from None


def parse(body: bytes) -> dict[str, Any]:
    """A JSON object from bytes; empty stands for `{}`. Raises 400 for anything else, 422 for unusable text."""
    if not body.strip():
        return {}
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise unparsable() from None
    if not isinstance(document, dict):
        raise unparsable()
    if b"\\u" in body:
        check_text(document)
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def check_text(document: Any) -> None:
    """Refuse NUL and lone surrogates: no environment, path or database column can hold them."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.keys()
            pending += value.values()
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and any(
            character == "\0" or "\ud800" <= character <= "\udfff" for character in value
        ):
            raise unprocessable("Text must not contain NUL or unpaired surrogate characters")


WRONG_TYPES = {
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be a boolean",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "missing": "can't be blank",
}
"""pydantic's errors that say that a value is of the wrong type, and how the API puts them."""


def details(errors: list[ErrorDetails]) -> list[str]:
    """What is wrong with a body, one sentence a field."""
    unknown = [".".join(map(str, error["loc"])) for error in errors if error["type"] == "extra_forbidden"]
    sentences = [f"Unknown field(s): {', '.join(repr(name) for name in unknown)}"] if unknown else []
    for error in errors:
        if error["type"] == "extra_forbidden":
            continue
        where = ".".join(str(part) for part in error["loc"] if part != "data").replace("_", " ")
        if error["type"] == "value_error":
            text = str(error["ctx"]["error"])
        else:
            text = WRONG_TYPES.get(error["type"], error["msg"][:1].lower() + error["msg"][1:])
        sentences.append(f"{where[:1].upper()}{where[1:]} {text}".strip())
    return sentences
