"""Processes: what an app runs, how often, and how its instances fare."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.apps import renew
from netlab.capi.call import Call, Transaction
from netlab.capi.documents import common, metadata, stamp, to_one, update_metadata
from netlab.capi.errors import missing, runner_unavailable, stats_unavailable, unprocessable
from netlab.capi.listing import Listing, among
from netlab.capi.messages import ProcessScale, ProcessUpdate
from netlab.capi.models import App, Process, Space, now
from netlab.capi.rollout import diego_guids, in_flight, versions_of
from netlab.capi.usage import Usage
from netlab.protocols import bbs_pb2 as bbs

_PROCESSES = Listing(
    Process,
    {
        "guids": among(Process.guid),
        "types": among(Process.type),
        "app_guids": among(Process.app_guid),
        "space_guids": lambda guids: Process.app.has(App.space_guid.in_(guids)),
        "organization_guids": lambda guids: Process.app.has(App.space.has(Space.organization_guid.in_(guids))),
    },
)
_STATES = {"UNCLAIMED": "STARTING", "CLAIMED": "STARTING", "RUNNING": "RUNNING", "CRASHED": "CRASHED"}
_MEBIBYTE = 1024 * 1024
_FDS = 16_384
_INDEX_DIGITS = 9


def _find(call: Call, transaction: Transaction) -> Process:
    """The process in the path: by its own guid, or by an app's guid and a type."""
    kind = call.parameters.get("type")
    if kind is None:
        return transaction.get(Process, call.guid)
    app = transaction.get(App, call.guid)
    for process in app.processes:
        if process.type == kind:
            return process
    raise missing("Process")


def _process(call: Call, process: Process) -> dict[str, Any]:
    path = f"/v3/processes/{process.guid}"
    check = {"timeout": None, "invocation_timeout": None, "interval": None, **process.health_check_data}
    return {
        **common(process),
        "type": process.type,
        "command": process.command,
        "instances": process.instances,
        "memory_in_mb": process.memory_in_mb,
        "disk_in_mb": process.disk_in_mb,
        "log_rate_limit_in_bytes_per_second": -1,
        "health_check": {"type": process.health_check_type, "data": check},
        "version": process.version,
        "relationships": {"app": to_one(process.app_guid), "revision": None},
        "metadata": metadata(process),
        "links": {
            "self": call.link(path),
            "scale": call.link(f"{path}/actions/scale", "POST"),
            "app": call.link(f"/v3/apps/{process.app_guid}"),
            "space": call.link(f"/v3/spaces/{process.app.space_guid}"),
            "stats": call.link(f"{path}/stats"),
        },
    }


def _listed(call: Call, process: Process) -> dict[str, Any]:
    hidden = process.command and "[PRIVATE DATA HIDDEN IN LISTS]"
    return _process(call, process) | {"command": hidden}


def list_processes(call: Call) -> Response:
    """GET /v3/processes."""
    with call.transaction() as transaction:
        return _PROCESSES.answer(call, transaction, _listed)


def list_app_processes(call: Call) -> Response:
    """GET /v3/apps/:guid/processes."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        return _PROCESSES.answer(call, transaction, _listed, Process.app_guid == app.guid)


def show_process(call: Call) -> Response:
    """GET /v3/processes/:guid and /v3/apps/:guid/processes/:type."""
    with call.transaction() as transaction:
        return JSONResponse(_process(call, _find(call, transaction)))


def update_process(call: Call) -> Response:
    """PATCH of a process: command and health check; running instances keep theirs until a restart."""
    message = call.message(ProcessUpdate)
    with call.transaction() as transaction:
        process = _find(call, transaction)
        configure(process, message)
        update_metadata(process, message.metadata)
        transaction.session.flush()
        return JSONResponse(_process(call, process))


def configure(process: Process, message: ProcessUpdate) -> None:
    """Give a process another command or health check."""
    if "command" in message.model_fields_set:
        process.command = message.command
    if message.health_check is not None:
        if message.health_check.type is not None:
            process.health_check_type = message.health_check.type
        if message.health_check.data is not None:
            process.health_check_data = message.health_check.data.model_dump(exclude_none=True)


def scale_process(call: Call) -> Response:
    """POST …/actions/scale: the number of instances at once; other quotas of a running process renew it."""
    message = call.message(ProcessScale)
    with call.transaction() as transaction:
        process = _find(call, transaction)
        scale(transaction, process, message)
        transaction.session.flush()
        return JSONResponse(_process(call, process), 202)


def scale(transaction: Transaction, process: Process, message: ProcessScale) -> None:
    """Give a process another number of instances or other quotas, and tell Diego if it runs."""
    if message.log_rate_limit_in_bytes_per_second not in (None, -1):
        raise unprocessable("Log rate limit is not supported: it must be -1")
    if process.type == "web" and in_flight(transaction.session, process.app_guid) is not None:
        raise unprocessable("Cannot scale this process while a deployment is in flight.")
    quotas = process.memory_in_mb, process.disk_in_mb
    instances = process.instances
    if message.instances is not None:
        process.instances = message.instances
    if message.memory_in_mb is not None:
        process.memory_in_mb = message.memory_in_mb
    if message.disk_in_mb is not None:
        process.disk_in_mb = message.disk_in_mb
    process.updated_at = now()
    if process.app.state == "STARTED":
        if (process.memory_in_mb, process.disk_in_mb) != quotas:
            renew(transaction, process)
        elif process.instances != instances:
            update = bbs.DesiredLRPUpdate(instances=process.instances)
            transaction.diego.append(bbs.UpdateDesiredLRPRequest(process_guid=process.diego_guid, update=update))


async def delete_instance(call: Call) -> Response:
    """DELETE …/instances/:index: another instance takes its place; raises 503 if the BBS does not answer."""
    with call.transaction() as transaction:
        process = _find(call, transaction)
        index = call.parameters["index"]
        if not (index.isascii() and index.isdigit() and len(index) <= _INDEX_DIGITS and int(index) < process.instances):
            raise missing("Instance")
        started = process.app.state == "STARTED"
        guids = diego_guids(process.guid, versions_of(transaction.session, process)) if started else []
    try:
        for guid in guids:
            await call.api.diego.retire(guid, int(index))
    except ConnectionError:
        raise runner_unavailable() from None
    return Response(status_code=204)


async def show_stats(call: Call) -> Response:
    """GET …/stats: each instance as the BBS knows it; raises 503 if the BBS does not answer."""
    with call.transaction() as transaction:
        process = _find(call, transaction)
        app = process.app
    return JSONResponse({"resources": await stats(call, app, process)})


async def stats(call: Call, app: App, process: Process) -> list[dict[str, Any]]:
    """The instances of a process as the BBS knows them, by index; raises 503 if the BBS does not answer.

    To be called when the transaction that read the app and its process is over, as the answer takes its time.
    """
    if app.state != "STARTED":
        return [_down(process.type, index, "") for index in range(process.instances)]
    quotas = {
        "mem_quota": process.memory_in_mb * _MEBIBYTE,
        "disk_quota": process.disk_in_mb * _MEBIBYTE,
    }
    with call.transaction() as transaction:
        guids = diego_guids(process.guid, versions_of(transaction.session, process))
    try:
        lrps = [lrp for guid in guids for lrp in await call.api.diego.actual_lrps(guid)]
        usage = await call.api.diego.usage({lrp.actual_lrp_instance_key.cell_id for lrp in lrps} - {""})
    except ConnectionError:
        raise stats_unavailable() from None
    return _stats(process.type, process.instances, quotas, lrps, usage)


def _stats(
    kind: str, instances: int, quotas: dict[str, int], lrps: Sequence[bbs.ActualLRP], usage: Usage
) -> list[dict[str, Any]]:
    """One entry an index: of several instances one that runs, and one that is to stay before one that is to go."""
    by_index: dict[int, bbs.ActualLRP] = {}
    for lrp in lrps:
        index = lrp.actual_lrp_key.index
        if index not in by_index or _merit(lrp) >= _merit(by_index[index]):
            by_index[index] = lrp
    resources = []
    for index in range(instances):
        present = by_index.get(index)
        if present is None:
            resources.append(_down(kind, index, ""))
        elif _STATES.get(present.state) != "RUNNING":
            state = _STATES.get(present.state, "DOWN")
            details = present.crash_reason or present.placement_error
            resources.append(_down(kind, index, details) | {"state": state, "uptime": _uptime(present)})
        else:
            used = usage.get(present.actual_lrp_instance_key.instance_guid, {})
            resources.append(_running(kind, present, used) | quotas)
    return resources


def _merit(lrp: bbs.ActualLRP) -> tuple[bool, bool]:
    return lrp.state == "RUNNING", lrp.presence == bbs.ActualLRP.ORDINARY


def _uptime(lrp: bbs.ActualLRP) -> int:
    return max(0, int(time.time() - lrp.since / 1e9)) if lrp.since else 0


def _down(kind: str, index: int, details: str) -> dict[str, Any]:
    return {
        "type": kind,
        "index": index,
        "state": "DOWN",
        "uptime": 0,
        "isolation_segment": None,
        "details": details or None,
    }


def _running(kind: str, lrp: bbs.ActualLRP, used: Mapping[str, Any]) -> dict[str, Any]:
    net = lrp.actual_lrp_net_info
    return {
        "type": kind,
        "index": lrp.actual_lrp_key.index,
        "instance_guid": lrp.actual_lrp_instance_key.instance_guid,
        "state": "RUNNING",
        # As the Cloud Controller has it, an instance that cannot be asked uses nothing.
        "usage": {
            "time": stamp(now()),
            "cpu": used.get("cpu", 0.0),
            "mem": used.get("memory", 0),
            "disk": used.get("disk", 0),
            "log_rate": 0,
        },
        "host": net.address,
        "instance_internal_ip": net.instance_address,
        "instance_ports": [
            {
                "external": port.host_port or None,
                "internal": port.container_port,
                "external_tls_proxy_port": port.host_tls_proxy_port or None,
                "internal_tls_proxy_port": port.container_tls_proxy_port or None,
            }
            for port in net.ports
        ],
        "uptime": _uptime(lrp),
        "fds_quota": _FDS,
        "isolation_segment": None,
        "details": None,
    }
