"""The one stack. Apps see the machine's own file system; the name is the one that clients and manifests use."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call
from netlab.capi.errors import missing
from netlab.capi.listing import check_parameters, constant

STACK = "cflinuxfs3"
STACK_GUID = str(uuid.uuid5(uuid.NAMESPACE_DNS, STACK))
STACK_DESCRIPTION = "The file system of the machine that netlab runs on"
STACK_STAMP = "2018-10-01T00:00:00Z"


def _stack(call: Call) -> dict[str, Any]:
    return {
        "guid": STACK_GUID,
        "created_at": STACK_STAMP,
        "updated_at": STACK_STAMP,
        "name": STACK,
        "description": STACK_DESCRIPTION,
        "build_rootfs_image": STACK,
        "run_rootfs_image": STACK,
        "default": True,
        "metadata": {"labels": {}, "annotations": {}},
        "links": {"self": call.link(f"/v3/stacks/{STACK_GUID}")},
    }


def list_stacks(call: Call) -> Response:
    """GET /v3/stacks."""
    check_parameters(call, ("page", "per_page", "order_by", "names", "guids", "default", "label_selector"))
    names, guids = call.query.get("names", STACK), call.query.get("guids", STACK_GUID)
    wanted = STACK in names.split(",") and STACK_GUID in guids.split(",") and "label_selector" not in call.query
    return constant(call, [_stack(call)] if wanted else [])


def show_stack(call: Call) -> Response:
    """GET /v3/stacks/:guid."""
    if call.guid != STACK_GUID:
        raise missing("Stack")
    return JSONResponse(_stack(call))
