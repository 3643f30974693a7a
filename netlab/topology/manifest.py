"""App manifests in Cloud Foundry's format: what `push -f` reads.

Source: the format's description at v3-apidocs.cloudfoundry.org ("The app manifest specification"), without what an app
of a lab has no use for: that is refused, or accepted with a warning where nothing depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from netlab.errors import ManifestError
from netlab.topology.checks import Place
from netlab.topology.problems import file_error, problems_of, telling, text_of
from netlab.topology.source import Problem, Source, SourceError, field_name, read

_VARIABLE = re.compile(r"\(\(([\w.-]+)\)\)")
_SIZE = re.compile(r"(\d+)\s*(M|MB|G|GB|T|TB)", re.IGNORECASE)
_FACTORS = {"M": 1, "G": 1024, "T": 1024 * 1024}
_IGNORED = {
    "buildpacks": "there are no buildpacks here: the command is run as it is",
    "buildpack": "there are no buildpacks here: the command is run as it is",
    "stack": "there are no stacks here",
    "services": "there are no services here",
    "log-rate-limit-per-second": "logs are not limited by rate here",
    "lifecycle": "there are no buildpacks here",
}
_REFUSED = {
    "docker": "is not supported: an app is a command in a folder; give 'path' and 'command'",
    "sidecars": "is not supported: the only sidecar is the mesh's",
    "random-route": "is not supported, as nobody could know the route; give 'routes'",
    "host": "is of the old format; give 'routes'",
    "hosts": "is of the old format; give 'routes'",
    "domain": "is of the old format; give 'routes'",
    "domains": "is of the old format; give 'routes'",
    "inherit": "is of the old format; use YAML anchors",
}


def _error(message: str) -> PydanticCustomError:
    return PydanticCustomError("topology", "{message}", {"message": message})


def _megabytes(value: Any) -> Any:
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or int(found[1]) == 0:
        raise _error(f"must be a number with a unit, as 512M or 1G, not {value!r}")
    return int(found[1]) * _FACTORS[found[2][0].upper()]


def _text(value: Any) -> Any:
    """A variable's value: numbers and booleans are text in an environment."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Megabytes = Annotated[int, BeforeValidator(_megabytes)]
Text = Annotated[str, BeforeValidator(_text)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ManifestRoute(_Part):
    """A route: `host.domain` or `host.domain/path`."""

    route: str = Field(min_length=1)
    protocol: Literal["http1"] = "http1"


class _Process(_Part):
    command: str | None = None
    instances: int | None = Field(None, ge=0)
    memory: Megabytes | None = None
    disk_quota: Megabytes | None = Field(None, validation_alias=AliasChoices("disk_quota", "disk-quota"))
    health_check_type: Literal["http", "port", "process", "none"] | None = Field(None, alias="health-check-type")
    health_check_http_endpoint: str | None = Field(None, alias="health-check-http-endpoint")
    health_check_invocation_timeout: int | None = Field(None, ge=1, alias="health-check-invocation-timeout")
    health_check_interval: int | None = Field(None, ge=1, alias="health-check-interval")
    timeout: int | None = Field(None, ge=1)


class ManifestProcess(_Process):
    """A process of an app; a lab's apps have one, `web`."""

    type: Literal["web"]


class _Metadata(_Part):
    labels: Mapping[str, Text | None] = {}
    annotations: Mapping[str, Text | None] = {}


def _one_process(processes: tuple[ManifestProcess, ...]) -> tuple[ManifestProcess, ...]:
    if len(processes) > 1:
        raise _error("must have one process: web")
    return processes


class ManifestApp(_Process):
    """One app of a manifest. `directory` is its path, absolute once read."""

    name: str = Field(min_length=1)
    directory: str | None = Field(None, alias="path")
    env: Mapping[str, Text] = {}
    routes: tuple[ManifestRoute, ...] = Field((), strict=False)
    no_route: bool = Field(False, alias="no-route")
    default_route: bool = Field(False, alias="default-route")
    processes: Annotated[tuple[ManifestProcess, ...], AfterValidator(_one_process)] = Field((), strict=False)
    metadata: _Metadata | None = None

    def pushed(self) -> dict[str, Any]:
        """The parameters of netlab.capi.app_actions.push; those that the manifest leaves out are not among them."""
        process = self.processes[0] if self.processes else None

        def value(field: str) -> Any:
            own = getattr(process, field) if process is not None else None
            return getattr(self, field) if own is None else own

        data = {
            "endpoint": value("health_check_http_endpoint"),
            "timeout": value("timeout"),
            "invocation_timeout": value("health_check_invocation_timeout"),
            "interval": value("health_check_interval"),
        }
        data = {name: each for name, each in data.items() if each is not None}
        kind = value("health_check_type") or ("http" if "endpoint" in data else "port" if data else None)
        found = {
            "name": self.name,
            "instances": value("instances"),
            "command": value("command"),
            "directory": self.directory,
            "memory_mb": value("memory"),
            "disk_mb": value("disk_quota"),
            "env": dict(self.env) or None,
            "routes": [each.route for each in self.routes] or None,
            "no_route": self.no_route or None,
            "health_check": kind and {"type": "process" if kind == "none" else kind, "data": data},
            "metadata": self.metadata and self.metadata.model_dump(),
        }
        return {name: each for name, each in found.items() if each is not None}


class Manifest(_Part):
    """A manifest: its apps, in their order. Other keys are for anchors."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    version: Literal[1] = 1
    applications: tuple[ManifestApp, ...] = Field(min_length=1, strict=False)


@dataclass(frozen=True)
class Loaded:
    """A manifest that was read, and what of it has no effect here, as `file:line: field: why`."""

    manifest: Manifest
    warnings: tuple[str, ...]


def load(path: Path, variables: Mapping[str, Any]) -> Loaded:
    """Read and check the manifest at `path`, with `((name))` replaced by a variable; paths come out absolute.

    Raises ManifestError with every problem, each with its line, its field and the mend.
    """
    try:
        source = read(text_of(path, "manifest"), "manifest", "applications: [{name: my-app}]")
    except SourceError as error:
        raise file_error(path, error.problems, ManifestError) from error.__cause__
    problems = list(source.problems)
    value = _filled(source.value, (), source, variables, problems)
    warnings = []
    for place, why in _without_effect(value):
        warnings.append(f"{path}:{source.line(place)}: {field_name(place)}: {why}; ignored")
    found: Manifest | None = None
    problems += list(_refused(value, source))
    try:
        found = Manifest.model_validate(_known(value))
    except ValidationError as error:
        problems += problems_of(source, Manifest, telling(error.errors(include_url=False)))
    if found is not None:
        found, wrong = _resolved(found, path.parent)
        problems += [Problem(source.line(place), field_name(place), text) for place, text in wrong]
    if problems or found is None:
        raise file_error(path, problems, ManifestError)
    return Loaded(found, tuple(warnings))


def load_variables(path: Path) -> dict[str, Any]:
    """Read a file of variables, `name: value`. Raises ManifestError."""
    try:
        source = read(text_of(path, "variables"), "variables file", "name: value")
    except SourceError as error:
        raise file_error(path, error.problems, ManifestError) from error.__cause__
    if not isinstance(source.value, dict):
        raise file_error(path, [Problem(0, "", "must be 'name: value' lines")], ManifestError)
    return {str(name): value for name, value in source.value.items()}


def _filled(value: Any, place: Place, source: Source, variables: Mapping[str, Any], problems: list[Problem]) -> Any:
    """The value with its variables replaced; one that stands alone keeps its type."""
    if isinstance(value, dict):
        return {key: _filled(item, (*place, key), source, variables, problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, (*place, index), source, variables, problems) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in variables:
            text = f"needs the variable {name}: give --var {name}=VALUE or --vars-file FILE"
            problems.append(Problem(source.line(place), field_name(place), text))
            return "0M" if place[-1] in ("memory", "disk_quota") else value
    alone = _VARIABLE.fullmatch(value)
    if alone is not None:
        return variables[alone[1]]
    return _VARIABLE.sub(lambda match: str(variables[match[1]]), value)


def _applications(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    applications = value.get("applications") if isinstance(value, dict) else None
    for index, app in enumerate(applications if isinstance(applications, list) else ()):
        if isinstance(app, dict):
            yield index, app


def _without_effect(value: Any) -> Iterator[tuple[Place, str]]:
    for index, app in _applications(value):
        for key in app.keys() & _IGNORED.keys():
            yield ("applications", index, key), _IGNORED[key]


def _refused(value: Any, source: Source) -> Iterable[Problem]:
    for index, app in _applications(value):
        for key in app.keys() & _REFUSED.keys():
            place: Place = ("applications", index, key)
            if app[key] is not False:
                yield Problem(source.line(place), field_name(place), _REFUSED[key])
        if app.get("no-route") is True and app.get("routes"):
            place = ("applications", index, "no-route")
            yield Problem(source.line(place), field_name(place), "contradicts 'routes'; remove one of them")


def _known(value: Any) -> Any:
    """The value without what was dealt with already."""
    if not isinstance(value, dict) or not isinstance(value.get("applications"), list):
        return value
    dealt = _IGNORED.keys() | _REFUSED.keys()
    apps = [
        {key: item for key, item in app.items() if key not in dealt} if isinstance(app, dict) else app
        for app in value["applications"]
    ]
    return {**value, "applications": apps}


def _resolved(manifest: Manifest, folder: Path) -> tuple[Manifest, list[tuple[Place, str]]]:
    """Make the apps' paths absolute; also returns what is wrong with them, and names that are given twice."""
    wrong: list[tuple[Place, str]] = []
    apps = []
    names: set[str] = set()
    for index, app in enumerate(manifest.applications):
        if app.name in names:
            wrong.append((("applications", index, "name"), f"{app.name} is given twice; rename one"))
        names.add(app.name)
        if app.directory is None:
            apps.append(app)
            continue
        directory = (folder / app.directory).absolute()
        place: Place = ("applications", index, "path")
        command = app.command or (app.processes[0].command if app.processes else None)
        if not directory.is_dir():
            is_file = directory.exists()
            wrong.append((place, f"{directory} is a file; name its folder" if is_file else f"there is no {directory}"))
        elif command is None:
            wrong.append((place, "needs a 'command': there are no buildpacks that would know how to start the app"))
        apps.append(app.model_copy(update={"directory": str(directory)}))
    return manifest.model_copy(update={"applications": tuple(apps)}), wrong
