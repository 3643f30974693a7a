"""`api.CloudControllerCopilot`: what the Cloud Controller tells Copilot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NoReturn

import grpc
from google.protobuf.message import DecodeError

from netlab.copilot.model import Route
from netlab.copilot.state import State
from netlab.protocols import copilot_pb2 as api
from netlab.protocols import copilot_pb2_grpc

if TYPE_CHECKING:
    from typing import Any

    from grpc.aio import ServicerContext

    _Context = ServicerContext[Any, Any]

_MAX_WEIGHT = 128


class CloudController(copilot_pb2_grpc.CloudControllerCopilotServicer):
    """Validates each call (INVALID_ARGUMENT) and changes the state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.synced = asyncio.Event()
        """Set once the Cloud Controller said all that it knows."""

    async def Health(  # noqa: N802
        self, request: api.HealthRequest, context: _Context
    ) -> api.HealthResponse:
        """Copilot serves."""
        return api.HealthResponse(healthy=True)

    async def ListCfRoutes(  # noqa: N802
        self, request: api.ListCfRoutesRequest, context: _Context
    ) -> api.ListCfRoutesResponse:
        """Every route's host by guid."""
        return api.ListCfRoutesResponse(routes={r.guid: r.host for r in self._state.routes.values()})

    async def ListCfRouteMappings(  # noqa: N802
        self, request: api.ListCfRouteMappingsRequest, context: _Context
    ) -> api.ListCfRouteMappingsResponse:
        """Every mapping by `<route guid>-<CAPI process guid>`."""
        return api.ListCfRouteMappingsResponse(
            route_mappings={
                f"{route}-{process}": api.RouteMapping(route_guid=route, capi_process_guid=process, route_weight=weight)
                for (route, process), weight in self._state.mappings.items()
            }
        )

    async def ListCapiDiegoProcessAssociations(  # noqa: N802
        self, request: api.ListCapiDiegoProcessAssociationsRequest, context: _Context
    ) -> api.ListCapiDiegoProcessAssociationsResponse:
        """Diego process guids by CAPI process guid."""
        return api.ListCapiDiegoProcessAssociationsResponse(
            capi_diego_process_associations={
                process: api.DiegoProcessGuids(diego_process_guids=diego)
                for process, diego in self._state.associations.items()
            }
        )

    async def UpsertRoute(  # noqa: N802
        self, request: api.UpsertRouteRequest, context: _Context
    ) -> api.UpsertRouteResponse:
        """Add or change a route."""
        if not (request.route.guid and request.route.host):
            await _invalid(context, "route with guid and host is required")
        self._state.upsert_route(_route(request.route))
        return api.UpsertRouteResponse()

    async def DeleteRoute(  # noqa: N802
        self, request: api.DeleteRouteRequest, context: _Context
    ) -> api.DeleteRouteResponse:
        """Forget a route."""
        if not request.guid:
            await _invalid(context, "guid is required")
        self._state.delete_route(request.guid)
        return api.DeleteRouteResponse()

    async def MapRoute(  # noqa: N802
        self, request: api.MapRouteRequest, context: _Context
    ) -> api.MapRouteResponse:
        """Map a process to a route; again with another weight changes the weight."""
        mapping = await _mapping(request.route_mapping, context)
        self._state.map_route(mapping.route_guid, mapping.capi_process_guid, mapping.route_weight)
        return api.MapRouteResponse()

    async def UnmapRoute(  # noqa: N802
        self, request: api.UnmapRouteRequest, context: _Context
    ) -> api.UnmapRouteResponse:
        """Undo a mapping; the Cloud Controller is known to do so twice."""
        mapping = await _mapping(request.route_mapping, context)
        self._state.unmap_route(mapping.route_guid, mapping.capi_process_guid)
        return api.UnmapRouteResponse()

    async def UpsertCapiDiegoProcessAssociation(  # noqa: N802
        self, request: api.UpsertCapiDiegoProcessAssociationRequest, context: _Context
    ) -> api.UpsertCapiDiegoProcessAssociationResponse:
        """Say which Diego processes run a CAPI process."""
        association = request.capi_diego_process_association
        if not (association.capi_process_guid and association.diego_process_guids):
            await _invalid(context, "capi_process_guid and diego_process_guids are required")
        self._state.upsert_association(association.capi_process_guid, association.diego_process_guids)
        return api.UpsertCapiDiegoProcessAssociationResponse()

    async def DeleteCapiDiegoProcessAssociation(  # noqa: N802
        self, request: api.DeleteCapiDiegoProcessAssociationRequest, context: _Context
    ) -> api.DeleteCapiDiegoProcessAssociationResponse:
        """A CAPI process stopped."""
        if not request.capi_process_guid:
            await _invalid(context, "capi_process_guid is required")
        self._state.delete_association(request.capi_process_guid)
        return api.DeleteCapiDiegoProcessAssociationResponse()

    async def BulkSync(  # noqa: N802
        self, request_iterator: AsyncIterator[api.BulkSyncRequestChunk], context: _Context
    ) -> api.BulkSyncResponse:
        """Replace routes, mappings and associations at once; an empty request empties them."""
        body = bytearray()
        async for chunk in request_iterator:
            body += chunk.chunk
        try:
            request = api.BulkSyncRequest.FromString(bytes(body))
        except DecodeError:
            await _invalid(context, "the chunks are no BulkSyncRequest")
        apply_bulk_sync(self._state, request)
        self.synced.set()
        return api.BulkSyncResponse(total_bytes_received=len(body))


def apply_bulk_sync(state: State, request: api.BulkSyncRequest) -> None:
    """Make the state what the request says; a part that names nothing is passed over."""
    state.sync(
        {r.guid: _route(r) for r in request.routes if r.guid and r.host},
        {(m.route_guid, m.capi_process_guid): min(max(m.route_weight, 1), _MAX_WEIGHT) for m in request.route_mappings},
        {
            a.capi_process_guid: tuple(a.diego_process_guids)
            for a in request.capi_diego_process_associations
            if a.diego_process_guids
        },
    )


def as_bulk_sync(state: State) -> api.BulkSyncRequest:
    """The inverse of `apply_bulk_sync`."""
    return api.BulkSyncRequest(
        routes=[
            api.Route(guid=r.guid, host=r.host, path=r.path, internal=r.internal, vip=r.vip)
            for r in state.routes.values()
        ],
        route_mappings=[
            api.RouteMapping(route_guid=route, capi_process_guid=process, route_weight=weight)
            for (route, process), weight in state.mappings.items()
        ],
        capi_diego_process_associations=[
            api.CapiDiegoProcessAssociation(capi_process_guid=process, diego_process_guids=diego)
            for process, diego in state.associations.items()
        ],
    )


def _route(route: api.Route) -> Route:
    path = "" if route.path == "/" else route.path
    return Route(route.guid, route.host.lower(), path, route.internal, route.vip)


async def _mapping(mapping: api.RouteMapping, context: _Context) -> api.RouteMapping:
    if not (mapping.route_guid and mapping.capi_process_guid):
        await _invalid(context, "route_mapping with route_guid and capi_process_guid is required")
    if not 1 <= mapping.route_weight <= _MAX_WEIGHT:
        await _invalid(context, f"route_weight must be between 1 and {_MAX_WEIGHT}")
    return mapping


async def _invalid(context: _Context, message: str) -> NoReturn:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
    raise AssertionError  # abort raises; its stub does not say so
