"""The CAPI job on the loopback, with its own client, a real BBS and a Copilot that only listens."""

import asyncio
import socket
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest

from netlab.bbs import job as bbs_job
from netlab.capi import app_actions, job, route_actions
from netlab.capi.client import CapiClient, Refused
from netlab.component import Context
from netlab.errors import MeshError
from netlab.lab import certificates
from netlab.protocols import bbs_pb2 as bbs
from netlab.protocols import copilot_pb2 as copilot
from netlab.protocols import copilot_pb2_grpc
from netlab.tls import TlsFiles

SYSTEM = "sys.example.test"
ROUTE = "hello.mesh.example.test"
PASSWORD = "s3cret"


class Copilot(copilot_pb2_grpc.CloudControllerCopilotServicer):
    """Remembers every call in order; a bulk synchronisation as the request that its chunks make."""

    def __init__(self):
        self.calls = []

    async def BulkSync(self, request_iterator, context):  # noqa: N802
        body = b"".join([chunk.chunk async for chunk in request_iterator])
        self.calls.append(copilot.BulkSyncRequest.FromString(body))
        return copilot.BulkSyncResponse(total_bytes_received=len(body))

    def names(self):
        return [type(call).__name__.removesuffix("Request") for call in self.calls]


def _remember(name):
    async def method(self, request, context):
        self.calls.append(request)
        return getattr(copilot, f"{name}Response")()

    return method


for _name in (
    "UpsertRoute",
    "DeleteRoute",
    "MapRoute",
    "UnmapRoute",
    "UpsertCapiDiegoProcessAssociation",
    "DeleteCapiDiegoProcessAssociation",
):
    setattr(Copilot, _name, _remember(_name))


def free_address():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


class Bench:
    """The jobs of one test, each with an address of its own."""

    def __init__(self, folder):
        self.folder = folder
        names = ["127.0.0.1"]
        certificates.make(
            folder / "tls", "t", {"capi": [*names, f"api.{SYSTEM}", f"uaa.{SYSTEM}"], "bbs": names, "copilot": names}
        )
        self.capi, self.bbs, self.copilot = free_address(), free_address(), free_address()

    def tls(self, name):
        return TlsFiles.of(self.folder / "tls", name)

    @asynccontextmanager
    async def job(self, name, run, config):
        config |= {
            "tls": self.tls(name).model_dump(mode="json"),
            "database_url": f"sqlite:///{self.folder}/db/{name}.sqlite3",
        }
        context = Context(lab="t", node=name, job=name, config=config)
        ready = asyncio.Event()
        context.ready = ready.set
        task = asyncio.create_task(run(context))
        waiter = asyncio.create_task(ready.wait())
        await asyncio.wait([task, waiter], return_when=asyncio.FIRST_COMPLETED, timeout=5)
        if task.done():
            task.result()
        assert ready.is_set()
        try:
            yield
        finally:
            context.stopping.set()
            await asyncio.wait_for(task, 5)

    def run_capi(self, **config):
        defaults = {
            "listen": self.capi,
            "system_domain": SYSTEM,
            "istio_domains": ["mesh.example.test"],
            "copilot_address": self.copilot,
            "bbs_url": f"https://{self.bbs}",
            "admin_password": PASSWORD,
        }
        return self.job("capi", job.run, defaults | config)

    def run_bbs(self):
        config = {"listen": self.bbs, "health_listen": free_address(), "auctioneer_url": "https://127.0.0.1:1"}
        return self.job("bbs", bbs_job.run, config)

    @asynccontextmanager
    async def run_copilot(self):
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        servicer = Copilot()
        copilot_pb2_grpc.add_CloudControllerCopilotServicer_to_server(servicer, server)
        server.add_secure_port(self.copilot, self.tls("copilot").grpc_server_credentials())
        await server.start()
        try:
            yield servicer
        finally:
            await server.stop(None)

    def client(self, **changes):
        options = {
            "api": f"https://api.{SYSTEM}",
            "connect": self.capi,
            "username": "admin",
            "password": PASSWORD,
            "ca": str(self.folder / "tls" / "ca.crt"),
        }
        return CapiClient(**options | changes)

    async def ask_bbs(self, path, request, kind):
        async with httpx.AsyncClient(verify=self.tls("bbs").client_context()) as http:
            response = await http.post(f"https://{self.bbs}{path}", content=request.SerializeToString())
        return kind.FromString(response.content)

    async def lrps(self):
        answer = await self.ask_bbs("/v1/desired_lrps/list.r3", bbs.DesiredLRPsRequest(), bbs.DesiredLRPsResponse)
        return list(answer.desired_lrps)

    async def all_run(self, instances):
        """Be the cell: say that it is there, and report each instance of each process as running."""
        cell = bbs.CellPresence(cell_id="cell-1", rep_url="https://127.0.0.1:1")
        await self.ask_bbs("/v1/cells/heartbeat", cell, bbs.ActualLRPLifecycleResponse)
        listed = await self.ask_bbs("/v1/actual_lrps/list", bbs.ActualLRPsRequest(), bbs.ActualLRPsResponse)
        for lrp in listed.actual_lrps:
            if lrp.state == "RUNNING":
                continue
            key = bbs.ActualLRPInstanceKey(
                instance_guid=f"i{lrp.actual_lrp_key.index}-{lrp.actual_lrp_key.process_guid}"[:36], cell_id="cell-1"
            )
            ports = [bbs.PortMapping(container_port=8080, host_port=61000 + lrp.actual_lrp_key.index)]
            net = bbs.ActualLRPNetInfo(address="10.0.2.1", instance_address="10.255.1.2", ports=ports)
            request = bbs.StartActualLRPRequest(
                actual_lrp_key=lrp.actual_lrp_key, actual_lrp_instance_key=key, actual_lrp_net_info=net
            )
            answer = await self.ask_bbs("/v1/actual_lrps/start", request, bbs.ActualLRPLifecycleResponse)
            assert not answer.HasField("error"), answer
        return len(listed.actual_lrps) == instances


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


async def until(condition):
    """Wait for a condition that other processes' answers make true."""
    async with asyncio.timeout(5):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.005)


def run(body):
    asyncio.run(asyncio.wait_for(body, 20))


def test_push_map_scale_and_delete(bench):
    async def body():
        async with bench.run_bbs(), bench.run_copilot() as told, bench.run_capi(), bench.client() as client:
            await until(lambda: told.names() == ["BulkSync"])
            events = []
            push = asyncio.create_task(
                app_actions.push(client, name="hello", instances=2, routes=[ROUTE], emit=events.append, timeout=10)
            )
            await until(lambda: bench.all_run(2))
            result = await push
            assert (result["running"], result["created"]) == (2, True)
            assert [event["step"] for event in events] == ["created", "mapped", "started", "running"]
            upsert = "UpsertCapiDiegoProcessAssociation"
            await until(lambda: told.names() == ["BulkSync", "UpsertRoute", "MapRoute", upsert])
            (app,) = await app_actions.apps(client)
            assert (app["running"], app["instances"], app["routes"]) == (2, 2, [ROUTE])

            more = asyncio.create_task(app_actions.scale(client, name="hello", instances=3, timeout=10))
            await until(lambda: bench.all_run(3))
            await more
            assert [lrp.instances for lrp in await bench.lrps()] == [3]

            await route_actions.map_route(client, name="hello", route=f"{ROUTE}/path")
            await until(lambda: told.names()[4:] == ["UpsertRoute", "MapRoute"])
            (route, deeper) = await route_actions.routes(client)
            assert (route["url"], deeper["path"], deeper["destinations"][0]["app"]) == (ROUTE, "/path", "hello")

            async def emitted():
                return b"/path" in (await bench.lrps())[0].routes.routes["cf-router"]

            await until(emitted)
            await route_actions.unmap_route(client, name="hello", route=f"{ROUTE}/path")
            await route_actions.delete_route(client, route=f"{ROUTE}/path")
            await app_actions.delete_app(client, name="hello")
            dissociate = "DeleteCapiDiegoProcessAssociation"
            await until(lambda: told.names()[6:] == ["UnmapRoute", "DeleteRoute", dissociate, "UnmapRoute"])

            async def gone():
                return not await bench.lrps()

            await until(gone)

    run(body())


def test_peers_that_were_away_are_told_everything(bench):
    async def body():
        async with bench.run_capi(), bench.client() as client:
            push = asyncio.create_task(app_actions.push(client, name="hello", routes=[ROUTE], timeout=15))

            async def mapped():
                return any(route["destinations"] for route in await client.list("/v3/routes"))

            await until(mapped)
            async with bench.run_copilot() as told:
                await until(lambda: told.calls)
                assert len(told.calls[0].route_mappings) == 1
            async with bench.run_bbs(), bench.run_copilot() as told:
                await until(lambda: bench.all_run(1))
                await push
                await until(lambda: "BulkSync" in told.names())
                assert [route.host for route in told.calls[0].routes] == [ROUTE]
                assert len(told.calls[0].capi_diego_process_associations) == 1
                await route_actions.map_route(client, name="hello", route=f"new.{ROUTE.partition('.')[2]}")
                await until(lambda: told.names()[-2:] == ["UpsertRoute", "MapRoute"])

    run(body())


def test_awkward_names_are_found_again(bench):
    async def body():
        async with bench.run_bbs(), bench.run_capi(), bench.client() as client:
            for _ in range(2):
                await app_actions.push(client, name="a, b%2C c", instances=0, routes=[f"{ROUTE}/x,y%2Cz"])
            await route_actions.unmap_route(client, name="a, b%2C c", route=f"{ROUTE}/x,y%2Cz")
            await app_actions.delete_app(client, name="a, b%2C c")

    run(body())


def test_state_outlives_the_job(bench):
    async def body():
        async with bench.run_capi(), bench.client() as client:
            await client.post("/v3/domains", {"name": "more.test"})
        async with bench.run_capi(), bench.client() as client:
            assert [each["name"] for each in await client.list("/v3/domains", names="more.test")] == ["more.test"]

    run(body())


def test_weights(bench):
    async def body():
        async with bench.run_bbs(), bench.run_capi(), bench.client() as client:
            for name in ("a", "b", "c"):
                await app_actions.push(client, name=name, instances=0, routes=[ROUTE])
            await route_actions.map_route(client, name="a", route=ROUTE, weight=80)
            (route,) = await route_actions.routes(client)
            assert {each["app"]: each["weight"] for each in route["destinations"]} == {"a": 80, "b": 10, "c": 10}
            await route_actions.unmap_route(client, name="c", route=ROUTE)
            (route,) = await route_actions.routes(client)
            assert {each["app"]: each["weight"] for each in route["destinations"]} == {"a": 89, "b": 11}

    run(body())


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda client: route_actions.map_route(client, name="none", route=ROUTE), "there is no app none"),
        (
            lambda client: app_actions.push(client, name="a", routes=["foo.bar.test"]),
            "the domain of foo.bar.test is not known; the known domains are mesh.example.test, sys.example.test",
        ),
        (lambda client: app_actions.push(client, name="a", routes=["x.y.mesh.example.test"]), "may not contain a dot"),
        (lambda client: app_actions.push(client, name="a", directory="/srv"), "a has a directory but no command"),
        (lambda client: route_actions.delete_route(client, route=ROUTE), f"there is no route {ROUTE}"),
        (lambda client: app_actions.scale(client, name="none", instances=2), "there is no app none"),
    ],
)
def test_mistakes_are_one_line(bench, action, message):
    async def body():
        async with bench.run_capi(), bench.client() as client:
            with pytest.raises(MeshError) as caught:
                await action(client)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    run(body())


def test_who_cannot_log_in_is_told_so(bench):
    async def body():
        async with bench.run_capi():
            with pytest.raises(MeshError, match="UAA refuses the login of admin: Bad credentials"):
                async with bench.client(password="wrong"):
                    pass
        with pytest.raises(MeshError, match="does not answer"):
            async with bench.client():
                pass

    run(body())


def test_an_app_that_does_not_come_up(bench):
    async def body():
        async with bench.run_bbs(), bench.run_capi(), bench.client() as client:
            with pytest.raises(MeshError, match="app a: 0 of 2 instances run after") as caught:
                await app_actions.push(client, name="a", instances=2, timeout=0.2)
            assert caught.value.fields["app"] == "a"
            with pytest.raises(Refused):
                await client.get("/v3/apps/none")

    run(body())
