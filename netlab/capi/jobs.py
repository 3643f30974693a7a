"""Jobs: what a client may ask after when the answer was 202."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.documents import common
from netlab.capi.errors import ApiError
from netlab.capi.models import Job


def accepted(call: Call, transaction: Transaction, operation: str, error: ApiError | None = None) -> Response:
    """The answer to a request that has a job: the job is over already, and the Location header names it."""
    state, errors = ("COMPLETE", []) if error is None else ("FAILED", error.errors())
    job = Job(operation=operation, state=state, errors=errors)
    transaction.session.add(job)
    transaction.session.flush()
    return Response(status_code=202, headers={"location": call.url(f"/v3/jobs/{job.guid}")})


def attempted(call: Call, operation: str, action: Callable[[Transaction], None]) -> Response:
    """The answer to a request whose job may fail; one that fails changes nothing, and its job has the errors."""
    try:
        with call.transaction() as transaction:
            action(transaction)
            return accepted(call, transaction, operation)
    except ApiError as error:
        with call.transaction() as transaction:
            return accepted(call, transaction, operation, error)


def show_job(call: Call) -> Response:
    """GET /v3/jobs/:guid."""
    with call.transaction() as transaction:
        job = transaction.get(Job, call.guid)
        return JSONResponse(
            {
                **common(job),
                "operation": job.operation,
                "state": job.state,
                "errors": job.errors,
                "warnings": [],
                "links": {"self": call.link(f"/v3/jobs/{job.guid}")},
            }
        )
