"""What the documents of version 2 have in common."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.documents import stamp
from netlab.capi.models import Job, Record

_STATUS = {"PROCESSING": "running", "COMPLETE": "finished", "FAILED": "failed"}


def entity(record: Record, url: str, **fields: Any) -> dict[str, Any]:
    """A resource at `url`: metadata, and the fields as its entity."""
    return {
        "metadata": {
            "guid": record.guid,
            "url": url,
            "created_at": stamp(record.created_at),
            "updated_at": stamp(record.updated_at),
        },
        "entity": fields,
    }


def job(record: Job) -> dict[str, Any]:
    """A job: what was asked for asynchronously."""
    fields: dict[str, Any] = {"guid": record.guid, "status": _STATUS.get(record.state, "queued")}
    return entity(record, f"/v2/jobs/{record.guid}", **fields)


def deleted(call: Call, transaction: Transaction, operation: str) -> Response:
    """The answer to a deletion that is done: nothing, or with async=true a job that is finished."""
    if call.query.get("async") != "true":
        return Response(status_code=204)
    record = Job(operation=operation)
    transaction.session.add(record)
    transaction.session.flush()
    return JSONResponse(job(record), 202)
