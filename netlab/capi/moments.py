"""The filters `created_ats` and `updated_ats`: moments, or one moment with `[lt]`, `[lte]`, `[gt]` or `[gte]`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement

from netlab.capi.models import Record

PARAMETERS = ("created_ats", "updated_ats")
_PARAMETER = re.compile(r"(?P<name>created_at|updated_at)s(\[(?P<operator>\w*)\])?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def condition(kind: type[Record], parameter: str, given: str) -> ColumnElement[bool] | None:
    """The condition that a query parameter stands for, None if it is no such parameter; raises ValueError."""
    match = _PARAMETER.fullmatch(parameter)
    if match is None:
        return None
    label = match["name"].replace("_", " ").capitalize() + "s"
    column = getattr(kind, match["name"])
    moments = [_moment(label, text) for text in given.split(",")]
    if match["operator"] is None:
        return cast("ColumnElement[bool]", column.in_(moments))
    if match["operator"] not in _OPERATORS:
        raise ValueError(f"Invalid relational operator: '{match['operator']}'")
    if len(moments) > 1:
        raise ValueError(f"{label} only accepts one value when using a relational operator")
    return cast("ColumnElement[bool]", _OPERATORS[match["operator"]](column, moments[0]))


def _moment(label: str, text: str) -> datetime:
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        pass
    raise ValueError(
        f"{label} has an invalid timestamp format. Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'"
    )
