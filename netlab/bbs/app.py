"""The BBS's HTTP API: protobuf in, protobuf out, HTTP 200 whatever happens, and errors inside the response.

The paths are Diego's, but for `/v1/cells/heartbeat` (body `CellPresence`, response `ActualLRPLifecycleResponse`), which
stands for the presence that a rep registers in Locket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar, cast

from google.protobuf.message import DecodeError, Message
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from netlab.bbs import wire
from netlab.bbs.lrp import Instance
from netlab.bbs.presence import Presence
from netlab.bbs.refusal import ErrorType, Refused
from netlab.bbs.service import Service
from netlab.bbs.stream import EventStream, Hub
from netlab.protocols import bbs_pb2 as pb

PROTOBUF = "application/x-protobuf"
_Asked = TypeVar("_Asked", bound=Message)
_WithError: TypeAlias = (
    pb.ActualLRPLifecycleResponse
    | pb.ActualLRPsResponse
    | pb.CellsResponse
    | pb.DesiredLRPLifecycleResponse
    | pb.DesiredLRPResponse
    | pb.DesiredLRPsResponse
    | pb.DomainsResponse
    | pb.EvacuationResponse
    | pb.UpsertDomainResponse
)


def make_app(service: Service, presence: Presence, hub: Hub) -> Starlette:
    """The API over one service."""

    def desire(request: pb.DesireLRPRequest) -> None:
        service.desire(request.desired_lrp)

    def update(request: pb.UpdateDesiredLRPRequest) -> None:
        service.update(request.process_guid, request.update)

    def remove_desired(request: pb.RemoveDesiredLRPRequest) -> None:
        service.remove_desired(request.process_guid)

    def desired(request: pb.DesiredLRPsRequest) -> pb.DesiredLRPsResponse:
        guids = set(request.process_guids)
        return pb.DesiredLRPsResponse(
            desired_lrps=[
                lrp
                for guid, lrp in sorted(service.store.desired.items())
                if (not request.domain or lrp.domain == request.domain) and (not guids or guid in guids)
            ]
        )

    def desired_by_guid(request: pb.DesiredLRPByProcessGuidRequest) -> pb.DesiredLRPResponse:
        return pb.DesiredLRPResponse(desired_lrp=service.desired(request.process_guid))

    def actual(request: pb.ActualLRPsRequest) -> pb.ActualLRPsResponse:
        records = service.actual(
            domain=request.domain,
            cell_id=request.cell_id,
            process_guid=request.process_guid,
            index=request.index if request.HasField("index") else None,
        )
        return pb.ActualLRPsResponse(actual_lrps=[wire.actual_message(record) for record in records])

    def claim(request: pb.ClaimActualLRPRequest) -> None:
        service.claim(request.process_guid, request.index, _instance(request.actual_lrp_instance_key))

    def start(request: pb.StartActualLRPRequest) -> None:
        service.start(
            wire.key_of(request.actual_lrp_key),
            _instance(request.actual_lrp_instance_key),
            wire.net_of(request.actual_lrp_net_info),
        )

    def crash(request: pb.CrashActualLRPRequest) -> None:
        instance = _instance(request.actual_lrp_instance_key)
        service.crash(wire.key_of(request.actual_lrp_key), instance, request.error_message)

    def fail(request: pb.FailActualLRPRequest) -> None:
        service.fail(wire.key_of(request.actual_lrp_key), request.error_message)

    def remove(request: pb.RemoveActualLRPRequest) -> None:
        guarded = request.HasField("actual_lrp_instance_key")
        instance = wire.instance_of(request.actual_lrp_instance_key) if guarded else None
        service.remove(request.process_guid, request.index, instance)

    def retire(request: pb.RetireActualLRPRequest) -> None:
        service.retire(wire.key_of(request.actual_lrp_key))

    def evacuate_running(request: pb.EvacuateRunningActualLRPRequest) -> pb.EvacuationResponse:
        instance = _instance(request.actual_lrp_instance_key)
        key, net = wire.key_of(request.actual_lrp_key), wire.net_of(request.actual_lrp_net_info)
        return pb.EvacuationResponse(keep_container=service.evacuate_running(key, instance, net))

    def evacuate_claimed(request: pb.EvacuateClaimedActualLRPRequest) -> pb.EvacuationResponse:
        instance = _instance(request.actual_lrp_instance_key)
        keep = service.evacuate_claimed(wire.key_of(request.actual_lrp_key), instance)
        return pb.EvacuationResponse(keep_container=keep)

    def evacuate_crashed(request: pb.EvacuateCrashedActualLRPRequest) -> pb.EvacuationResponse:
        instance = _instance(request.actual_lrp_instance_key)
        service.crash(wire.key_of(request.actual_lrp_key), instance, request.error_message)
        return pb.EvacuationResponse(keep_container=False)

    def evacuate_stopped(request: pb.EvacuateStoppedActualLRPRequest) -> pb.EvacuationResponse:
        key = request.actual_lrp_key
        service.remove(key.process_guid, key.index, _instance(request.actual_lrp_instance_key))
        return pb.EvacuationResponse(keep_container=False)

    def remove_evacuating(request: pb.RemoveEvacuatingActualLRPRequest) -> None:
        service.remove_evacuating(wire.key_of(request.actual_lrp_key), _instance(request.actual_lrp_instance_key))

    def cells(_request: Message) -> pb.CellsResponse:
        return pb.CellsResponse(cells=[cell for _, cell in sorted(service.store.cells.items())])

    def heartbeat(request: pb.CellPresence) -> None:
        if not request.cell_id or not request.rep_url:
            raise Refused(ErrorType.InvalidRequest, "a cell's presence needs a cell_id and a rep_url")
        presence.heartbeat(request)

    def upsert_domain(request: pb.UpsertDomainRequest) -> None:
        service.upsert_domain(request.domain, request.ttl)

    def domains(_request: Message) -> pb.DomainsResponse:
        return pb.DomainsResponse(domains=service.fresh_domains())

    async def ping(_request: Request) -> Response:
        return Response(pb.PingResponse(available=True).SerializeToString(), media_type=PROTOBUF)

    async def events(request: Request) -> ASGIApp | Response:
        try:
            asked = pb.EventsByCellId.FromString(await request.body())
        except DecodeError:
            return Response("the body is no EventsByCellId", status_code=400)
        return cast("ASGIApp", EventStream(hub, asked.cell_id))

    lifecycle, lrp = pb.ActualLRPLifecycleResponse, pb.DesiredLRPLifecycleResponse
    evacuation = pb.EvacuationResponse
    return Starlette(
        routes=[
            Route("/v1/ping", ping, methods=["GET", "POST"]),
            _route("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest, lrp, desire),
            _route("/v1/desired_lrp/update", pb.UpdateDesiredLRPRequest, lrp, update),
            _route("/v1/desired_lrp/remove", pb.RemoveDesiredLRPRequest, lrp, remove_desired),
            _route("/v1/desired_lrps/list.r3", pb.DesiredLRPsRequest, pb.DesiredLRPsResponse, desired),
            _route(
                "/v1/desired_lrps/get_by_process_guid.r3",
                pb.DesiredLRPByProcessGuidRequest,
                pb.DesiredLRPResponse,
                desired_by_guid,
            ),
            _route("/v1/actual_lrps/list", pb.ActualLRPsRequest, pb.ActualLRPsResponse, actual),
            _route("/v1/actual_lrps/claim", pb.ClaimActualLRPRequest, lifecycle, claim),
            _route("/v1/actual_lrps/start", pb.StartActualLRPRequest, lifecycle, start),
            _route("/v1/actual_lrps/crash", pb.CrashActualLRPRequest, lifecycle, crash),
            _route("/v1/actual_lrps/fail", pb.FailActualLRPRequest, lifecycle, fail),
            _route("/v1/actual_lrps/remove", pb.RemoveActualLRPRequest, lifecycle, remove),
            _route("/v1/actual_lrps/retire", pb.RetireActualLRPRequest, lifecycle, retire),
            _route(
                "/v1/actual_lrps/evacuate_running", pb.EvacuateRunningActualLRPRequest, evacuation, evacuate_running
            ),
            _route(
                "/v1/actual_lrps/evacuate_claimed", pb.EvacuateClaimedActualLRPRequest, evacuation, evacuate_claimed
            ),
            _route(
                "/v1/actual_lrps/evacuate_crashed", pb.EvacuateCrashedActualLRPRequest, evacuation, evacuate_crashed
            ),
            _route(
                "/v1/actual_lrps/evacuate_stopped", pb.EvacuateStoppedActualLRPRequest, evacuation, evacuate_stopped
            ),
            _route(
                "/v1/actual_lrps/remove_evacuating", pb.RemoveEvacuatingActualLRPRequest, lifecycle, remove_evacuating
            ),
            _route("/v1/cells/list.r1", pb.EventsByCellId, pb.CellsResponse, cells),
            _route("/v1/cells/heartbeat", pb.CellPresence, lifecycle, heartbeat),
            _route("/v1/domains/list", pb.EventsByCellId, pb.DomainsResponse, domains),
            _route("/v1/domains/upsert", pb.UpsertDomainRequest, pb.UpsertDomainResponse, upsert_domain),
            Route("/v1/events/lrp_instances.r1", events, methods=["POST"]),
        ]
    )


def make_health_app() -> Starlette:
    """`GET /ping` for whoever watches the BBS."""

    async def ping(_request: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/ping", ping)])


def _instance(message: pb.ActualLRPInstanceKey) -> Instance:
    if not message.instance_guid or not message.cell_id:
        raise Refused(ErrorType.InvalidRequest, "an instance key needs an instance_guid and a cell_id")
    return wire.instance_of(message)


def _route(
    path: str,
    request_type: type[_Asked],
    response_type: type[_WithError],
    handle: Callable[[_Asked], _WithError | None],
) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            answer: Message = handle(request_type.FromString(await request.body())) or response_type()
        except DecodeError as error:
            answer = response_type(error=_error(ErrorType.InvalidProtobufMessage, str(error)))
        except Refused as error:
            answer = response_type(error=_error(error.kind, error.message))
        return Response(answer.SerializeToString(), media_type=PROTOBUF)

    return Route(path, endpoint, methods=["POST"])


def _error(kind: ErrorType, message: str) -> pb.Error:
    return pb.Error(type=cast("pb.Error.Type.ValueType", int(kind)), message=message)
