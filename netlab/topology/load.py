"""Reading a topology file: every problem at once, each with its line, its field and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from netlab.errors import TopologyError
from netlab.topology.checks import Place
from netlab.topology.models import Topology
from netlab.topology.source import SIZE_LIMIT, Problem, Source, SourceError, field_name, read

_SHOWN = 60
"""Characters of a wrong value that a message repeats."""


def load(path: Path) -> Topology:
    """Read and check the topology file at `path`; its apps' directories come out absolute.

    Raises TopologyError with every problem: the message has one line for each, `file:line: field: what, and
    the mend`, and `fields["problems"]` the same as mappings of file, line, field and message.
    """
    try:
        source = read(_text(path))
    except SourceError as error:
        raise topology_error(path, error.problems) from error.__cause__
    if not isinstance(source.value, dict):
        raise topology_error(path, [Problem(source.line(()), "", _not_a_mapping(source.value))])
    topology, problems = _validate(source)
    if topology is not None:
        topology, missing = _resolve(topology, path.parent)
        problems += [Problem(source.line(place), field_name(place), text) for place, text in missing]
    problems += source.problems
    if problems or topology is None:
        raise topology_error(path, problems)
    return topology


def topology_error(path: Path, problems: list[Problem] | tuple[Problem, ...]) -> TopologyError:
    """The error that names these problems of a file, in the order of its lines."""
    ordered = sorted(set(problems), key=lambda problem: (problem.line, problem.field, problem.message))
    lines = []
    for problem in ordered:
        place = f"{path}:{problem.line}" if problem.line else f"{path}"
        lines.append(": ".join(part for part in (place, problem.field, problem.message) if part))
    return TopologyError(
        "\n".join(lines),
        problems=[
            {"file": str(path), "line": problem.line, "field": problem.field, "message": problem.message}
            for problem in ordered
        ],
    )


def _text(path: Path) -> str:
    """The file's text; SourceError where there is none to be had."""
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise SourceError(Problem(0, "", "no such file" + _similar_file(path))) from None
    except IsADirectoryError:
        raise SourceError(Problem(0, "", "is a directory; name the topology file in it")) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceError(Problem(0, "", f"cannot be read: {reason}")) from None
    if len(data) > SIZE_LIMIT:
        raise SourceError(Problem(0, "", f"is larger than {SIZE_LIMIT} bytes; that is no topology"))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(
            Problem(line, "", f"byte 0x{data[error.start]:02x} is no UTF-8; save the file as UTF-8")
        ) from None


def _similar_file(path: Path) -> str:
    """A suggestion: a file of nearly this name beside it."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"; there is no folder {path.parent}"
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""


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
        details = _telling(error.errors(include_url=False))
    problems = _problems(source, details, lambda place: place)
    if any(detail["type"] == "contradictions" for detail in details):
        return None, problems
    wrong = {_place(detail) for detail in details}
    origin: dict[Place, Place] = {}
    rest = _without(source.value, wrong, (), (), origin)
    _fill(rest)
    try:
        Topology.model_validate(rest)
    except ValidationError as error:
        more = [detail for detail in error.errors(include_url=False) if detail["type"] == "contradictions"]
        problems += _problems(source, more, lambda place: origin.get(place, place))
    return None, problems


def _telling(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """The errors less those that only follow from others: a list is too short once its bad items do not count."""
    places = [_place(detail) for detail in details]
    return [
        detail
        for detail, place in zip(details, places, strict=True)
        if detail["type"] != "too_short" or not any(other[:-1] == place for other in places if other != place)
    ]


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


def _place(detail: ErrorDetails) -> Place:
    """The place of an error, less what names no place in the file: the key marker of a mapping."""
    return tuple(part for part in detail["loc"] if part != "[key]")


def _problems(source: Source, details: list[ErrorDetails], where: Callable[[Place], Place]) -> list[Problem]:
    problems = []
    for detail in details:
        if detail["type"] == "contradictions":
            found = [(where(place), text) for place, text in detail["ctx"]["places"]]
        else:
            found = [(_place(detail), _text_of(detail))]
        problems += [Problem(source.line(place), field_name(place), text) for place, text in found]
    return problems


def _text_of(detail: ErrorDetails) -> str:
    """What is wrong and how to mend it, in words that do not presume Python or JSON."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    match kind:
        case "topology":
            return str(context["message"])
        case "missing":
            return "is missing; add it"
        case "extra_forbidden":
            return _unknown(_place(detail))
        case "string_type":
            return f"must be text, not {_shown(value)}{_quoting(value)}"
        case "int_type" | "int_from_float" | "int_parsing":
            return f"must be a whole number, not {_shown(value)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {_shown(value)}"
        case "less_than_equal":
            return f"must be at most {context['le']}, not {_shown(value)}"
        case "tuple_type" | "list_type":
            return f"must be a list, not {_shown(value)}; begin each item with '- '"
        case "too_short":
            return "must not be an empty list; list at least one, or leave the field out"
        case "model_type" | "model_attributes_type" | "dict_type" | "mapping_type":
            return f"must be 'key: value' lines, not {_shown(value)}"
        case "string_too_short":
            return "must not be empty; give a value or leave the field out"
        case "string_too_long":
            return f"is longer than {context['max_length']} characters; shorten it"
    return f"is wrong: {detail['msg']}"


def _quoting(value: Any) -> str:
    return "; put it in quotes" if isinstance(value, int | float) else ""


def _shown(value: Any) -> str:
    """A value as its file shows it, cut short."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list() if not value:
            return "an empty list"
        case list():
            return "a list"
    text = f"{value!r}" if isinstance(value, str) else f"{value}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _unknown(place: Place) -> str:
    """The message for a key that no model has: the nearest one, or all there are."""
    names = sorted(_fields(place[:-1]))
    close = difflib.get_close_matches(str(place[-1]).lower(), names, n=1, cutoff=0.6)
    return f"unknown field; did you mean {close[0]}?" if close else f"unknown field; there are {', '.join(names)}"


def _fields(place: Place) -> set[str]:
    """The field names of the model that stands at a place."""
    model: type[BaseModel] = Topology
    for part in place:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation))
    return set(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (tuple, Union, UnionType):
        for inner in get_args(annotation):
            yield from _models(inner)


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
