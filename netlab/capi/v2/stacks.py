"""The one stack. Apps see the machine's own file system; the name is the one that clients and manifests use."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call
from netlab.capi.stacks import STACK, STACK_DESCRIPTION, STACK_GUID, STACK_STAMP
from netlab.capi.v2.errors import no_such
from netlab.capi.v2.listing import constant, queries


def _stack() -> dict[str, Any]:
    return {
        "metadata": {
            "guid": STACK_GUID,
            "url": f"/v2/stacks/{STACK_GUID}",
            "created_at": STACK_STAMP,
            "updated_at": STACK_STAMP,
        },
        "entity": {"name": STACK, "description": STACK_DESCRIPTION},
    }


def list_stacks(call: Call) -> Response:
    """GET /v2/stacks."""
    wanted = all(STACK in values for _, values in queries(call, {"name"}))
    return constant([_stack()] if wanted else [])


def show_stack(call: Call) -> Response:
    """GET /v2/stacks/:guid."""
    if call.guid != STACK_GUID:
        raise no_such("stack", "StackNotFound", 250003, call.guid)
    return JSONResponse(_stack())
