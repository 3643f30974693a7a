"""The BBS's API without sockets: protobuf in and out, errors inside the response, events on the stream."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from google.protobuf.message import Message

from netlab.bbs.app import make_app
from netlab.bbs.presence import Presence
from netlab.bbs.service import Service
from netlab.bbs.store import Store
from netlab.bbs.stream import EventStream, Hub
from netlab.protocols import bbs_pb2 as pb

_Answer = TypeVar("_Answer", bound=Message)
INSTANCE = pb.ActualLRPInstanceKey(instance_guid="guid", cell_id="cell-1")
KEY = pb.ActualLRPKey(process_guid="web-1", index=0, domain="cf-apps")
NET = pb.ActualLRPNetInfo(address="10.0.2.1", ports=[pb.PortMapping(container_port=8080, host_port=61000)])


class Api:
    def __init__(self, store: Store) -> None:
        self.hub = Hub()
        self.service = Service(store, self.hub, logging.getLogger("test"))
        self.presence = Presence(store, 60, lambda _: self.service.converge_all(), lambda _: None)
        self.app = make_app(self.service, self.presence, self.hub)
        self.subscriber = self.hub.subscribe()

    async def post(self, path: str, body: Message | bytes, answer: type[_Answer]) -> _Answer:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://bbs") as client:
            content = body if isinstance(body, bytes) else body.SerializeToString()
            response = await client.post(f"/v1/{path}", content=content)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-protobuf"
        return answer.FromString(response.content)

    async def desire(self, instances: int = 1) -> None:
        desired = pb.DesiredLRP(process_guid="web-1", domain="cf-apps", instances=instances)
        answer = await self.post(
            "desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=desired), pb.DesiredLRPLifecycleResponse
        )
        assert not answer.HasField("error")

    async def lifecycle(self, verb: str, request: Message) -> pb.Error:
        return (await self.post(f"actual_lrps/{verb}", request, pb.ActualLRPLifecycleResponse)).error

    async def report_cell(self) -> None:
        cell = pb.CellPresence(cell_id="cell-1", rep_url="https://10.0.2.1:1801")
        await self.post("cells/heartbeat", cell, pb.ActualLRPLifecycleResponse)
        assert list((await self.post("cells/list.r1", b"", pb.CellsResponse)).cells) == [cell]

    async def start(self) -> None:
        claim = pb.ClaimActualLRPRequest(process_guid="web-1", index=0, actual_lrp_instance_key=INSTANCE)
        await self.lifecycle("claim", claim)
        await self.lifecycle(
            "start",
            pb.StartActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=INSTANCE, actual_lrp_net_info=NET),
        )

    async def actual(self, **fields: Any) -> list[pb.ActualLRP]:
        request = pb.ActualLRPsRequest(**fields)
        return list((await self.post("actual_lrps/list", request, pb.ActualLRPsResponse)).actual_lrps)

    async def events(self) -> list[str]:
        return [event for event, _ in parse(await self.subscriber.take())]


def parse(stream: bytes) -> list[tuple[str, bytes]]:
    events = []
    for block in stream.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        assert set(fields) == {"id", "event", "data"}
        events.append((fields["event"], base64.b64decode(fields["data"])))
    return events


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[Callable[[Api], Awaitable[None]]], None]]:
    store = Store(f"sqlite:///{tmp_path}/bbs.sqlite3")

    def run(body: Callable[[Api], Awaitable[None]]) -> None:
        async def inside() -> None:
            await body(Api(store))

        asyncio.run(inside())

    yield run
    store.close()


def test_an_app_from_desire_to_removal(run: Any) -> None:
    async def body(api: Api) -> None:
        await api.desire()
        assert [lrp.state for lrp in await api.actual()] == ["UNCLAIMED"]
        await api.report_cell()
        await api.start()
        (lrp,) = await api.actual(process_guid="web-1", index=0)
        assert (lrp.state, lrp.actual_lrp_net_info) == ("RUNNING", NET)
        assert await api.actual(cell_id="cell-2") == []
        assert await api.actual(domain="other") == []
        request = pb.RemoveDesiredLRPRequest(process_guid="web-1")
        await api.post("desired_lrp/remove", request, pb.DesiredLRPLifecycleResponse)
        assert [lrp.state for lrp in await api.actual()] == ["RUNNING"]
        removal = pb.RemoveActualLRPRequest(process_guid="web-1", index=0, actual_lrp_instance_key=INSTANCE)
        assert (await api.lifecycle("remove", removal)).type == 0
        assert await api.actual() == []
        assert await api.events() == [
            "desired_lrp_created",
            "actual_lrp_instance_created",
            "actual_lrp_instance_changed",
            "actual_lrp_instance_changed",
            "desired_lrp_removed",
            "actual_lrp_instance_removed",
        ]

    run(body)


def test_errors_come_inside_the_response(run: Any) -> None:
    async def body(api: Api) -> None:
        answer = await api.post("desired_lrp/desire.r2", b"\xff\xff", pb.DesiredLRPLifecycleResponse)
        assert answer.error.type == pb.Error.InvalidProtobufMessage
        answer = await api.post("desired_lrp/desire.r2", b"", pb.DesiredLRPLifecycleResponse)
        assert answer.error.type == pb.Error.InvalidRequest
        unknown = pb.DesiredLRPByProcessGuidRequest(process_guid="nobody")
        answer = await api.post("desired_lrps/get_by_process_guid.r3", unknown, pb.DesiredLRPResponse)
        assert (answer.error.type, "nobody" in answer.error.message) == (pb.Error.ResourceNotFound, True)
        await api.report_cell()
        await api.desire()
        again = pb.DesireLRPRequest(desired_lrp=pb.DesiredLRP(process_guid="web-1", domain="cf-apps"))
        answer = await api.post("desired_lrp/desire.r2", again, pb.DesiredLRPLifecycleResponse)
        assert answer.error.type == pb.Error.ResourceExists
        await api.start()
        other = pb.ActualLRPInstanceKey(instance_guid="other", cell_id="cell-2")
        claim = pb.ClaimActualLRPRequest(process_guid="web-1", index=0, actual_lrp_instance_key=other)
        assert (await api.lifecycle("claim", claim)).type == pb.Error.ActualLRPCannotBeClaimed
        removal = pb.RemoveActualLRPRequest(process_guid="web-1", index=0, actual_lrp_instance_key=other)
        assert (await api.lifecycle("remove", removal)).type == pb.Error.ActualLRPCannotBeRemoved
        nobody = pb.RemoveActualLRPRequest(process_guid="nobody", index=0)
        assert (await api.lifecycle("remove", nobody)).type == pb.Error.ResourceNotFound

    run(body)


def test_an_instance_that_nobody_wants_is_not_taken_in(run: Any) -> None:
    async def body(api: Api) -> None:
        request = pb.StartActualLRPRequest(
            actual_lrp_key=KEY, actual_lrp_instance_key=INSTANCE, actual_lrp_net_info=NET
        )
        assert (await api.lifecycle("start", request)).type == pb.Error.ResourceNotFound
        await api.desire()
        assert (await api.lifecycle("start", request)).type == 0
        states = [(lrp.state, lrp.presence) for lrp in await api.actual()]
        assert states == [("UNCLAIMED", 0), ("RUNNING", 2)], "its cell does not report"
        await api.report_cell()
        assert [(lrp.state, lrp.presence) for lrp in await api.actual()] == [("RUNNING", 0)]

    run(body)


def test_scaling_and_routes(run: Any) -> None:
    async def body(api: Api) -> None:
        await api.desire()
        update = pb.DesiredLRPUpdate(instances=3, routes=pb.ProtoRoutes(routes={"cf-router": b"[]"}))
        request = pb.UpdateDesiredLRPRequest(process_guid="web-1", update=update)
        await api.post("desired_lrp/update", request, pb.DesiredLRPLifecycleResponse)
        (desired,) = (
            await api.post("desired_lrps/list.r3", pb.DesiredLRPsRequest(domain="cf-apps"), pb.DesiredLRPsResponse)
        ).desired_lrps
        assert (desired.instances, desired.routes, desired.modification_tag.index) == (3, update.routes, 1)
        assert len(await api.actual()) == 3
        request.update.CopyFrom(pb.DesiredLRPUpdate(instances=1))
        await api.post("desired_lrp/update", request, pb.DesiredLRPLifecycleResponse)
        assert [lrp.actual_lrp_key.index for lrp in await api.actual()] == [0]

    run(body)


def test_fresh_domains(run: Any) -> None:
    async def body(api: Api) -> None:
        for domain, ttl in (("cf-apps", 60), ("cf-tasks", 0)):
            request = pb.UpsertDomainRequest(domain=domain, ttl=ttl)
            await api.post("domains/upsert", request, pb.UpsertDomainResponse)
        assert list((await api.post("domains/list", b"", pb.DomainsResponse)).domains) == ["cf-apps", "cf-tasks"]
        assert (await api.post("ping", b"", pb.PingResponse)).available

    run(body)


def test_the_stream_numbers_events_and_filters_cells() -> None:
    async def body() -> None:
        hub = Hub()
        all_cells, one_cell = hub.subscribe(), hub.subscribe("cell-1")
        for cell in ("cell-1", "cell-2"):
            hub.publish("actual_lrp_instance_removed", pb.ActualLRPInstanceRemovedEvent(), {cell})
        hub.publish("desired_lrp_removed", pb.DesiredLRPRemovedEvent())
        everything = await all_cells.take()
        assert [line for line in everything.split(b"\n") if line.startswith(b"id")] == [b"id: 0", b"id: 1", b"id: 2"]
        assert [name for name, _ in parse(everything)][2] == "desired_lrp_removed"
        assert len(parse(await one_cell.take())) == 2

    asyncio.run(body())


def test_a_slow_subscriber_is_cut_off() -> None:
    async def body() -> None:
        hub = Hub()
        stream = EventStream(hub)
        ended = asyncio.Event()

        async def send(_message: Any) -> None:
            await asyncio.Event().wait()  # its socket takes nothing

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def respond() -> None:
            await stream({"type": "http"}, receive, send)
            ended.set()

        task = asyncio.create_task(respond())
        await asyncio.sleep(0)
        large = pb.DesiredLRPCreatedEvent(desired_lrp=pb.DesiredLRP(annotation="x" * (1 << 20)))
        for _ in range(10):
            hub.publish("desired_lrp_created", large)
        await asyncio.wait_for(ended.wait(), 5)
        await task
        assert not hub._subscribers

    asyncio.run(body())


def test_a_stream_ends_with_its_client() -> None:
    async def body() -> None:
        hub = Hub()
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        await asyncio.wait_for(EventStream(hub)({"type": "http"}, receive, send), 5)
        assert not hub._subscribers

    asyncio.run(body())
