"""Lists of the API: filters, order and pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic
from urllib.parse import unquote, urlencode

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute
from starlette.responses import JSONResponse

from netlab.capi.call import Call, Row, Transaction
from netlab.capi.errors import bad_query

PER_PAGE_MAX = 5000
PAGE_MAX = 2**31
Filter = Callable[[Sequence[str]], ColumnElement[bool]]


def among(column: InstrumentedAttribute[Any]) -> Filter:
    """A filter on the values of one column."""
    return column.in_


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """One kind of list: what it may be filtered and ordered by."""

    kind: type[Row]
    filters: Mapping[str, Filter]
    orders: tuple[str, ...] = ("created_at", "updated_at")
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
        page, per_page = self._window(call.query)
        statement = select(self.kind).where(*conditions)
        kept: dict[str, str] = {}
        for name, given in call.query.items():
            if name in self.filters:
                statement = statement.where(self.filters[name]([unquote(part) for part in given.split(",")]))
            if name not in {"page", "per_page"}:
                kept[name] = given
        ordered = self._ordered(statement, call.query.get("order_by", ""))
        rows, total = one_page(transaction, ordered, page, per_page)
        pages = max(1, -(-total // per_page))

        def link(number: int) -> dict[str, str] | None:
            if not 1 <= number <= pages:
                return None
            return call.link(f"{call.path}?{urlencode({**kept, 'page': number, 'per_page': per_page})}")

        return JSONResponse(
            {
                "pagination": {
                    "total_results": total,
                    "total_pages": pages,
                    "first": link(1),
                    "last": link(pages),
                    "next": link(page + 1),
                    "previous": link(page - 1),
                },
                "resources": [present(call, row) for row in rows],
            }
        )

    def _window(self, query: Mapping[str, str]) -> tuple[int, int]:
        valid = {*self.filters, *self.ignored, "page", "per_page", "order_by"}
        unknown = sorted(set(query) - valid)
        if unknown:
            names = ", ".join(repr(name) for name in unknown)
            raise bad_query(f"Unknown query parameter(s): {names}. Valid parameters are: {', '.join(sorted(valid))}")
        order = query.get("order_by", "")
        if order and order.lstrip("+-") not in self.orders:
            raise bad_query(f"Order by can only be: {', '.join(self.orders)}")
        return (
            number(query, "page", 1, PAGE_MAX),
            number(query, "per_page", 50, PER_PAGE_MAX),
        )

    def _ordered(self, statement: Select[Row], order: str) -> Select[Row]:
        name = order.lstrip("+-")
        if not name:
            return statement.order_by(self.kind.position)
        column = getattr(self.kind, name)
        return statement.order_by(column.desc() if order.startswith("-") else column, self.kind.position)


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
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= largest:
        label = name.replace("_", " ").replace("-", " ").capitalize()
        raise bad_query(f"{label} must be between 1 and {largest}")
    return number
