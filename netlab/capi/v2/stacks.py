"""The one stack. Apps see the machine's own file system; the name is the one that clients and manifests use."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call
from netlab.capi.v2.errors import no_such
from netlab.capi.v2.listing import constant, queries

STACK = "cflinuxfs3"
STACK_GUID = str(uuid.uuid5(uuid.NAMESPACE_DNS, STACK))
_STAMP = "2018-10-01T00:00:00Z"


def _stack() -> dict[str, Any]:
    return {
        "metadata": {"guid": STACK_GUID, "url": f"/v2/stacks/{STACK_GUID}", "created_at": _STAMP, "updated_at": _STAMP},
        "entity": {"name": STACK, "description": "The file system of the machine that netlab runs on"},
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
