"""Labels and annotations: which keys and values there may be, and the selectors that lists are narrowed by."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, or_

from netlab.capi.models import Labelled

LABELS_MAX = 50
ANNOTATIONS_MAX = 200
_NAME_MAX = 63
_PREFIX_MAX = 253
_ANNOTATION_MAX = 5000
_RESERVED = "cloudfoundry.org"
_PREFIX = re.compile(
    r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII
)
_FOREIGN = re.compile(r"[^\w.-]", re.ASCII)
_WORD = re.compile(r"[a-z0-9]([\w.-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)

_SET = re.compile(r"(?P<key>[^\s!=(),]+)\s+(?P<verb>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s!=(),]+)\s*(?P<verb>==|!=|=)\s*(?P<values>[^\s!=(),]*)")
_EXISTS = re.compile(r"(?P<verb>!?)\s*(?P<key>[^\s!=(),]+)")
_COMMA = re.compile(r",(?![^(]*\))")


class Requirement(NamedTuple):
    """One condition of a selector: the key, `in`, `notin`, `exists` or `absent`, and the values of the first two."""

    key: str
    verb: str
    values: tuple[str, ...] = ()


def key_fault(key: str) -> str | None:
    """What is wrong with the key of a label or annotation, in the Cloud Controller's words."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return "key has more than one '/'"
    if slash and not _PREFIX.fullmatch(prefix):
        return f"prefix '{prefix[:_NAME_MAX]}' must be in valid dns format"
    if len(prefix) > _PREFIX_MAX:
        return f"prefix '{prefix[:8]}...' is greater than {_PREFIX_MAX} characters"
    if prefix.lower() == _RESERVED:
        return f"prefix '{_RESERVED}' is reserved"
    return "key cannot be empty string" if not name else _word_fault(name)


def value_fault(value: str) -> str | None:
    """What is wrong with the value of a label."""
    return _word_fault(value) if value else None


def annotation_fault(value: str) -> str | None:
    """What is wrong with the value of an annotation."""
    too_long = len(value) > _ANNOTATION_MAX
    return f"'{value[:8]}...' is greater than {_ANNOTATION_MAX} characters" if too_long else None


def _word_fault(word: str) -> str | None:
    if len(word) > _NAME_MAX:
        return f"'{word[:8]}...' is greater than {_NAME_MAX} characters"
    if _FOREIGN.search(word):
        return f"'{word}' contains invalid characters"
    return None if _WORD.fullmatch(word) else f"'{word}' starts or ends with invalid characters"


def parse_selector(text: str) -> list[Requirement]:
    """The conditions of a label selector; raises ValueError with what is wrong.

    `key`, `!key`, `key=value`, `key==value`, `key!=value`, `key in (a,b)` and `key notin (a,b)`, joined by commas.
    """
    if not text.strip():
        raise ValueError("Missing label_selector value")
    return [_requirement(part.strip()) for part in _COMMA.split(text)]


def _requirement(text: str) -> Requirement:
    if match := _SET.fullmatch(text):
        values = tuple(value.strip() for value in match["values"].split(","))
        found = Requirement(match["key"], match["verb"], values)
    elif match := _EQUAL.fullmatch(text):
        found = Requirement(match["key"], "notin" if match["verb"] == "!=" else "in", (match["values"],))
    elif match := _EXISTS.fullmatch(text):
        found = Requirement(match["key"], "absent" if match["verb"] else "exists")
    else:
        raise ValueError("Invalid label_selector value")
    for fault in (key_fault(found.key), *map(value_fault, found.values)):
        if fault is not None:
            raise ValueError(fault)
    return found


def condition(kind: type[Labelled], requirement: Requirement) -> ColumnElement[bool]:
    """The condition for rows of a kind; `notin` is true of those that lack the key, too."""
    labels: Any = kind.labels
    value: ColumnElement[str] = labels[requirement.key].as_string()
    if requirement.verb == "in":
        return value.in_(requirement.values)
    if requirement.verb == "notin":
        return or_(value.is_(None), value.not_in(requirement.values))
    return value.is_not(None) if requirement.verb == "exists" else value.is_(None)
