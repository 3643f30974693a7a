"""The bodies of version 2's requests: flat, and what they do not know they ignore."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from netlab.capi.call import WRONG_TYPES, Call, details, parse
from netlab.capi.errors import ApiError
from netlab.capi.messages import (
    PORTS_MAX,
    Command,
    DomainName,
    Environment,
    Guid,
    Host,
    Instances,
    Megabytes,
    Name,
    Port,
    RoutePath,
    Seconds,
)
from netlab.capi.models import Record, Route
from netlab.capi.v2.errors import invalid, memory_invalid, path_invalid, wrong_body

Message = TypeVar("Message", bound="_Body")


def _texts(environment: Any) -> Any:
    """Values of any kind as what a process's environment can hold, as Diego writes them."""
    if not isinstance(environment, dict):
        return environment
    return {name: value if isinstance(value, str) else _text(value) for name, value in environment.items()}


def _text(value: Any) -> str:
    try:
        return "" if value is None else json.dumps(value)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _or_none(text: Any) -> Any:
    return text or None


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class AppUpdate(_Body):
    """PUT /v2/apps/:guid; null leaves a field as it is, but the command, which it takes away."""

    name: Name | None = None
    space_guid: Guid | None = None
    state: Literal["STARTED", "STOPPED"] | None = None
    command: Annotated[Command | None, BeforeValidator(_or_none)] = None
    memory: Megabytes | None = None
    disk_quota: Megabytes | None = None
    instances: Instances | None = None
    buildpack: str | None = None
    stack_guid: str | None = None
    docker_image: str | None = None
    health_check_type: Literal["port", "process", "http", "none"] | None = None
    health_check_timeout: Seconds | None = None
    health_check_http_endpoint: str | None = None
    environment_json: Annotated[Environment | None, BeforeValidator(_texts)] = None
    ports: Annotated[list[Port], Field(max_length=PORTS_MAX)] | None = None


class AppCreate(AppUpdate):
    """POST /v2/apps."""

    name: Name
    space_guid: Guid


class RouteCreate(_Body):
    """POST /v2/routes."""

    domain_guid: Guid
    space_guid: Guid
    host: Host | None = None
    path: RoutePath | None = None
    port: int | None = None


class MappingCreate(_Body):
    """POST /v2/route_mappings."""

    app_guid: Guid
    route_guid: Guid
    app_port: Port | None = None


class SharedDomainCreate(_Body):
    """POST /v2/shared_domains."""

    name: DomainName
    internal: bool | None = None
    router_group_guid: None = None


class PrivateDomainCreate(_Body):
    """POST /v2/private_domains."""

    name: DomainName
    owning_organization_guid: Guid


class OrganizationCreate(_Body):
    """POST /v2/organizations."""

    name: Name


class SpaceCreate(_Body):
    """POST /v2/spaces."""

    name: Name
    organization_guid: Guid


def read(call: Call, message: type[Message], kind: type[Record]) -> Message:
    """The body as a message about a resource of this kind.

    Raises 400: a parse error if it is no JSON object, lacks a field or has one of the wrong type, else what
    version 2 says of values that such a resource cannot have.
    """
    try:
        document = parse(call.body)
    except ApiError as error:
        raise wrong_body(error.details[0].removeprefix("Request invalid due to parse error: ")) from None
    try:
        return message.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False)
    parts = [each for each in found if each["type"] in WRONG_TYPES]
    if parts:
        texts = (
            f"Field: {'.'.join(map(str, each['loc']))}, Error: "
            + (f"Missing field {each['loc'][-1]}" if each["type"] == "missing" else WRONG_TYPES[each["type"]])
            for each in parts
        )
        raise wrong_body(", ".join(texts))
    fields = {each["loc"][0] for each in found}
    if kind is Route and "path" in fields:
        raise path_invalid(", ".join(details(found)))
    if "memory" in fields:
        raise memory_invalid()
    raise invalid(kind, *details(found))
