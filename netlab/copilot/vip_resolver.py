"""`api.VIPResolverCopilot`: the virtual IP of an internal route, for the cells' DNS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from netlab.copilot.state import State
from netlab.protocols import copilot_pb2 as api
from netlab.protocols import copilot_pb2_grpc

if TYPE_CHECKING:
    from typing import Any

    from grpc.aio import ServicerContext

    _Context = ServicerContext[Any, Any]


class VipResolver(copilot_pb2_grpc.VIPResolverCopilotServicer):
    """Answers from the state."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def Health(  # noqa: N802
        self, request: api.HealthRequest, context: _Context
    ) -> api.HealthResponse:
        """Copilot serves."""
        return api.HealthResponse(healthy=True)

    async def GetVIPByName(  # noqa: N802
        self, request: api.GetVIPByNameRequest, context: _Context
    ) -> api.GetVIPByNameResponse:
        """The address of a name; UNKNOWN, as the original has it, for a name that is no internal route."""
        vip = self._state.vip_of(request.fqdn.rstrip("."))
        if vip is None:
            await context.abort(grpc.StatusCode.UNKNOWN, f"route doesn't exist: {request.fqdn}")
        return api.GetVIPByNameResponse(ip=vip)
