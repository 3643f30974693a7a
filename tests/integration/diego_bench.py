"""A BBS, an auctioneer and the reps of two cells, each a process in a namespace of its own, for the tests of Diego."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from netlab.envoy.launch import envoy_binary
from netlab.kernel import cgroup, executor, netns
from netlab.kernel.ops import AddAddress, AddRoute, CreateBridge, CreateNamespace, CreateVeth, SetSysctl
from netlab.lab import certificates
from netlab.lab.early import search_path
from netlab.protocols import bbs_pb2
from netlab.tls import TlsFiles

BBS_URL = "https://10.0.0.11:8889"
MODULES = {
    "bbs": "netlab.bbs.job",
    "auctioneer": "netlab.diego.auctioneer.job",
    "cell-1": "tests.integration.diego_rep",
    "cell-2": "tests.integration.diego_rep",
}
NODES = {"bbs": "diego-api", "auctioneer": "diego-api", "cell-1": "cell-1", "cell-2": "cell-2"}
_COMPONENT = """
import json, sys
from pathlib import Path
from netlab import component
from netlab.kernel import netns
module, lab, node, job, namespace, fd, config = sys.argv[1:]
netns.enter(Path(namespace))
sys.exit(component.main(module, component.Context(lab, node, job, json.loads(config), ready_fd=int(fd))))
"""
_Result = TypeVar("_Result")


class Diego:
    """The bench. Component names are `bbs`, `auctioneer`, `cell-1` and `cell-2`."""

    def __init__(self, directory: Path) -> None:
        self.lab = f"nltd{os.getpid()}"
        self.run_dir = directory
        self.namespaces = directory / "ns"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.stack = ExitStack()
        self.group = cgroup.create(self.lab)
        self.cell_ttl = 2.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.run_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
            netns.mount_directory(self.namespaces)
            stack.callback(netns.unmount_directory, self.namespaces)
            if self.group is not None:
                stack.callback(cgroup.remove, self.group)
                stack.callback(cgroup.kill, self.group)
            stack.callback(self.kill_all)
            self._fabric()
            names = {"bbs": ["10.0.0.11"], "auctioneer": ["10.0.0.11"], "rep": ["10.0.2.1", "10.0.2.2"], "test": []}
            certificates.make(self.run_dir / "tls", self.lab, names)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def namespace(self, node: str) -> Path:
        return self.namespaces / f"{self.lab}-{node}"

    def tls(self, name: str) -> dict[str, Any]:
        return TlsFiles.of(self.run_dir / "tls", name).model_dump(mode="json")

    def client_context(self) -> ssl.SSLContext:
        return TlsFiles.of(self.run_dir / "tls", "test").client_context()

    def _fabric(self) -> None:
        def name(node: str) -> str:
            return f"{self.lab}-{node}"

        ops: list[Any] = [CreateNamespace(name("hub")), CreateBridge(name("hub"), "br0")]
        nodes = {"diego-api": "10.0.0.11", "cell-1": "10.0.2.1", "cell-2": "10.0.2.2", "client": "10.0.0.100"}
        for number, (node, address) in enumerate(nodes.items()):
            ops += [
                CreateNamespace(name(node)),
                CreateVeth(name("hub"), f"p{number}", name(node), "eth0", bridge="br0"),
                AddAddress(name(node), "eth0", f"{address}/16"),
            ]
        ops += [SetSysctl(name(f"cell-{n}"), "net.ipv4.ip_forward", "1") for n in (1, 2)]
        ops += [
            AddRoute(name(node), f"10.255.{n}.0/24", via=f"10.0.2.{n}")
            for node, n in (("cell-1", 2), ("cell-2", 1), ("client", 1), ("client", 2))
        ]
        executor.apply(ops, self.namespaces)

    def config(self, job: str) -> dict[str, Any]:
        if job == "bbs":
            return {
                "listen": "10.0.0.11:8889",
                "health_listen": "10.0.0.11:8890",
                "tls": self.tls("bbs"),
                "database_url": f"sqlite:///{self.run_dir}/db/bbs.sqlite3",
                "auctioneer_url": "https://10.0.0.11:9016",
                "cell_ttl_seconds": self.cell_ttl,
            }
        if job == "auctioneer":
            return {"listen": "10.0.0.11:9016", "tls": self.tls("auctioneer"), "bbs_url": BBS_URL}
        number = job.removeprefix("cell-")
        return {
            "cell_id": job,
            "lab": self.lab,
            "run_dir": str(self.run_dir),
            "namespace": f"{self.lab}-{job}",
            "cell_address": f"10.0.2.{number}",
            "overlay_network": "10.255.0.0/16",
            "overlay_subnet": f"10.255.{number}.0/24",
            "listen": f"10.0.2.{number}:1801",
            "tls": self.tls("rep"),
            "bbs_url": BBS_URL,
            "pilot_address": "10.0.0.12:15010",
            "envoy_binary": str(envoy_binary()),
            "cgroup_dir": None if self.group is None else str(self.group),
            "heartbeat_seconds": 0.3,
            "grace_seconds": 3,
            "drain_limit_seconds": 30,
        }

    # ---- Processes

    def start(self, *jobs: str) -> None:
        """Start components and wait until each is ready."""
        waiting = {job: self._spawn(job) for job in jobs}
        for job, fd in waiting.items():
            readable, _, _ = select.select([fd], [], [], 60)
            ready = os.read(fd, 100) if readable else b""
            os.close(fd)
            assert ready, f"{job} is not ready: {self.log(job)}"

    def _spawn(self, job: str) -> int:
        # Not a fork: this process may have gRPC's threads by now, and a fork of it may find their locks taken.
        reader, writer = os.pipe()
        arguments = [MODULES[job], self.lab, NODES[job], job, str(self.namespace(NODES[job])), str(writer)]
        with (self.run_dir / f"{job}.log").open("ab") as log:
            self.processes[job] = subprocess.Popen(
                [sys.executable, "-c", _COMPONENT, *arguments, json.dumps(self.config(job))],
                pass_fds=[writer],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": search_path()},
                start_new_session=True,
            )
        os.close(writer)
        return reader

    def kill(self, job: str, number: int = signal.SIGKILL) -> None:
        process = self.processes.pop(job)
        process.send_signal(number)
        process.wait()

    def kill_all(self) -> None:
        for job in list(self.processes):
            self.kill(job)

    def log(self, job: str) -> str:
        return (self.run_dir / f"{job}.log").read_text()

    # ---- Looking

    def call(self, work: Callable[[httpx.Client], _Result]) -> _Result:
        """Do something with an HTTPS client that stands in the client's namespace."""

        def inside() -> _Result:
            netns.enter(self.namespace("client"))
            with httpx.Client(verify=self.client_context(), timeout=20, trust_env=False) as client:
                return work(client)

        return netns.in_thread(inside)

    def bbs(self, path: str, request: Any, answer: type[_Result]) -> _Result:
        body = request.SerializeToString()
        response = self.call(lambda client: client.post(f"{BBS_URL}/v1/{path}", content=body))
        assert response.status_code == 200
        message: Any = answer()
        message.ParseFromString(response.content)
        return message  # type: ignore[no-any-return]

    def desire(self, guid: str, instances: int, **fields: Any) -> None:
        desired = bbs_pb2.DesiredLRP(
            process_guid=guid, domain="cf-apps", instances=instances, ports=[8080], memory_mb=64, **fields
        )
        desired.metric_tags["app_name"].static = guid.partition("-")[0]
        answer = self.bbs(
            "desired_lrp/desire.r2",
            bbs_pb2.DesireLRPRequest(desired_lrp=desired),
            bbs_pb2.DesiredLRPLifecycleResponse,
        )
        assert not answer.HasField("error"), answer

    def scale(self, guid: str, instances: int) -> None:
        update = bbs_pb2.DesiredLRPUpdate(instances=instances)
        request = bbs_pb2.UpdateDesiredLRPRequest(process_guid=guid, update=update)
        answer = self.bbs("desired_lrp/update", request, bbs_pb2.DesiredLRPLifecycleResponse)
        assert not answer.HasField("error"), answer

    def remove(self, guid: str) -> None:
        request = bbs_pb2.RemoveDesiredLRPRequest(process_guid=guid)
        answer = self.bbs("desired_lrp/remove", request, bbs_pb2.DesiredLRPLifecycleResponse)
        assert not answer.HasField("error"), answer

    def actual(self, guid: str = "") -> list[bbs_pb2.ActualLRP]:
        request = bbs_pb2.ActualLRPsRequest(process_guid=guid)
        return list(self.bbs("actual_lrps/list", request, bbs_pb2.ActualLRPsResponse).actual_lrps)

    def until_running(self, guid: str, count: int, timeout: float = 30) -> list[bbs_pb2.ActualLRP]:
        """Wait until exactly `count` instances of a process run and there are no other records of it."""

        def look() -> list[bbs_pb2.ActualLRP] | None:
            lrps = self.actual(guid)
            done = len(lrps) == count and all(lrp.state == "RUNNING" and lrp.presence == 0 for lrp in lrps)
            return lrps if done else None

        return self.until(look, timeout)

    def until(self, look: Callable[[], _Result | None], timeout: float = 30) -> _Result:
        """Look again and again until there is something."""
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while (found := look()) is None:
            logs = {job: self.log(job)[-2000:] for job in self.processes}
            assert time.monotonic() < deadline, f"{self.actual()}\n{logs}"
            pause.wait(0.02)
        return found

    def records(self) -> list[dict[str, Any]]:
        found = []
        for path in sorted((self.run_dir / "containers").glob("*.json")):
            with suppress(FileNotFoundError):
                found.append(json.loads(path.read_text()))
        return found

    def connect(self, lrp: bbs_pb2.ActualLRP) -> socket.socket:
        """A connection from the client to an instance by its cell's address and port."""
        net = lrp.actual_lrp_net_info

        def inside() -> socket.socket:
            netns.enter(self.namespace("client"))
            return socket.create_connection((net.address, net.ports[0].host_port), timeout=20)

        return netns.in_thread(inside)

    def request(self, lrp: bbs_pb2.ActualLRP, path: str = "/") -> dict[str, Any]:
        """Ask an instance by its cell's address and port, as a router does."""
        net = lrp.actual_lrp_net_info
        url = f"http://{net.address}:{net.ports[0].host_port}{path}"
        answer = self.call(lambda client: client.get(url))
        assert answer.status_code == 200, answer
        document: dict[str, Any] = answer.json()
        return document
