"""Routes and instances reach a real Envoy through Copilot and Pilot, and survive restarts of either."""

import asyncio
import json
import re

import grpc
import pytest

from netlab.envoy import bootstrap
from netlab.protocols import copilot_pb2 as api
from netlab.protocols import copilot_pb2_grpc
from tests.integration.mesh_control import HOST, app, mesh, running


def test_a_route_answers_200_then_503_then_404(tmp_path):
    async def body():
        async with mesh(tmp_path) as m, app("one") as port, m.router() as admin:
            assert (await m.get()).status_code == 404
            await m.push()
            await m.until(503)
            m.bbs.start(running("i1", "app-1", port))
            await m.until(200)

            reply = await m.get(path="/x", **{"x-request-id": "11111111-2222-4333-8444-555555555555"})
            assert reply.text == "one 11111111-2222-4333-8444-555555555555 /x"
            assert reply.headers["x-request-id"] == "11111111-2222-4333-8444-555555555555"

            m.bbs.stop("i1")
            await m.until(503)
            await m.unmap()
            await m.unmap()
            await m.until(404)
            stats = await admin.stats("update_rejected")
            assert not any(stats.values())

        lines = [json.loads(line) for line in (tmp_path / "router-1.access.log").read_text().splitlines()]
        (line,) = [x for x in lines if x["path"] == "/x"]
        assert line["response_code"] == 200
        assert line["upstream_host"] == f"127.0.0.1:{port}"
        assert line["upstream_cluster"] == f"outbound|8080|app|{HOST}"
        assert line["route_name"] == f"{HOST}/"
        assert line["downstream_remote"].startswith("127.0.0.1:")
        assert re.fullmatch(r"\d+\.\d{9}", line["start_time"])
        assert {x["response_flags"] for x in lines if x["response_code"] == 503} == {"UH"}

    asyncio.run(body())


def test_paths_weights_and_instances(tmp_path):
    async def body():
        async with mesh(tmp_path) as m, app("one") as one, app("two") as two, m.router():
            m.bbs.start(running("i1", "a-1", one))
            m.bbs.start(running("i2", "b-1", two))
            await m.push(app="a")
            await m.push(app="b", path="/foo")
            await m.until(200)
            assert (await m.get(path="/foo/bar")).text.startswith("two")
            assert (await m.get(path="/foo")).text.startswith("two")
            # A path ends at a segment's boundary.
            assert (await m.get(path="/foobar")).text.startswith("one")

            await m.push(app="b")
            for _ in range(50):
                answers = [(await m.get()).text.split()[0] for _ in range(10)]
                if set(answers) == {"one", "two"}:
                    break
            else:
                pytest.fail(f"only {set(answers)} answered")
            m.bbs.stop("i2")
            await m.until(503, path="/foo")
            assert {(await m.get()).text.split()[0] for _ in range(10)} == {"one"}

    asyncio.run(body())


def test_a_sidecar_gets_its_own_ports_and_no_route_change(tmp_path):
    async def body():
        async with mesh(tmp_path) as m:
            config = bootstrap.sidecar_bootstrap(
                "10.255.1.2",
                "guid",
                f"127.0.0.1:{m.ads_port}",
                tmp_path / "sidecar.admin",
                [8080, 9090],
                {"cfapp": "app"},
            )
            async with m.envoy("sidecar", config) as admin:
                stats = await admin.stats("update_rejected")
                assert not any(stats.values())
                dump = json.dumps(await admin.config_dump())
                for name in ("virtualInbound", "inbound|8080||", "inbound|9090||", "BlackHoleCluster"):
                    assert name in dump
                (before,) = (await m.page("/debug/syncz")).json()
                assert before["type"] == "sidecar"
                assert before["lds_sent"] == before["lds_acked"] != ""
                assert not before["errors"]
                await m.push()
                configz = await m.page("/debug/configz")
                while f"copilot-service-for-{HOST}" not in configz.text:
                    configz = await m.page("/debug/configz")
                async with m.router():
                    (router, sidecar) = (await m.page("/debug/syncz")).json()
                    assert router["type"] == "router"
                    assert sidecar["sent"] == before["sent"]
                # Nobody is meant to connect to the sidecar's port itself.
                reader, writer = await asyncio.open_connection("127.0.0.1", 15001)
                assert await reader.read() == b""
                writer.close()

    asyncio.run(body())


def test_restarts_cost_no_request(tmp_path):
    async def body():
        async with mesh(tmp_path) as m, app("one") as port, m.router():
            m.bbs.start(running("i1", "app-1", port))
            await m.push()
            await m.until(200)
            failures = []
            done = asyncio.Event()

            async def ask():
                while not done.is_set():
                    reply = await m.get()
                    if reply.status_code != 200:
                        failures.append(reply.status_code)

            asking = asyncio.create_task(ask())
            await m.copilot.stop()
            await m.start_copilot()
            await m.push("second.mesh.example.test")
            await m.until(200, "second.mesh.example.test")
            await m.pilot.stop()
            await m.push("third.mesh.example.test")
            await m.start_pilot()
            await m.until(200, "third.mesh.example.test")
            m.bbs.listed.clear()
            m.bbs.hang_up()
            await asyncio.wait_for(m.bbs.listed.wait(), 5)
            done.set()
            await asking
            assert failures == []

    asyncio.run(body())


def test_what_the_cloud_controller_gets_wrong(tmp_path):
    async def body():
        async with mesh(tmp_path) as m:
            channel, stub = m.cloud_controller()
            async with channel:
                assert (await stub.Health(api.HealthRequest())).healthy
                for call, request in (
                    (stub.UpsertRoute, api.UpsertRouteRequest()),
                    (stub.UpsertRoute, api.UpsertRouteRequest(route=api.Route(guid="g"))),
                    (stub.DeleteRoute, api.DeleteRouteRequest()),
                    (stub.MapRoute, api.MapRouteRequest()),
                    (stub.MapRoute, _mapping(0)),
                    (stub.MapRoute, _mapping(129)),
                    (stub.UnmapRoute, api.UnmapRouteRequest()),
                    (
                        stub.UpsertCapiDiegoProcessAssociation,
                        api.UpsertCapiDiegoProcessAssociationRequest(),
                    ),
                    (
                        stub.DeleteCapiDiegoProcessAssociation,
                        api.DeleteCapiDiegoProcessAssociationRequest(),
                    ),
                ):
                    with pytest.raises(grpc.aio.AioRpcError) as raised:
                        await call(request)
                    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
                await stub.MapRoute(_mapping(128))

                sync = api.BulkSyncRequest(
                    routes=[api.Route(guid="r", host=HOST, internal=True, vip="127.128.0.1")],
                    route_mappings=[api.RouteMapping(route_guid="r", capi_process_guid="p", route_weight=1)],
                ).SerializeToString()
                chunks = [api.BulkSyncRequestChunk(chunk=sync[:20]), api.BulkSyncRequestChunk(chunk=sync[20:])]
                reply = await stub.BulkSync(iter(chunks))
                assert reply.total_bytes_received == len(sync)
                listed = await stub.ListCfRoutes(api.ListCfRoutesRequest())
                assert dict(listed.routes) == {"r": HOST}
                mapped = await stub.ListCfRouteMappings(api.ListCfRouteMappingsRequest())
                assert list(mapped.route_mappings) == ["r-p"]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{m.vip_port}") as plain:
                resolver = copilot_pb2_grpc.VIPResolverCopilotStub(plain)
                answer = await resolver.GetVIPByName(api.GetVIPByNameRequest(fqdn=f"{HOST}."))
                assert answer.ip == "127.128.0.1"
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await resolver.GetVIPByName(api.GetVIPByNameRequest(fqdn="nobody.example"))
                assert raised.value.code() == grpc.StatusCode.UNKNOWN

    asyncio.run(body())


def _mapping(weight: int) -> api.MapRouteRequest:
    return api.MapRouteRequest(
        route_mapping=api.RouteMapping(route_guid="r", capi_process_guid="p", route_weight=weight)
    )
