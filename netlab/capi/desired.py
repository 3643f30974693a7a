"""What Copilot and the BBS should know, read from the database.

Columns are read instead of objects: a sync of 20,000 routes must not hold up the requests of others.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session, joinedload, sessionmaker

from netlab.capi.changes import associate
from netlab.capi.config import CapiConfig
from netlab.capi.models import App, Deployment, Destination, Domain, Process, Route, Space
from netlab.capi.recipe import Target, desired_lrp, lrp_routes
from netlab.capi.rollout import ACTIVE, diego_guids, versions_of
from netlab.protocols import bbs_pb2 as bbs
from netlab.protocols import copilot_pb2 as copilot

WEIGHT_MAX = 128
_IS_PROCESS = and_(Process.app_guid == Destination.app_guid, Process.type == Destination.process_type)


def copilot_route(
    guid: str, fqdn: str, path: str, internal: bool, vip_offset: int | None, config: CapiConfig
) -> copilot.Route:
    """A route as Copilot is told of it; an internal one with the address that its offset stands for."""
    vip = "" if vip_offset is None else str(config.internal_route_vip_range[vip_offset])
    return copilot.Route(guid=guid, host=fqdn, path=path, internal=internal, vip=vip)


def route_weights(session: Session, *conditions: ColumnElement[bool]) -> dict[str, dict[str, int]]:
    """For each route that meets the conditions, the weight of each process that it is mapped to.

    Copilot knows one mapping for a route and a process, so two ports of one process share it.
    """
    rows = session.execute(
        select(Destination.route_guid, Process.guid, Destination.weight)
        .join(Process, _IS_PROCESS)
        .where(*conditions)
        .order_by(Destination.position)
    )
    found: dict[str, dict[str, int]] = {}
    for route_guid, process_guid, weight in rows:
        weights = found.setdefault(route_guid, {})
        weights[process_guid] = min(WEIGHT_MAX, weights.get(process_guid, 0) + (weight or 1))
    return found


def app_targets(session: Session, *conditions: ColumnElement[bool]) -> dict[str, list[Target]]:
    """The routes that lead to each app whose destinations meet the conditions, oldest first."""
    rows = session.execute(
        select(
            Destination.app_guid,
            Destination.process_type,
            Destination.port,
            Route.host,
            Route.path,
            Domain.name,
            Domain.internal,
        )
        .join(Route, Route.guid == Destination.route_guid)
        .join(Domain, Domain.guid == Route.domain_guid)
        .where(*conditions)
        .order_by(Destination.position)
    )
    found: dict[str, list[Target]] = {}
    for app_guid, process_type, port, host, path, domain, internal in rows:
        fqdn = f"{host}.{domain}" if host else domain
        found.setdefault(app_guid, []).append(Target(process_type, fqdn, path, internal, port))
    return found


def process_targets(session: Session, process: Process) -> list[Target]:
    """The routes that lead to one process."""
    found = app_targets(session, Destination.app_guid == process.app_guid, Destination.process_type == process.type)
    return found.get(process.app_guid, [])


def process_lrp(session: Session, process: Process, config: CapiConfig) -> bbs.DesiredLRP:
    """One process as Diego is asked to run it."""
    return desired_lrp(process, process_targets(session, process), config)


def routes_updates(sessions: sessionmaker[Session], process_guid: str) -> list[bbs.UpdateDesiredLRPRequest]:
    """The present routes of a process as updates of its LRPs; none if it does not run."""
    with sessions() as session:
        process = session.scalar(
            select(Process).join(Process.app).where(Process.guid == process_guid, App.state == "STARTED")
        )
        if process is None:
            return []
        update = bbs.DesiredLRPUpdate(routes=lrp_routes(process_targets(session, process), process.app.port))
        return [
            bbs.UpdateDesiredLRPRequest(process_guid=guid, update=update)
            for guid in diego_guids(process.guid, versions_of(session, process))
        ]


def replaced(session: Session) -> dict[str, dict[str, int]]:
    """For each process of which one version replaces another: how many instances of each Diego is to run."""
    rows = session.execute(
        select(Process.guid, Deployment.versions)
        .join(Process, and_(Process.app_guid == Deployment.app_guid, Process.type == "web"))
        .where(Deployment.status_value == ACTIVE)
    )
    return {row.guid: row.versions for row in rows}


def copilot_state(sessions: sessionmaker[Session], config: CapiConfig) -> copilot.BulkSyncRequest:
    """Every route of the mesh, every mapping of such a route, and what runs each started process."""
    with sessions() as session:
        rows = session.execute(
            select(Route.guid, Route.host, Route.path, Route.vip_offset, Domain.name, Domain.internal)
            .join(Domain, Domain.guid == Route.domain_guid)
            .order_by(Route.position)
        )
        routes = [
            copilot_route(guid, f"{host}.{domain}" if host else domain, path, internal, offset, config)
            for guid, host, path, offset, domain, internal in rows
            if config.in_mesh(domain, internal)
        ]
        weights = route_weights(session)
        several = replaced(session)
        started = session.execute(
            select(Process.guid, Process.version)
            .join(App, App.guid == Process.app_guid)
            .where(App.state == "STARTED")
            .order_by(Process.position)
        )
        return copilot.BulkSyncRequest(
            routes=routes,
            route_mappings=[
                copilot.RouteMapping(capi_process_guid=process_guid, route_guid=route.guid, route_weight=weight)
                for route in routes
                for process_guid, weight in weights.get(route.guid, {}).items()
            ],
            capi_diego_process_associations=[
                associate(guid, diego_guids(guid, several.get(guid, [version]))).capi_diego_process_association
                for guid, version in started
            ],
        )


def diego_state(sessions: sessionmaker[Session], config: CapiConfig) -> list[bbs.DesiredLRP]:
    """Every started process as a desired LRP, or several while one version of it replaces another."""
    with sessions() as session:
        processes: Sequence[Process] = session.scalars(
            select(Process)
            .join(Process.app)
            .where(App.state == "STARTED")
            .options(joinedload(Process.app).joinedload(App.space).joinedload(Space.organization))
            .order_by(Process.position)
        ).all()
        targets = app_targets(session)
        several = replaced(session)
        return [
            desired_lrp(
                process,
                [t for t in targets.get(process.app_guid, []) if t.process_type == process.type],
                config,
                version,
                instances,
            )
            for process in processes
            for version, instances in several.get(process.guid, {process.version: process.instances}).items()
        ]
