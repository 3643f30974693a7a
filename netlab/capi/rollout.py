"""How a process's instances become those of another version, step by step.

`versions` says how many instances of each version Diego is to run, the oldest version first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from netlab.capi.models import Deployment, Process, diego_guid, now
from netlab.protocols import bbs_pb2 as bbs

ACTIVE, FINALIZED = "ACTIVE", "FINALIZED"
DEPLOYING, CANCELING = "DEPLOYING", "CANCELING"
DEPLOYED, CANCELED, SUPERSEDED = "DEPLOYED", "CANCELED", "SUPERSEDED"
Versions = Mapping[str, int]
VersionChange = bbs.UpdateDesiredLRPRequest | bbs.RemoveDesiredLRPRequest


def advance(versions: Versions, target: str, wanted: int, in_flight: int, running: int) -> dict[str, int]:
    """The next step towards `wanted` instances of `target`, of which `running` serve already.

    So many of the others go as have a successor that serves, and `in_flight` more successors are begun. Of the others
    the newest version goes first: it is the one that never got as far as to serve alone. The way is at its end when
    only the target is left.
    """
    after = dict(versions)
    after[target] = max(after.get(target, 0), min(wanted, running + in_flight))
    others = [version for version in versions if version != target]
    surplus = sum(versions[version] for version in others) - max(0, wanted - running)
    for version in reversed(others):
        going = max(0, min(surplus, after[version]))
        after[version] -= going
        surplus -= going
        if not after[version]:
            del after[version]
    return after


def version_changes(process_guid: str, before: Versions, after: Versions) -> list[VersionChange]:
    """What Diego is told so that it runs `after` instead of `before`; versions that are new are not its subject.

    What is to grow comes first: were the rest lost, there would be too many instances and not too few.
    """
    growing: list[VersionChange] = []
    shrinking: list[VersionChange] = []
    for version, instances in before.items():
        guid = diego_guid(process_guid, version)
        if version not in after:
            shrinking.append(bbs.RemoveDesiredLRPRequest(process_guid=guid))
        elif after[version] != instances:
            update = bbs.DesiredLRPUpdate(instances=after[version])
            change = bbs.UpdateDesiredLRPRequest(process_guid=guid, update=update)
            (growing if after[version] > instances else shrinking).append(change)
    return growing + shrinking


def serving(lrps: Iterable[bbs.ActualLRP], wanted: int) -> int:
    """How many of the first `wanted` instances run where they are to stay."""
    return len(
        {
            lrp.actual_lrp_key.index
            for lrp in lrps
            if lrp.state == "RUNNING" and lrp.presence == bbs.ActualLRP.ORDINARY and lrp.actual_lrp_key.index < wanted
        }
    )


def in_flight(session: Session, app_guid: str) -> Deployment | None:
    """The deployment of an app that is under way; there is at most one."""
    return session.scalar(select(Deployment).where(Deployment.app_guid == app_guid, Deployment.status_value == ACTIVE))


def versions_of(session: Session, process: Process) -> dict[str, int]:
    """The versions of a started process that Diego is to run, the oldest first, and how many instances of each."""
    deployment = in_flight(session, process.app_guid) if process.type == "web" else None
    return deployment.versions if deployment is not None else {process.version: process.instances}


def diego_guids(process_guid: str, versions: Iterable[str]) -> list[str]:
    """The Diego process guids of some versions."""
    return [diego_guid(process_guid, version) for version in versions]


def finish(deployment: Deployment, reason: str) -> None:
    """End a deployment for this reason; it says nothing any more about what is to run."""
    deployment.status_value = FINALIZED
    deployment.status_reason = reason
    deployment.status_changed_at = now()
