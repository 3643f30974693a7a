"""What is wrong with a file that a person wrote: each problem with its line, its field and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from netlab.errors import NetlabError, TopologyError
from netlab.topology.checks import Place
from netlab.topology.source import SIZE_LIMIT, Problem, Source, SourceError, field_name

_SHOWN = 60
"""Characters of a wrong value that a message repeats."""


def file_error(
    path: Path, problems: list[Problem] | tuple[Problem, ...], kind: type[NetlabError] = TopologyError
) -> NetlabError:
    """The error that names these problems of a file, in the order of its lines."""
    ordered = sorted(set(problems), key=lambda problem: (problem.line, problem.field, problem.message))
    lines = []
    for problem in ordered:
        place = f"{path}:{problem.line}" if problem.line else f"{path}"
        lines.append(": ".join(part for part in (place, problem.field, problem.message) if part))
    return kind(
        "\n".join(lines),
        problems=[
            {"file": str(path), "line": problem.line, "field": problem.field, "message": problem.message}
            for problem in ordered
        ],
    )


def text_of(path: Path, noun: str) -> str:
    """The file's text; SourceError where there is none to be had. `noun` says what the file should be."""
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise SourceError(Problem(0, "", "no such file" + _similar_file(path))) from None
    except IsADirectoryError:
        raise SourceError(Problem(0, "", f"is a directory; name the {noun} file in it")) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceError(Problem(0, "", f"cannot be read: {reason}")) from None
    if len(data) > SIZE_LIMIT:
        raise SourceError(Problem(0, "", f"is larger than {SIZE_LIMIT} bytes; that is no {noun}"))
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


def telling(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """The errors less those that only follow from others: a list is too short once its bad items do not count."""
    places = [place_of(detail) for detail in details]
    return [
        detail
        for detail, place in zip(details, places, strict=True)
        if detail["type"] != "too_short" or not any(other[: len(place)] == place for other in places if other != place)
    ]


def place_of(detail: ErrorDetails) -> Place:
    """The place of an error, less what names no place in the file: the key marker of a mapping."""
    return tuple(part for part in detail["loc"] if part != "[key]")


def problems_of(
    source: Source,
    model: type[BaseModel],
    details: list[ErrorDetails],
    where: Callable[[Place], Place] = lambda place: place,
) -> list[Problem]:
    """The errors of a model's validation as problems of the file it was read from.

    `where` gives the place in the file of a place that the model knows.
    """
    problems = []
    for detail in details:
        if detail["type"] == "contradictions":
            found = [(where(place), text) for place, text in detail["ctx"]["places"]]
        else:
            found = [(place_of(detail), _text_of(detail, model))]
        problems += [Problem(source.line(place), field_name(place), text) for place, text in found]
    return problems


def _text_of(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong and how to mend it, in words that do not presume Python or JSON."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    match kind:
        case "topology":
            return str(context["message"])
        case "missing":
            return "is missing; add it"
        case "extra_forbidden":
            return _unknown(place_of(detail), model)
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


def _unknown(place: Place, model: type[BaseModel]) -> str:
    """The message for a key that no model has: the nearest one, or all there are."""
    names = sorted(_fields(place[:-1], model))
    close = difflib.get_close_matches(str(place[-1]).lower(), names, n=1, cutoff=0.6)
    return f"unknown field; did you mean {close[0]}?" if close else f"unknown field; there are {', '.join(names)}"


def _fields(place: Place, model: type[BaseModel]) -> set[str]:
    """The names of the fields, as the file has them, of the model that stands at a place."""
    for part in place:
        if isinstance(part, str):
            named = {field.alias or name: field for name, field in model.model_fields.items()}
            model = next(_models(named[part].annotation))
    return {field.alias or name for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (tuple, Union, UnionType):
        for inner in get_args(annotation):
            yield from _models(inner)
