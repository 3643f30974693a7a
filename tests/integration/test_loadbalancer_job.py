"""The load balancer's job on real kernel rules: a client, the balancer, and routers that can fail."""

import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from netlab.component import Context
from netlab.kernel import netns
from netlab.kernel.ops import AddAddress, AddRoute, CreateBridge, CreateNamespace, CreateVeth, SetSysctl
from netlab.loadbalancer import job
from tests.integration.bench import Bench

pytestmark = [
    pytest.mark.root,
    # python-iptables, when it was not compiled before.
    pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning"),
]

VIP, SYSTEM_VIP = "203.0.113.10", "203.0.113.11"


class Server:
    """Answers each connection with one response and remembers who asked."""

    def __init__(self, path, address, port, body, status=200):
        self.address, self.port, self.status, self.body = address, port, status, body
        self.path, self.clients, self.stop = path, [], ExitStack()
        self.start()

    def start(self):
        with netns.entered(self.path):
            listener = socket.create_server((self.address, self.port))
        threading.Thread(target=self.serve, args=(listener,), daemon=True).start()
        self.listener = listener

    def serve(self, listener):
        with suppress(OSError):
            while True:
                connection, peer = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(4096)
                    self.clients.append(peer[0])
                    head = f"HTTP/1.1 {self.status} x\r\nContent-Length: {len(self.body)}\r\n\r\n"
                    connection.sendall((head + self.body).encode())

    def close(self):
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Net:
    def __init__(self, bench):
        self.bench, n = bench, bench.name
        vms = {"client": ("public", "203.0.113.100/24"), "router-1": ("deployment", "10.0.1.1/16")}
        vms |= {"router-2": ("deployment", "10.0.1.2/16"), "api": ("deployment", "10.0.0.10/16")}
        bench.apply(
            CreateNamespace(n("fabric")),
            *(CreateNamespace(n(vm)) for vm in ("lb", *vms)),
            CreateBridge(n("fabric"), "public"),
            CreateBridge(n("fabric"), "deployment"),
            CreateVeth(n("fabric"), "lb-p", n("lb"), "public", bridge="public"),
            CreateVeth(n("fabric"), "lb-d", n("lb"), "deployment", bridge="deployment"),
            *(CreateVeth(n("fabric"), vm, n(vm), "eth0", bridge=net) for vm, (net, _) in vms.items()),
            *(AddAddress(n("lb"), "public", a) for a in ("203.0.113.1/24", f"{VIP}/32", f"{SYSTEM_VIP}/32")),
            AddAddress(n("lb"), "deployment", "10.0.0.1/16"),
            SetSysctl(n("lb"), "net.ipv4.ip_forward", "1"),
            *(AddAddress(n(vm), "eth0", address) for vm, (_, address) in vms.items()),
            *(
                AddRoute(n(vm), "default", via="203.0.113.1" if net == "public" else "10.0.0.1")
                for vm, (net, _) in vms.items()
            ),
        )
        routers = {vm: vms[vm][1].split("/")[0] for vm in ("router-1", "router-2")}
        self.http = {vm: Server(bench.path(vm), address, 80, vm) for vm, address in routers.items()}
        self.health = {vm: Server(bench.path(vm), address, 8002, "ok") for vm, address in routers.items()}
        self.api = Server(bench.path("api"), "10.0.0.10", 443, "api")
        self.config = {
            "namespace_path": str(bench.path("lb")),
            "vip": VIP,
            "routers": [{"name": vm, "address": address} for vm, address in routers.items()],
            "interval_seconds": 0.1,
            "timeout_seconds": 0.3,
            "system_vip": SYSTEM_VIP,
            "api_address": "10.0.0.10",
            "hairpin_network": "10.0.0.0/16",
        }

    def balancer(self):
        context = Context(lab="t", node="lb", job="load-balancer", config=self.config)
        return self.bench.job("lb", job.run, context)

    def get(self, node="client", address=VIP, port=80):
        with netns.entered(self.bench.path(node)):
            sock = socket.socket()
        with sock:
            sock.settimeout(2)
            sock.connect((address, port))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            data = b""
            while chunk := sock.recv(4096):
                data += chunk
        return data.rpartition(b"\r\n\r\n")[2].decode()

    def close(self):
        for server in (*self.http.values(), *self.health.values(), self.api):
            server.close()


@pytest.fixture
def net(tmp_path):
    with Bench(tmp_path, "lb") as bench:
        net = Net(bench)
        yield net
        net.close()


def eventually(check, seconds=3.0):
    deadline = time.monotonic() + seconds
    wait = threading.Event()
    while not check():
        assert time.monotonic() < deadline
        wait.wait(0.01)


def test_connections_alternate_and_keep_the_client_address(net):
    with net.balancer():
        seen = [net.get() for _ in range(20)]
        assert net.get(address=SYSTEM_VIP, port=443) == "api"
    assert seen.count("router-1") == seen.count("router-2") == 10
    assert set(net.http["router-1"].clients + net.api.clients) == {"203.0.113.100"}


def test_a_router_leaves_and_comes_back(net):
    with net.balancer():
        net.health["router-1"].close()
        eventually(lambda: [net.get() for _ in range(4)] == ["router-2"] * 4)
        net.health["router-1"].start()
        eventually(lambda: {net.get(), net.get()} == {"router-1", "router-2"})
        net.health["router-2"].status = 503
        eventually(lambda: [net.get() for _ in range(4)] == ["router-1"] * 4)


def test_without_a_healthy_router_connections_are_refused(net):
    for server in net.health.values():
        server.close()
    with net.balancer():
        with pytest.raises(ConnectionRefusedError):
            net.get()
        net.health["router-2"].start()

        def answered():
            with suppress(ConnectionRefusedError):
                return net.get() == "router-2"
            return False

        eventually(answered)


def test_a_host_behind_the_balancer_gets_an_answer(net):
    with net.balancer():
        assert {net.get(node="api"), net.get(node="api")} == {"router-1", "router-2"}


def test_a_restart_changes_nothing(net):
    with net.balancer():
        pass
    with net.balancer():
        assert {net.get(), net.get()} == {"router-1", "router-2"}
