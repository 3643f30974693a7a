"""What the Cloud Controller tells others when its state changes, and the promise it is told under.

A change is enqueued after the transaction that made it was committed, so a peer never hears of something
that a client was not told, and a peer's outage never fails a request. A link delivers its changes in order
and each at most once; when it cannot, it forgets them all and brings the peer to the database's state as
soon as the peer answers again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from netlab.capi.usage import Usage
from netlab.protocols import bbs_pb2 as bbs
from netlab.protocols import copilot_pb2 as copilot

CopilotChange = (
    copilot.UpsertRouteRequest
    | copilot.DeleteRouteRequest
    | copilot.MapRouteRequest
    | copilot.UnmapRouteRequest
    | copilot.UpsertCapiDiegoProcessAssociationRequest
    | copilot.DeleteCapiDiegoProcessAssociationRequest
)


@dataclass(frozen=True)
class RefreshRoutes:
    """The routes of a process changed; the link reads them when it comes to it, so that a burst is one update."""

    process_guid: str


DiegoChange = bbs.DesireLRPRequest | bbs.UpdateDesiredLRPRequest | bbs.RemoveDesiredLRPRequest | RefreshRoutes


class CopilotLink(Protocol):
    """Where changes for Copilot go."""

    def put(self, changes: Sequence[CopilotChange]) -> None:
        """Enqueue changes; returns at once and never fails."""


class DiegoLink(Protocol):
    """Where changes for the BBS go, and where the state of instances comes from."""

    def put(self, changes: Sequence[DiegoChange]) -> None:
        """Enqueue changes; returns at once and never fails."""

    async def actual_lrps(self, process_guid: str) -> Sequence[bbs.ActualLRP]:
        """The instances of a Diego process; raises ConnectionError if the BBS does not answer."""

    async def usage(self, cells: Collection[str]) -> Usage:
        """What the instances on some cells use; those that cannot be asked are left out."""

    async def retire(self, process_guid: str, index: int) -> None:
        """Have an instance of a Diego process replaced; raises ConnectionError if the BBS does not answer."""

    async def follow(self, changed: asyncio.Event) -> None:
        """Set `changed` at the beginning and whenever instances change; ends with ConnectionError."""


Weights = Mapping[str, int]
"""The processes that a route is mapped to, and the weight of each as Copilot knows it."""


def mapping_changes(route_guid: str, before: Weights, after: Weights) -> list[CopilotChange]:
    """What leads Copilot from one state of a route's mappings to another.

    New mappings come before the removal of old ones, so that a route that is moved from one app to another
    always has somewhere to go. A changed weight is one `MapRoute`: the same route and process are one mapping.
    """

    def mapping(process_guid: str, weight: int) -> copilot.RouteMapping:
        return copilot.RouteMapping(capi_process_guid=process_guid, route_guid=route_guid, route_weight=weight)

    changes: list[CopilotChange] = [
        copilot.MapRouteRequest(route_mapping=mapping(guid, weight))
        for guid, weight in after.items()
        if before.get(guid) != weight
    ]
    changes.extend(
        copilot.UnmapRouteRequest(route_mapping=mapping(guid, weight))
        for guid, weight in before.items()
        if guid not in after
    )
    return changes


def associate(process_guid: str, diego_guids: Iterable[str]) -> copilot.UpsertCapiDiegoProcessAssociationRequest:
    """Tells Copilot which Diego processes run a process of the Cloud Controller."""
    return copilot.UpsertCapiDiegoProcessAssociationRequest(
        capi_diego_process_association=copilot.CapiDiegoProcessAssociation(
            capi_process_guid=process_guid, diego_process_guids=diego_guids
        )
    )


def dissociate(process_guid: str) -> copilot.DeleteCapiDiegoProcessAssociationRequest:
    """Tells Copilot that a process runs no longer."""
    return copilot.DeleteCapiDiegoProcessAssociationRequest(capi_process_guid=process_guid)
