"""Cloud Foundry's manifest: what `push -f` sends, read and checked before anything is looked up.

    applications:
    - name: hello
      instances: 2
      memory: 64M
      disk_quota: 128M
      env: {GREETING: hola}
      routes:
      - route: hello.mesh.example.test/path
        weight: 10                        # netlab's own: the share of the requests that this app is to get, 1 to 100
      command: ./run.sh
      path: /absolute/directory           # where the bits are, on the machine that netlab runs on
      port: 8080                          # netlab's own: where the bits listen
      health-check-type: http             # port, process or http, with health-check-http-endpoint
      timeout: 60
      processes: [{type: worker, instances: 1, command: ./work.sh}]
      metadata: {labels: {team: red}, annotations: {}}
      no-route: true                      # or default-route: true, instead of routes

What is not said stays as it is. Hyphens and underscores in names of fields are the same. What Cloud Foundry knows and
netlab has not (services, sidecars, images, random routes) is refused; buildpacks and stacks are read over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from netlab.capi.call import check_text, details
from netlab.capi.errors import ApiError, too_large, unprocessable
from netlab.capi.messages import Body, Command, Environment, Instances, Megabytes, Metadata, Name, Port, Seconds
from netlab.topology.source import SourceError, read

SIZE_MAX = 128 * 1024
_APPS_MAX = 100
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(B|K|KB|M|MB|G|GB|T|TB)", re.IGNORECASE | re.ASCII)
_POWERS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_ROUTE_PARTS = ("domain", "domains", "host", "hosts", "no_hostname")


def megabytes(value: Any) -> Any:
    """A quantity such as `64M` or `0.5GB` in mebibytes; null stays. Raises ValueError."""
    if value is None:
        return None
    match = _SIZE.fullmatch(str(value))
    if match is None:
        raise ValueError("must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB")
    return int(float(match[1]) * 1024 ** (_POWERS[match[2][0].upper()] - 2))


def _text(environment: Any) -> Any:
    """The values of variables as text: YAML makes numbers and truth values of what has no quotation marks."""
    if not isinstance(environment, Mapping):
        return environment
    return {
        str(name): value if isinstance(value, dict | list) else _as_text(value) for name, value in environment.items()
    }


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


Size = Annotated[Megabytes | None, BeforeValidator(megabytes)]


class Settings(Body):
    """How a process is to run."""

    instances: Instances | None = None
    memory: Size = None
    disk_quota: Size = None
    log_rate_limit_per_second: Literal["-1", -1] | None = None
    command: Command | None = None
    health_check_type: Literal["port", "process", "http", "none"] | None = None
    health_check_http_endpoint: str | None = None
    health_check_invocation_timeout: Seconds | None = None
    health_check_interval: Seconds | None = None
    timeout: Seconds | None = None

    @model_validator(mode="after")
    def _endpoint_of_http(self) -> Self:
        if self.health_check_http_endpoint is not None and self.health_check_type not in (None, "http"):
            raise ValueError('Health check type must be "http" to set a health check HTTP endpoint')
        return self


class ProcessEntry(Settings):
    """One of `processes`."""

    type: Name


class RouteEntry(Body):
    """One of `routes`."""

    route: Annotated[str, Field(min_length=1, max_length=512)]
    weight: Annotated[int, Field(ge=1, le=100)] | None = None
    protocol: Literal["http1"] | None = None


class Application(Settings):
    """One of `applications`."""

    name: Name
    env: Annotated[Environment, BeforeValidator(_text)] | None = None
    routes: list[RouteEntry] | None = None
    no_route: bool | None = None
    default_route: bool | None = None
    random_route: bool | None = None
    path: str | None = None
    port: Port | None = None
    processes: list[ProcessEntry] | None = None
    metadata: Metadata | None = None
    buildpack: str | None = None
    buildpacks: list[str] | None = None
    stack: str | None = None
    lifecycle: Literal["buildpack"] | None = None
    services: Annotated[list[Any], Field(max_length=0)] | None = None
    sidecars: Annotated[list[Any], Field(max_length=0)] | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.random_route:
            raise ValueError("Random-route is not supported: name the routes under 'routes'")
        if self.no_route and (self.routes or self.default_route):
            raise ValueError("No-route cannot be used together with routes")
        if self.path is not None and not self.path.startswith("/"):
            raise ValueError("Path must be absolute: the API does not know where the manifest is")
        types = [process.type for process in self.processes or ()]
        for kind in types:
            if types.count(kind) > 1:
                raise ValueError(f'Process "{kind}" may only be present once')
        return self

    @property
    def settings(self) -> dict[str, Settings]:
        """How each process is to run, by its type; a web process among `processes` goes before the app's own fields."""
        return {"web": self} | {process.type: process for process in self.processes or ()}


def parse(body: bytes) -> list[Application]:
    """The applications of a manifest; raises 400 if it is no YAML, 422 if it is no manifest, 413 if it is too long."""
    return [_application(index, raw) for index, raw in enumerate(parse_raw(body))]


def parse_raw(body: bytes) -> list[Any]:
    """The applications of a manifest as they were written, the names of their fields with underscores."""
    if len(body) > SIZE_MAX:
        raise too_large()
    try:
        source = read(body.decode() or "{}", "manifest")
    except UnicodeDecodeError:
        raise _unreadable("it is not UTF-8") from None
    except SourceError as error:
        raise _unreadable(*(f"line {problem.line} {problem.message}" for problem in error.problems)) from None
    if source.problems:
        raise _unreadable(*(f"line {each.line}: {each.field} {each.message}" for each in source.problems))
    check_text(source.value)
    applications = source.value.get("applications") if isinstance(source.value, dict) else None
    if not isinstance(applications, list) or not applications:
        raise unprocessable("Manifest must have 'applications', a list of at least one application")
    if len(applications) > _APPS_MAX:
        raise unprocessable(f"Manifest must not have more than {_APPS_MAX} applications")
    return [_underscored(raw) for raw in applications]


def _unreadable(*reasons: str) -> ApiError:
    texts = [f"Request invalid due to parse error: invalid request body: {reason}" for reason in reasons]
    return ApiError(400, 1001, "CF-MessageParseError", *texts)


def _underscored(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    named = {str(key).replace("-", "_"): value for key, value in raw.items()}
    if isinstance(named.get("processes"), list):
        named["processes"] = [_underscored(process) for process in named["processes"]]
    return named


def _application(index: int, raw: Any) -> Application:
    if not isinstance(raw, dict):
        raise unprocessable(f"For application at index {index}: must be an object")
    name = raw.get("name")
    where = f"For application '{name}': " if isinstance(name, str) and name else f"For application at index {index}: "
    old = [f"'{part}'" for part in _ROUTE_PARTS if part in raw]
    if old:
        raise unprocessable(f"{where}{', '.join(old)} cannot be used: name whole routes under 'routes'")
    if "docker" in raw:
        raise unprocessable(f"{where}Docker images do not run here")
    try:
        return Application.model_validate(raw)
    except ValidationError as error:
        raise unprocessable(*(where + text for text in details(error.errors(include_url=False)))) from None
