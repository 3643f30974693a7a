"""Copilot and Pilot as processes on loopback, real Envoys, and a BBS that speaks the real wire."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from netlab.envoy import bootstrap, launch
from netlab.envoy.admin import Admin
from netlab.lab import certificates
from netlab.protocols import bbs_pb2 as bbs
from netlab.protocols import copilot_pb2 as api
from netlab.protocols import copilot_pb2_grpc
from netlab.serving import serving
from netlab.tls import TlsFiles

HOST = "hello.mesh.example.test"
_CHILD = """
import json, sys
from netlab.component import Context, main
module, job, fd = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.exit(main(module, Context(lab="test", node="control", job=job, config=json.load(sys.stdin), ready_fd=fd)))
"""


def spare_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def running(guid: str, process: str, port: int, address: str = "127.0.0.1") -> bbs.ActualLRP:
    return bbs.ActualLRP(
        actual_lrp_key=bbs.ActualLRPKey(process_guid=process, index=0, domain="cf-apps"),
        actual_lrp_instance_key=bbs.ActualLRPInstanceKey(instance_guid=guid, cell_id="cell-1"),
        actual_lrp_net_info=bbs.ActualLRPNetInfo(
            address=address,
            instance_address="10.255.1.2",
            ports=[bbs.PortMapping(container_port=8080, host_port=port)],
        ),
        state="RUNNING",
    )


@dataclass
class Bbs:
    """The part of a BBS that Copilot uses, on the real wire: protobuf by POST, events as base64 SSE."""

    lrps: dict[str, bbs.ActualLRP] = field(default_factory=dict)
    subscribers: set[asyncio.Queue] = field(default_factory=set)
    listed: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/actual_lrps/list", self._list, methods=["POST"]),
                Route("/v1/events/lrp_instances.r1", self._events, methods=["POST"]),
            ]
        )

    async def _list(self, request):
        bbs.ActualLRPsRequest.FromString(await request.body())
        self.listed.set()
        body = bbs.ActualLRPsResponse(actual_lrps=self.lrps.values()).SerializeToString()
        return Response(body, media_type="application/x-protobuf")

    async def _events(self, request):
        queue: asyncio.Queue = asyncio.Queue()
        self.subscribers.add(queue)

        async def stream():
            number = 0
            try:
                while (event := await queue.get()) is not None:
                    name, message = event
                    data = base64.b64encode(message.SerializeToString()).decode()
                    yield f"id: {number}\nevent: {name}\ndata: {data}\n\n"
                    number += 1
            finally:
                self.subscribers.discard(queue)

        return StreamingResponse(stream(), media_type="text/event-stream")

    def _emit(self, name, message):
        for queue in self.subscribers:
            queue.put_nowait((name, message))

    def start(self, lrp: bbs.ActualLRP) -> None:
        """An instance comes up as Diego's do: created unclaimed, then changed to running."""
        self.lrps[lrp.actual_lrp_instance_key.instance_guid] = lrp
        unclaimed = bbs.ActualLRP(actual_lrp_key=lrp.actual_lrp_key, state="UNCLAIMED")
        self._emit("actual_lrp_instance_created", bbs.ActualLRPInstanceCreatedEvent(actual_lrp=unclaimed))
        self._emit("desired_lrp_changed", bbs.DesiredLRPChangedEvent())
        self._emit(
            "actual_lrp_instance_changed",
            bbs.ActualLRPInstanceChangedEvent(
                actual_lrp_key=lrp.actual_lrp_key,
                actual_lrp_instance_key=lrp.actual_lrp_instance_key,
                before=bbs.ActualLRPInfo(state="CLAIMED"),
                after=bbs.ActualLRPInfo(state=lrp.state, actual_lrp_net_info=lrp.actual_lrp_net_info),
            ),
        )

    def stop(self, guid: str) -> None:
        lrp = self.lrps.pop(guid)
        self._emit("actual_lrp_instance_removed", bbs.ActualLRPInstanceRemovedEvent(actual_lrp=lrp))

    def hang_up(self) -> None:
        for queue in self.subscribers:
            queue.put_nowait(None)


@dataclass
class Process:
    process: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        await asyncio.wait_for(self.process.wait(), 5)


@dataclass
class Mesh:
    directory: Path
    tls: dict[str, TlsFiles]
    bbs: Bbs
    bbs_port: int
    cc_port: int
    vip_port: int
    mcp_port: int
    ads_port: int
    http_port: int
    ingress_port: int
    health_port: int
    admin_port: int
    copilot: Process | None = None
    pilot: Process | None = None

    # ---- processes

    async def start_copilot(self) -> None:
        self.copilot = await self._component(
            "copilot",
            {
                "cloud_controller_listen": f"127.0.0.1:{self.cc_port}",
                "vip_resolver_listen": f"127.0.0.1:{self.vip_port}",
                "mcp_listen": f"127.0.0.1:{self.mcp_port}",
                "tls": self.tls["copilot"].model_dump(mode="json"),
                "bbs_url": f"https://127.0.0.1:{self.bbs_port}",
                "ingress_port": self.ingress_port,
                "state_file": str(self.directory / "copilot.state"),
            },
        )

    async def start_pilot(self) -> None:
        self.pilot = await self._component(
            "pilot",
            {
                "ads_listen": f"127.0.0.1:{self.ads_port}",
                "http_listen": f"127.0.0.1:{self.http_port}",
                "config_sources": [
                    {
                        "address": f"127.0.0.1:{self.mcp_port}",
                        "tls": self.tls["pilot"].model_dump(mode="json"),
                    }
                ],
            },
        )

    async def _component(self, name: str, config: dict) -> Process:
        ready, told = os.pipe()
        log = self.directory / f"{name}.log"
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _CHILD,
                f"netlab.{name}.job",
                name,
                str(told),
                stdin=asyncio.subprocess.PIPE,
                stderr=out,
                pass_fds=[told],
            )
        os.close(told)
        process.stdin.write(json.dumps(config).encode())
        process.stdin.close()
        try:
            told_ready = await asyncio.wait_for(asyncio.to_thread(os.read, ready, 100), 15)
        finally:
            os.close(ready)
        assert told_ready == b"READY=1\n", log.read_text()
        return Process(process, log)

    @contextlib.asynccontextmanager
    async def envoy(self, name: str, config: dict):
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(config))
        with (
            (self.directory / f"{name}.log").open("wb") as log,
            (self.directory / f"{name}.access.log").open("wb") as access,
        ):
            process = await asyncio.create_subprocess_exec(
                *launch.argv(launch.envoy_binary(), path), stdout=access, stderr=log
            )
        admin = Admin(Path(config["admin"]["address"]["pipe"]["path"]))
        try:
            await admin.wait_ready(20)
            yield admin
        finally:
            await Process(process, path).stop()

    @contextlib.asynccontextmanager
    async def router(self, name: str = "router-1"):
        config = bootstrap.router_bootstrap(
            name, "127.0.0.1", f"127.0.0.1:{self.ads_port}", self.directory / f"{name}.admin"
        )
        ports = {"admin": self.admin_port, "health": self.health_port}
        for listener in config["static_resources"]["listeners"]:
            listener["address"]["socket_address"]["port_value"] = ports[listener["name"]]
        async with self.envoy(name, config) as admin:
            yield admin

    # ---- the Cloud Controller

    def cloud_controller(self):
        channel = grpc.aio.secure_channel(f"127.0.0.1:{self.cc_port}", self.tls["capi"].grpc_channel_credentials())
        return channel, copilot_pb2_grpc.CloudControllerCopilotStub(channel)

    async def push(self, host: str = HOST, app: str = "app", path: str = "", weight: int = 1) -> None:
        """Make a route, map an app to it and start the app, as the Cloud Controller tells Copilot."""
        channel, stub = self.cloud_controller()
        async with channel:
            route = api.Route(guid=f"r-{host}{path}", host=host, path=path)
            mapping = api.RouteMapping(route_guid=route.guid, capi_process_guid=app, route_weight=weight)
            association = api.CapiDiegoProcessAssociation(capi_process_guid=app, diego_process_guids=[f"{app}-1"])
            await stub.UpsertRoute(api.UpsertRouteRequest(route=route))
            await stub.MapRoute(api.MapRouteRequest(route_mapping=mapping))
            await stub.UpsertCapiDiegoProcessAssociation(
                api.UpsertCapiDiegoProcessAssociationRequest(capi_diego_process_association=association)
            )

    async def unmap(self, host: str = HOST, app: str = "app", path: str = "") -> None:
        channel, stub = self.cloud_controller()
        async with channel:
            mapping = api.RouteMapping(route_guid=f"r-{host}{path}", capi_process_guid=app, route_weight=1)
            await stub.UnmapRoute(api.UnmapRouteRequest(route_mapping=mapping))

    # ---- the client

    async def get(self, host: str = HOST, path: str = "/", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=5) as client:
            url = f"http://127.0.0.1:{self.ingress_port}{path}"
            return await client.get(url, headers={"host": host, **headers})

    async def until(self, status: int, host: str = HOST, path: str = "/", seconds: float = 5.0) -> float:
        """Ask until the answer has this status; returns the seconds that took."""
        started = time.monotonic()
        while (reply := await self.get(host, path)).status_code != status:
            assert time.monotonic() < started + seconds, f"still {reply.status_code}, not {status}"
        return time.monotonic() - started

    async def page(self, target: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://127.0.0.1:{self.http_port}{target}")


@contextlib.asynccontextmanager
async def app(name: str):
    """A tiny HTTP server that answers its name and what it was asked; yields its port."""

    async def answer(request):
        return Response(f"{name} {request.headers.get('x-request-id')} {request.url.path}")

    application = Starlette(routes=[Route("/{path:path}", answer)])
    async with serving(application, "127.0.0.1:0") as sock:
        yield sock.getsockname()[1]


@contextlib.asynccontextmanager
async def mesh(directory: Path):
    """BBS, Copilot and Pilot, ready."""
    names = ("copilot", "pilot", "capi", "bbs")
    certificates.make(directory / "tls", "test", {name: ["127.0.0.1"] for name in names})
    tls = {name: TlsFiles.of(directory / "tls", name) for name in names}
    found = Mesh(directory, tls, Bbs(), *spare_ports(9))
    context = tls["bbs"].server_context()
    async with serving(found.bbs.app(), f"127.0.0.1:{found.bbs_port}", context):
        try:
            await found.start_copilot()
            await found.start_pilot()
            yield found
        finally:
            found.bbs.hang_up()
            for process in (found.pilot, found.copilot):
                if process:
                    await process.stop()
