"""Lists of the API: filters, order and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic
from urllib.parse import unquote, urlencode

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute
from starlette.responses import JSONResponse

from netlab.capi import labels, moments
from netlab.capi.call import Call, Row, Transaction
from netlab.capi.errors import bad_query
from netlab.capi.models import Labelled
from netlab.capi.presenting import Inclusion, chosen, included

PER_PAGE_MAX = 5000
PAGE_MAX = 2**31
_VALUES_MAX = 5000
_PLACE = ("page", "per_page", "order_by")
_SIGN = re.compile(r"[ +-]?")
Filter = Callable[[Sequence[str]], ColumnElement[bool]]


def among(column: InstrumentedAttribute[Any]) -> Filter:
    """A filter on the values of one column."""
    return column.in_


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """One kind of list: what it may be filtered and ordered by, and what its documents can bring along.

    Every list can be filtered by the times of making and change too, and by labels if its rows have any.
    """

    kind: type[Row]
    filters: Mapping[str, Filter]
    orders: tuple[str, ...] = ("created_at", "updated_at")
    inclusions: Mapping[str, Inclusion] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    """Parameters that clients send and that change nothing here."""

    def answer(
        self,
        call: Call,
        transaction: Transaction,
        present: Callable[[Call, Row], dict[str, Any]],
        *conditions: ColumnElement[bool],
    ) -> JSONResponse:
        """The page that the query asks for; raises 400 for unknown parameters and impossible values."""
        check_parameters(call, self._valid())
        page, per_page = window(call)
        inclusions = chosen(call, self.inclusions)
        statement = select(self.kind).where(*conditions, *self._conditions(call))
        rows, total = one_page(transaction, self._ordered(statement, call.query.get("order_by", "")), page, per_page)
        return JSONResponse(
            paginated(call, [present(call, row) for row in rows], total, page, per_page)
            | included(call, inclusions, rows)
        )

    def single(self, call: Call, present: Callable[[Call, Row], dict[str, Any]], row: Row) -> JSONResponse:
        """One row, and what the query wants brought along; raises 400."""
        inclusions = chosen(call, self.inclusions)
        return JSONResponse(present(call, row) | included(call, inclusions, [row]))

    def _valid(self) -> list[str]:
        own = [*self.filters, *moments.PARAMETERS, *(["include"] if self.inclusions else []), *self.ignored]
        return [*_PLACE, *own, *(["label_selector"] if issubclass(self.kind, Labelled) else [])]

    def _conditions(self, call: Call) -> list[ColumnElement[bool]]:
        found = []
        try:
            for name, given in call.query.items():
                moment = moments.condition(self.kind, name, given)
                if moment is not None:
                    found.append(moment)
                elif name == "label_selector" and issubclass(self.kind, Labelled):
                    found += [labels.condition(self.kind, each) for each in labels.parse_selector(given)]
                elif name in self.filters:
                    found.append(self.filters[name](_values(name, given)))
        except ValueError as error:
            raise bad_query(str(error)) from None
        return found

    def _ordered(self, statement: Select[Row], order: str) -> Select[Row]:
        if not order:
            return statement.order_by(self.kind.position)
        sign = _SIGN.match(order)
        name = order[sign.end() :] if sign else order
        if name not in self.orders:
            raise bad_query(f"Order by can only be: {_quoted(self.orders)}")
        column = getattr(self.kind, name)
        return statement.order_by(column.desc() if order.startswith("-") else column, self.kind.position)


def _values(name: str, given: str) -> list[str]:
    values = list(dict.fromkeys(unquote(part) for part in given.split(",")))
    if len(values) > _VALUES_MAX:
        raise ValueError(f"{name} must not have more than {_VALUES_MAX} values")
    if any("\0" in value for value in values):
        raise ValueError(f"{name} must not contain NUL characters")
    return values


def _quoted(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def check_parameters(call: Call, valid: Collection[str]) -> None:
    """Raise 400 if the query has a parameter that is not among the valid ones."""
    unknown = [name for name in call.query if re.sub(r"(?<=_ats)\[\w*\]$", "", name) not in valid]
    if unknown:
        raise bad_query(f"Unknown query parameter(s): {_quoted(unknown)}. Valid parameters are: {_quoted(valid)}")


def window(call: Call) -> tuple[int, int]:
    """The page that is asked for and the length of pages; raises 400."""
    return number(call.query, "page", 1, PAGE_MAX), number(call.query, "per_page", 50, PER_PAGE_MAX)


def constant(call: Call, resources: Sequence[dict[str, Any]]) -> JSONResponse:
    """A page of a list that does not come from the database; raises 400."""
    page, per_page = window(call)
    shown = list(resources[(page - 1) * per_page : page * per_page])
    return JSONResponse(paginated(call, shown, len(resources), page, per_page))


def paginated(call: Call, resources: list[dict[str, Any]], total: int, page: int, per_page: int) -> dict[str, Any]:
    """The document of one page; its links keep whatever else the query says."""
    pages = max(1, -(-total // per_page))
    kept = {name: given for name, given in call.query.items() if name not in {"page", "per_page"}}

    def link(number: int) -> dict[str, str] | None:
        if not 1 <= number <= pages:
            return None
        return call.link(f"{call.path}?{urlencode({**kept, 'page': number, 'per_page': per_page})}")

    return {
        "pagination": {
            "total_results": total,
            "total_pages": pages,
            "first": link(1),
            "last": link(pages),
            "next": link(page + 1),
            "previous": link(page - 1),
        },
        "resources": resources,
    }


def one_page(transaction: Transaction, statement: Select[Row], page: int, per_page: int) -> tuple[Sequence[Row], int]:
    """The rows of one page of a statement, and how many rows there are on all pages."""
    rows = transaction.session.scalars(statement.limit(per_page).offset((page - 1) * per_page)).all()
    if page == 1 and len(rows) < per_page:
        return rows, len(rows)
    counted = select(func.count()).select_from(statement.order_by(None).subquery())
    return rows, transaction.session.scalar(counted) or 0


def number(query: Mapping[str, str], name: str, default: int, largest: int) -> int:
    """A query parameter that is a number from 1 on; raises 400."""
    text = query.get(name)
    if text is None:
        return default
    label = name.replace("_", " ").replace("-", " ").capitalize()
    # A number of more digits than any that is allowed need not be read.
    if not (text.isascii() and text.isdigit()) or not text.lstrip("0"):
        raise bad_query(f"{label} must be a positive integer")
    digits = text.lstrip("0")
    if len(digits) > len(str(largest)) or int(digits) > largest:
        raise bad_query(f"{label} must be between 1 and {largest}")
    return int(digits)
