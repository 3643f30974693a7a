"""Deployments: an app's instances are replaced by new ones, a few at a time, while the app serves.

Each new instance that runs lets an old one go. A new version that does not come up halts there, with the old one
serving, until the deployment is canceled or another one supersedes it. Stopping or deleting the app cancels it.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi import apps
from netlab.capi.call import Call, Transaction
from netlab.capi.changes import associate
from netlab.capi.desired import process_lrp
from netlab.capi.documents import common, metadata, stamp, to_one, update_metadata
from netlab.capi.errors import missing, unprocessable
from netlab.capi.listing import Listing, among
from netlab.capi.messages import DeploymentCreate
from netlab.capi.models import App, Deployment, Droplet, Process, new_guid, now
from netlab.capi.rollout import (
    ACTIVE,
    CANCELING,
    DEPLOYED,
    SUPERSEDED,
    advance,
    diego_guids,
    finish,
    in_flight,
    version_changes,
    versions_of,
)
from netlab.protocols import bbs_pb2 as bbs

STRATEGY = "rolling"
_DEPLOYMENTS = Listing(
    Deployment,
    {
        "guids": among(Deployment.guid),
        "app_guids": among(Deployment.app_guid),
        "status_values": among(Deployment.status_value),
        "status_reasons": among(Deployment.status_reason),
    },
)


def _deployment(call: Call, deployment: Deployment) -> dict[str, Any]:
    path = f"/v3/deployments/{deployment.guid}"
    active = deployment.status_value == ACTIVE
    return {
        **common(deployment),
        "status": {
            "value": deployment.status_value,
            "reason": deployment.status_reason,
            "details": {
                "last_successful_healthcheck": stamp(deployment.healthy_at),
                "last_status_change": stamp(deployment.status_changed_at),
            },
        },
        "strategy": deployment.strategy,
        "options": {"max_in_flight": deployment.max_in_flight},
        "droplet": {"guid": deployment.droplet_guid},
        "previous_droplet": {"guid": deployment.previous_droplet_guid},
        "new_processes": [{"guid": web_process(deployment.app).guid, "type": "web"}],
        "revision": None,
        "metadata": metadata(deployment),
        "relationships": {"app": to_one(deployment.app_guid)},
        "links": {
            "self": call.link(path),
            "app": call.link(f"/v3/apps/{deployment.app_guid}"),
            **({"cancel": call.link(f"{path}/actions/cancel", "POST")} if active else {}),
        },
    }


def list_deployments(call: Call) -> Response:
    """GET /v3/deployments."""
    with call.transaction() as transaction:
        return _DEPLOYMENTS.answer(call, transaction, _deployment)


def show_deployment(call: Call) -> Response:
    """GET /v3/deployments/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_deployment(call, transaction.get(Deployment, call.guid)))


def create_deployment(call: Call) -> Response:
    """POST /v3/deployments; a stopped app is started, which is a deployment that is over at once."""
    message = call.message(DeploymentCreate)
    if message.strategy not in (None, STRATEGY):
        raise unprocessable(f"Strategy '{message.strategy}' is not a supported deployment strategy: use '{STRATEGY}'")
    if message.revision is not None:
        raise unprocessable("Cannot create deployment from a revision for an app without revisions enabled")
    options = message.options
    with call.transaction() as transaction:
        reference = message.relationships.app.data
        app = reference and transaction.session.get(App, reference.guid)
        if not app:
            raise unprocessable("Unable to use app. Ensure that the app exists and you have access to it.")
        previous = app.current_droplet_guid
        if message.droplet is not None:
            droplet = transaction.session.get(Droplet, message.droplet.guid)
            if droplet is None or droplet.app_guid != app.guid:
                raise unprocessable(
                    "Unable to assign current droplet. Ensure the droplet exists and belongs to this app."
                )
            app.current_droplet_guid = droplet.guid
        deployment = begin(transaction, app, (options and options.max_in_flight) or 1)
        deployment.droplet_guid, deployment.previous_droplet_guid = app.current_droplet_guid, previous
        update_metadata(deployment, message.metadata)
        transaction.session.flush()
        answer = JSONResponse(_deployment(call, deployment), 201)
    call.api.deployments.set()
    return answer


def begin(transaction: Transaction, app: App, max_in_flight: int) -> Deployment:
    """Begin to replace an app's instances, at most `max_in_flight` at a time; raises 422 if there is nothing to run."""
    session = transaction.session
    process = web_process(app)
    apps.check_startable(process)
    running = app.state == "STARTED"
    if not running:
        apps.start(transaction, app)
    superseded = in_flight(session, app.guid)
    before = versions_of(session, process)
    deployment = Deployment(app=app, strategy=STRATEGY, max_in_flight=max_in_flight, labels={}, annotations={})
    session.add(deployment)
    if not running:
        finish(deployment, DEPLOYED)
        return deployment
    if superseded is not None:
        finish(superseded, SUPERSEDED)
    process.version = new_guid()
    deployment.versions = advance(before, process.version, process.instances, max_in_flight, 0)
    session.flush()
    transaction.copilot.append(associate(process.guid, diego_guids(process.guid, deployment.versions)))
    lrp = process_lrp(session, process, transaction.config)
    lrp.instances = deployment.versions[process.version]
    transaction.diego.append(bbs.DesireLRPRequest(desired_lrp=lrp))
    transaction.diego += version_changes(process.guid, before, deployment.versions)
    return deployment


def cancel_deployment(call: Call) -> Response:
    """POST /v3/deployments/:guid/actions/cancel: the oldest version takes the place of the others again."""
    with call.transaction() as transaction:
        deployment = transaction.get(Deployment, call.guid)
        if deployment.status_value != ACTIVE:
            raise unprocessable(f"Cannot cancel a {deployment.status_value} deployment")
        if deployment.status_reason != CANCELING:
            deployment.status_reason = CANCELING
            deployment.status_changed_at = now()
            process = web_process(deployment.app)
            process.version = next(iter(deployment.versions))
            before = deployment.versions
            deployment.versions = {**before, process.version: process.instances}
            transaction.diego += version_changes(process.guid, before, deployment.versions)
    call.api.deployments.set()
    return Response(status_code=200)


def web_process(app: App) -> Process:
    """The process that deployments are about."""
    for process in app.processes:
        if process.type == "web":
            return process
    raise missing("Process")
