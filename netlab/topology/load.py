"""Reading a topology file: every problem at once, each with its line, its field and the mend."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from netlab.topology.checks import Place
from netlab.topology.models import Topology
from netlab.topology.problems import file_error, place_of, problems_of, telling, text_of
from netlab.topology.source import Problem, Source, SourceError, field_name, read


def load(path: Path) -> Topology:
    """Read and check the topology file at `path`; its apps' directories come out absolute.

    Raises TopologyError with every problem: the message has one line for each, `file:line: field: what, and
    the mend`, and `fields["problems"]` the same as mappings of file, line, field and message.
    """
    try:
        source = read(text_of(path, "topology"))
    except SourceError as error:
        raise file_error(path, error.problems) from error.__cause__
    if not isinstance(source.value, dict):
        raise file_error(path, [Problem(source.line(()), "", _not_a_mapping(source.value))])
    topology, problems = _validate(source)
    if topology is not None:
        topology, missing = _resolve(topology, path.parent)
        problems += [Problem(source.line(place), field_name(place), text) for place, text in missing]
    problems += source.problems
    if problems or topology is None:
        raise file_error(path, problems)
    return topology


def _not_a_mapping(value: Any) -> str:
    if value is None:
        return "the file is empty; a topology needs at least 'name: mylab'"
    kind = "a list" if isinstance(value, list) else "plain text"
    return f"holds {kind}; a topology is 'key: value' lines, beginning with 'name: mylab'"


def _validate(source: Source) -> tuple[Topology | None, list[Problem]]:
    """The topology, and every problem of fields and between fields.

    Contradictions can only be looked for in a valid model. So where single fields are wrong, the check is
    repeated without them: a person sees both kinds at once.
    """
    try:
        return Topology.model_validate(source.value), []
    except ValidationError as error:
        details = telling(error.errors(include_url=False))
    problems = problems_of(source, Topology, details)
    if any(detail["type"] == "contradictions" for detail in details):
        return None, problems
    wrong = {place_of(detail) for detail in details}
    origin: dict[Place, Place] = {}
    rest = _without(source.value, wrong, (), (), origin)
    _fill(rest)
    try:
        Topology.model_validate(rest)
    except ValidationError as error:
        more = [detail for detail in error.errors(include_url=False) if detail["type"] == "contradictions"]
        problems += problems_of(source, Topology, more, lambda place: origin.get(place, place))
    return None, problems


def _without(value: Any, wrong: set[Place], old: Place, new: Place, origin: dict[Place, Place]) -> Any:
    """A copy of `value` without the wrong places; `origin` maps the copy's places to the file's."""
    origin[new] = old
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if (*old, key) not in wrong}
        return {key: _without(item, wrong, (*old, key), (*new, key), origin) for key, item in kept.items()}
    if isinstance(value, list):
        indices = [index for index in range(len(value)) if (*old, index) not in wrong]
        return [_without(value[at], wrong, (*old, at), (*new, to), origin) for to, at in enumerate(indices)]
    return value


def _fill(rest: dict[str, Any]) -> None:
    """Give stand-ins to what must be there and was taken out: the names of the lab and of apps."""
    rest.setdefault("name", "lab")
    apps = rest.get("apps", [])
    names = (f"unnamed-{number}" for number in count())
    for app in apps:
        if isinstance(app, dict) and "name" not in app:
            app["name"] = next(names)


def _resolve(topology: Topology, folder: Path) -> tuple[Topology, list[tuple[Place, str]]]:
    """Make the apps' directories absolute; also returns what is wrong with them."""
    problems: list[tuple[Place, str]] = []
    apps = []
    for index, app in enumerate(topology.apps):
        if app.directory is None:
            apps.append(app)
            continue
        directory = (folder / app.directory).absolute()
        place: Place = ("apps", index, "directory")
        if not directory.exists():
            problems.append((place, f"there is no folder {directory}; the path is relative to the topology file"))
        elif not directory.is_dir():
            problems.append((place, f"{directory} is a file; name the folder it is in"))
        apps.append(app.model_copy(update={"directory": str(directory)}))
    return topology.model_copy(update={"apps": tuple(apps)}), problems
