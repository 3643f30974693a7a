"""What the documents of all resources have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from netlab.capi.errors import too_many
from netlab.capi.labels import ANNOTATIONS_MAX, LABELS_MAX
from netlab.capi.messages import Metadata
from netlab.capi.models import Labelled, Record


def stamp(moment: datetime) -> str:
    """A time as the API writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def common(record: Record) -> dict[str, Any]:
    """The fields that every resource starts with."""
    return {
        "guid": record.guid,
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.updated_at),
    }


def metadata(row: Labelled) -> dict[str, Any]:
    """The metadata object of a resource."""
    return {"labels": row.labels, "annotations": row.annotations}


def to_one(guid: str | None) -> dict[str, Any]:
    """A relationship to one resource or none."""
    return {"data": None if guid is None else {"guid": guid}}


def update_metadata(row: Labelled, message: Metadata | None) -> None:
    """Merge a request's metadata into a row; a null value removes its key. Raises 422 if there are too many."""
    if message is not None:
        row.labels = _merged("labels", LABELS_MAX, row.labels or {}, message.labels)
        row.annotations = _merged("annotations", ANNOTATIONS_MAX, row.annotations or {}, message.annotations)


def _merged(what: str, largest: int, present: dict[str, str], given: dict[str, str | None]) -> dict[str, str]:
    both: dict[str, str | None] = {**present, **given}
    merged = {key: value for key, value in both.items() if value is not None}
    if len(merged) > largest:
        raise too_many(what, len(merged) - len(present), largest)
    return merged
