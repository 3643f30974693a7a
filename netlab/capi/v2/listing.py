"""Lists of version 2: `q=name:value` and `q=name IN a,b`, order and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Select, select
from starlette.responses import JSONResponse

from netlab.capi.call import Call, Row, Transaction
from netlab.capi.errors import bad_query
from netlab.capi.listing import PAGE_MAX, Filter, number, one_page

PER_PAGE_MAX = 100
_OPERATOR = re.compile(r"(:|>=|<=|<|>| IN )")
_SEMICOLON = re.compile(r"(?<!;);(?!;)")
_PLACE = frozenset({"page", "results-per-page"})


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """One kind of list: what may be queried, and which columns it may be ordered by."""

    kind: type[Row]
    filters: Mapping[str, Filter]
    orders: tuple[str, ...] = ()

    def answer(
        self,
        call: Call,
        transaction: Transaction,
        present: Callable[[Row], dict[str, Any]],
        *conditions: ColumnElement[bool],
    ) -> JSONResponse:
        """The page that the query asks for; raises 400 for what cannot be queried and impossible values."""
        page = number(call.query, "page", 1, PAGE_MAX)
        per_page = number(call.query, "results-per-page", 50, PER_PAGE_MAX)
        statement = select(self.kind).where(*conditions)
        for name, values in queries(call, self.filters):
            statement = statement.where(self.filters[name](values))
        rows, total = one_page(transaction, self._ordered(call, statement), page, per_page)
        pages = max(1, -(-total // per_page))

        def url(number: int) -> str | None:
            if not 1 <= number <= pages:
                return None
            kept = [(name, value) for name, value in call.query.multi_items() if name not in _PLACE]
            return f"{call.path}?{urlencode([*kept, ('page', number), ('results-per-page', per_page)])}"

        return JSONResponse(
            {
                "total_results": total,
                "total_pages": pages,
                "prev_url": url(page - 1),
                "next_url": url(page + 1),
                "resources": [present(row) for row in rows],
            }
        )

    def _ordered(self, call: Call, statement: Select[Row]) -> Select[Row]:
        direction = call.query.get("order-direction", "asc")
        if direction not in ("asc", "desc"):
            raise bad_query("order-direction must be asc or desc")
        columns = [self.kind.position]
        for name in reversed(call.query.getlist("order-by")):
            if name in self.orders:
                columns.insert(0, getattr(self.kind, name))
            elif name != "id":
                raise bad_query(f"Cannot order by: {name}")
        return statement.order_by(*(column.desc() if direction == "desc" else column for column in columns))


def queries(call: Call, valid: Collection[str]) -> list[tuple[str, list[str]]]:
    """What the list is narrowed to: names among the valid ones, each with the values that will do. Raises 400."""
    found = []
    for part in (part for query in call.query.getlist("q") for part in _SEMICOLON.split(query)):
        name, *rest = _OPERATOR.split(part.replace(";;", ";"), maxsplit=1)
        if name not in valid or not rest or rest[0] not in (":", " IN "):
            raise bad_query(f"{part}; what can be queried is {', '.join(sorted(valid)) or 'nothing'}")
        found.append((name, rest[1].split(",") if rest[0] == " IN " else [rest[1]]))
    return found


def constant(resources: list[dict[str, Any]]) -> JSONResponse:
    """A list of one page that does not come from the database."""
    return JSONResponse(
        {
            "total_results": len(resources),
            "total_pages": 1,
            "prev_url": None,
            "next_url": None,
            "resources": resources,
        }
    )
