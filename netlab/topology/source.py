"""Reading YAML into plain values that remember their lines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLStreamError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from netlab.topology.checks import Place

SIZE_LIMIT = 1_000_000
"""Largest file, in bytes; a topology of a thousand apps takes a quarter of it."""
VALUE_LIMIT = 200_000
"""Most values of a file with its aliases expanded: a few lines of nested aliases can stand for billions."""

_TAG = "tag:yaml.org,2002:"
_TYPED = {_TAG + kind for kind in ("bool", "int", "float", "null")}
_PLAIN = {_TAG + kind for kind in ("str", "timestamp", "value")}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its line (0: the file as a whole), field (may be empty), what and the mend."""

    line: int
    field: str
    message: str


class SourceError(Exception):
    """The text is no YAML, or holds what no file of ours needs."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Source:
    """A file's content as plain values, with the line of each key and list item (1-based)."""

    value: Any
    lines: dict[Place, int]
    problems: tuple[Problem, ...]

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]


def field_name(place: Place) -> str:
    """A place as a person writes it: `apps[1].routes[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def read(text: str, kind: str = "topology", example: str = "name: mylab") -> Source:
    """Parse one YAML document, called a `kind` in errors; SourceError if it is none, or has nothing in it.

    `example` is the least that such a document needs.
    """
    try:
        with warnings.catch_warnings():
            # YAML allows it, and the later anchor counts.
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            # The plug-in search would read a folder of the library at every start.
            node = YAML(typ="safe", pure=True, plug_ins=[]).compose(text)
    except MarkedYAMLError as error:
        raise SourceError(_syntax(error, kind)) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SourceError(
            Problem(line, "", f"contains the control character U+{ord(_char(error)):04X}; remove it")
        ) from error
    except YAMLStreamError as error:
        raise SourceError(Problem(1, "", str(error))) from error
    except RecursionError:
        raise SourceError(Problem(1, "", f"is nested too deeply; a {kind} needs five levels")) from None
    except ValueError as error:
        # The library's own integer and version parsing, on absurd input.
        raise SourceError(Problem(1, "", f"is no YAML: {error}")) from error
    if node is None:
        raise SourceError(Problem(0, "", f"the file is empty; a {kind} needs at least '{example}'"))
    reader = _Reader()
    value = reader.value(node, ())
    return Source(value, reader.lines, tuple(reader.problems))


def _char(error: ReaderError) -> str:
    return error.character if isinstance(error.character, str) else chr(error.character)


def _syntax(error: MarkedYAMLError, kind: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = (error.problem or error.context or "is no YAML").split("\n")[0]
    if "'\\t'" in what:
        what = "is indented with a tab; use spaces"
    elif "expected a single document" in (error.context or ""):
        what = f"begins a second document; a {kind} is one, remove the '---'"
    elif "could not find expected ':'" in what:
        what = "lacks a ':' after a key; write 'key: value'"
    elif "mapping values are not allowed here" in what:
        what = "has a ':' where none can be; put text that contains ': ' in quotes, and check the indentation"
    elif "<stream end>" in what:
        what = "begins a bracket that is not closed; close it"
        mark = error.context_mark or mark
    elif "expected <block end>" in what or "did not find expected" in what:
        what = "is indented differently from the lines it belongs to; align it with them"
    elif "undefined alias" in what:
        what += "; define it with '&' further up, or put text that begins with '*' in quotes"
    elif "end of stream" in what:
        what = "begins a quotation that is not closed; close it"
        mark = error.context_mark or mark
    elif "cannot start any token" in what:
        what += "; put the text in quotes"
    else:
        what = f"is no YAML: {what}"
    return Problem(mark.line + 1 if mark is not None else 1, "", what)


@cache
def _constructor() -> SafeConstructor:
    return SafeConstructor(loader=YAML(typ="safe", pure=True, plug_ins=[]))


class _Reader:
    """Walks YAML nodes; collects lines, duplicate keys and unusable tags on the way."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: Node, place: Place) -> Any:
        """The node as a plain value."""
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        self._count += 1
        if self._count > VALUE_LIMIT:
            raise SourceError(Problem(line, "", f"stands for more than {VALUE_LIMIT} values; use fewer aliases"))
        if isinstance(node, ScalarNode):
            return self._scalar(node, place)
        if id(node) in self._open:
            raise SourceError(Problem(line, field_name(place), "contains itself by an alias; remove the alias"))
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            return dict(self._pairs(node, place))
        finally:
            self._open.discard(id(node))

    def _pairs(self, node: MappingNode, place: Place) -> Iterator[tuple[Any, Any]]:
        seen: dict[Any, int] = {}
        merged: list[tuple[Any, Any]] = []
        own: list[tuple[Any, Any]] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                merged += self._merge(value_node, place)
                continue
            key = self._scalar(key_node, place) if isinstance(key_node, ScalarNode) else None
            if key is None or isinstance(key, bool):
                self.problems.append(Problem(line, field_name(place), "has a key that is no word; write 'key: value'"))
                continue
            inner = (*place, key)
            if key in seen:
                text = f"is given twice, first in line {seen[key]}; remove one"
                self.problems.append(Problem(line, field_name(inner), text))
                continue
            seen[key] = line
            self.lines[inner] = line
            own.append((key, self.value(value_node, inner)))
        yield from ((key, value) for key, value in merged if key not in seen)
        yield from own

    def _merge(self, node: Node, place: Place) -> list[tuple[Any, Any]]:
        """The pairs that `<<: *anchor` brings; their lines are those of the anchor."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        pairs: dict[Any, Any] = {}
        for source in sources:
            value = self.value(source, place) if isinstance(source, MappingNode) else None
            if value is None:
                line = node.start_mark.line + 1
                self.problems.append(Problem(line, field_name(place), "merges what is no mapping; write '<<: *anchor'"))
                continue
            pairs = value | pairs
        return list(pairs.items())

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        tag = str(node.tag)
        if tag in _TYPED:
            try:
                return _constructor().construct_object(node)
            except (ValueError, OverflowError, ConstructorError):
                return node.value
        if tag not in _PLAIN:
            line = node.start_mark.line + 1
            self.problems.append(Problem(line, field_name(place), f"has the tag {_short(tag)}; remove it"))
        return self._whole(node, place)

    def _whole(self, node: ScalarNode, place: Place) -> str:
        r"""A scalar's text, with pairs of \u escapes as JSON writes them joined to the characters they stand for."""
        text: str = node.value
        pairs = text.encode("utf-16", "surrogatepass")
        try:
            return pairs.decode("utf-16")
        except UnicodeDecodeError:
            line = node.start_mark.line + 1
            message = r"contains half of a character; check its \u escapes"
            self.problems.append(Problem(line, field_name(place), message))
            return pairs.decode("utf-16", "replace")


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
