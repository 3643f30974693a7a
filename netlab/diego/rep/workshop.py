"""The making and taking down of containers: files, namespaces, rules and processes. Every step has its inverse here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import netlab.demo
from netlab.diego.rep.batch import Batch
from netlab.diego.rep.config import RepConfig
from netlab.diego.rep.credentials import Credentials
from netlab.diego.rep.groups import Groups
from netlab.diego.rep.plan import SIDECAR_PORT, ContainerNet, container_plan
from netlab.diego.rep.pool import Pool
from netlab.diego.rep.processes import Watched, watch
from netlab.diego.rep.recipe import TMP, PortPair, Recipe, environment, node_name
from netlab.diego.rep.record import Record
from netlab.envoy import launch
from netlab.errors import MeshError, NetlabError
from netlab.kernel import executor, netns, process
from netlab.kernel.rules import RuleBackend

APP_UID = 2000
ENVOY_UID = 1337
_ENVOY_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_SYSTEM_PATH = "/usr/bin:/bin:/usr/local/bin"


class ContainerFailedError(MeshError):
    """A container cannot start, or ended by itself; the message is the crash reason."""


class MakeBootstrap(Protocol):
    """Makes a sidecar's bootstrap, as `netlab.envoy.bootstrap.sidecar_bootstrap` does."""

    def __call__(
        self,
        container_address: str,
        guid: str,
        pilot_address: str,
        admin_path: Path | str,
        app_ports: Sequence[int],
        labels: Mapping[str, str],
    ) -> dict[str, Any]:
        """The bootstrap as a JSON object."""


class Workshop:
    """What all containers of one cell are made with."""

    def __init__(
        self, config: RepConfig, rules: RuleBackend, make_bootstrap: MakeBootstrap, log: logging.Logger
    ) -> None:
        self.config = config
        self._rules = rules
        self._make_bootstrap = make_bootstrap
        self._log = log
        self._connecting = Batch(self._connect)
        self._disconnecting = Batch(self._disconnect)
        self.credentials = Credentials(config.tls.ca.parent, config.containers, APP_UID)
        self.groups = Groups(config.cgroup_dir)
        self.starting = asyncio.Semaphore(config.parallel_starts)
        """Held by each container that is being started."""
        subnet = config.overlay_subnet
        # Neither the network's own address nor .1, which a reader expects to be a gateway, nor the broadcast.
        self.addresses = Pool(int(subnet.network_address) + 2, subnet.num_addresses - 3)
        self.host_ports = Pool(config.host_port_start, config.host_port_count)
        config.containers.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not config.resolv_conf.exists():
            config.resolv_conf.parent.mkdir(parents=True, exist_ok=True)
            config.resolv_conf.write_text(f"nameserver {config.dns_server}\n")

    # ---- Names and files

    def reserve(self, recipe: Recipe, guid: str, index: int, domain: str, address: str) -> Record:
        """Give a new container its name and ports, and write its record before anything else is made.

        Raises ContainerFailedError if the cell has no ports left.
        """
        config = self.config
        taken = [self.host_ports.take() for _ in recipe.ports]
        host_ports = [port for port in taken if port is not None]
        if len(host_ports) < len(recipe.ports):
            self.host_ports.give_back(host_ports)
            raise ContainerFailedError(f"{config.cell_id} has no host ports left")
        pairs = [PortPair(app, host) for app, host in zip(recipe.ports, host_ports, strict=True)]
        node = self._claim_name(node_name(recipe.app_name, index), guid)
        namespace = f"{config.lab}-{node}"
        logs = config.run_dir / "log" / node
        logs.mkdir(parents=True, exist_ok=True)
        folder = config.containers / guid
        record = Record(
            handle=guid,
            node=node,
            namespace=namespace,
            namespace_path=str(config.namespaces / namespace),
            cell=config.cell_id,
            app_name=recipe.app_name,
            app_guid=recipe.app_guid,
            process_guid=recipe.process_guid,
            domain=domain,
            index=index,
            instance_guid=guid,
            address=address,
            cell_address=config.cell_address,
            app_port=pairs[0].app_port,
            host_port=pairs[0].host_port,
            ports=pairs,
            sidecar_port=SIDECAR_PORT,
            logs={
                "app": str(logs / "app.log"),
                "sidecar": str(logs / "sidecar.log"),
                "access": str(logs / "sidecar.access.log"),
            },
            admin=str(folder / "envoy" / "admin.sock"),
        )
        record.write(config.containers)
        return record

    def _claim_name(self, name: str, guid: str) -> str:
        """The container's name, or that with a bit of its guid if somebody has it: a VM, or its own predecessor."""
        if not netns.exists(f"{self.config.lab}-{name}", self.config.namespaces):
            # Two cells may want one name at the same moment, and making a namespace twice is no error; a symlink is
            # made with what it says or not at all.
            try:
                self._name_file(name).symlink_to(self._holder(guid))
            except FileExistsError:
                pass
            else:
                return name
        return f"{name}-{guid[:4]}"

    def _name_file(self, name: str) -> Path:
        return self.config.containers / f"{name}.name"

    def _holder(self, guid: str) -> str:
        return f"{self.config.cell_id}/{guid}"

    def _release_name(self, record: Record) -> None:
        path = self._name_file(record.node)
        if path.is_symlink() and os.readlink(path) == self._holder(record.handle):
            path.unlink()

    def release_names(self) -> None:
        """Take back the names of this cell's containers that have no record: their rep ended before it wrote one."""
        for path in self.config.containers.glob("*.name"):
            with contextlib.suppress(FileNotFoundError):
                cell, _, guid = os.readlink(path).partition("/")
                if cell == self.config.cell_id and not (self.config.containers / f"{guid}.json").exists():
                    path.unlink()

    def rename(self, record: Record) -> None:
        """Free the name of a container that has ended, before it is taken down.

        What is left of it goes by another name, and its processes keep their namespace for as long as they last.
        """
        try:
            netns.delete(record.namespace, self.config.namespaces)
        except NetlabError as error:
            self._log.error("%s: %s", record.node, error)
            return
        self._release_name(record)
        record.node = f"{record.node}-{record.handle[:8]}-ended"
        record.namespace = f"{self.config.lab}-{record.node}"
        record.namespace_path = str(self.config.namespaces / record.namespace)
        record.write(self.config.containers)

    async def furnish(self, record: Record, recipe: Recipe) -> None:
        """Fill the container's folder: the app's bits, and the sidecar's bootstrap."""
        folder = self.config.containers / record.handle
        app, sidecar = folder / "app", folder / "envoy"
        for path, uid in ((folder, 0), (app, APP_UID), (sidecar, ENVOY_UID)):
            path.mkdir(mode=0o755, exist_ok=True)
            os.chown(path, uid, uid)
        if recipe.is_demo:
            shutil.copyfile(Path(netlab.demo.__file__).with_name("app.py"), app / "app.py")
        elif recipe.directory:
            await _copy(Path(recipe.directory), app)
        (app / TMP).mkdir(mode=0o700, exist_ok=True)
        os.chown(app / TMP, APP_UID, APP_UID)
        self.credentials.issue(record.handle, record.address, recipe.units)
        bootstrap = self._make_bootstrap(
            record.address,
            record.handle,
            self.config.pilot_address,
            record.admin,
            list(recipe.ports),
            {"cfapp": recipe.capi_process_guid},
        )
        (sidecar / "bootstrap.json").write_text(json.dumps(bootstrap))

    # ---- Kernel

    def net(self, record: Record) -> ContainerNet:
        """The container's place in the network."""
        return ContainerNet(
            handle=record.handle,
            app_name=record.app_name,
            index=record.index,
            namespace=record.namespace,
            cell_namespace=self.config.namespace,
            address=record.address,
            cell_address=record.cell_address,
            ports=tuple(record.ports),
        )

    async def connect(self, record: Record) -> None:
        """Make the namespace, the link and the rules; raises KernelError or ForeignObjectError."""
        await self._connecting.do(self.net(record))

    def _connect(self, nets: Sequence[ContainerNet]) -> None:
        plans = [container_plan(net) for net in nets]
        executor.apply([op for plan in plans for op in plan.ops], self.config.namespaces)
        self._rules.apply_all(
            [
                (self._cell_namespace, [plan.cell_rules for plan in plans]),
                *(
                    (self.config.namespaces / n.namespace, [p.container_rules])
                    for n, p in zip(nets, plans, strict=True)
                ),
            ]
        )

    def _disconnect(self, nets: Sequence[ContainerNet]) -> None:
        self._rules.apply(self._cell_namespace, *(container_plan(net).cell_cleanup for net in nets))

    def start_sidecar(self, record: Record) -> Watched:
        """Start the container's Envoy."""
        bootstrap = self.config.containers / record.handle / "envoy" / "bootstrap.json"
        child = process.spawn(
            launch.argv(self.config.envoy_binary, bootstrap),
            netns=Path(record.namespace_path),
            uid=ENVOY_UID,
            gid=ENVOY_UID,
            env=_ENVOY_ENV,
            stdout=Path(record.logs["access"]),
            stderr=Path(record.logs["sidecar"]),
            resolv_conf=self.config.resolv_conf,
            cgroup=self.groups.make_sidecar(record.handle),
        )
        return watch(child)

    def start_app(self, record: Record, recipe: Recipe) -> Watched:
        """Start the app itself."""
        home = self.config.containers / record.handle / "app"
        log = Path(record.logs["app"])
        argv = [_python(), "-S", "-E", "app.py"] if recipe.is_demo else [recipe.program, *recipe.arguments]
        child = process.spawn(
            argv,
            netns=Path(record.namespace_path),
            uid=APP_UID,
            gid=APP_UID,
            env=environment(
                recipe,
                guid=record.instance_guid,
                index=record.index,
                address=record.address,
                cell_address=record.cell_address,
                ports=record.ports,
                home=str(home),
                credentials=self.credentials.environment(record.handle),
            ),
            cwd=home,
            stdout=log,
            stderr=log,
            resolv_conf=self.config.resolv_conf,
            cgroup=self.groups.make_app(record.handle, recipe),
            nofile=recipe.nofile,
        )
        return watch(child)

    async def dismantle(self, record: Record) -> None:
        """Take back everything that `reserve`, `furnish` and `connect` made; whatever is not there is fine.

        The container's processes are killed, if any is left. What cannot be taken back is logged.
        """
        try:
            await self._disconnecting.do(self.net(record))
        except NetlabError as error:
            self._log.error("%s: %s", record.node, error)
        steps: list[Callable[[], None]] = [
            lambda: self.groups.end(record.handle),
            lambda: netns.delete(record.namespace, self.config.namespaces),
        ]
        for step in steps:
            try:
                step()
            except NetlabError as error:
                self._log.error("%s: %s", record.node, error)
        shutil.rmtree(self.config.containers / record.handle, ignore_errors=True)
        self._release_name(record)
        record.remove(self.config.containers)
        self.host_ports.give_back(pair.host_port for pair in record.ports)

    @property
    def _cell_namespace(self) -> Path:
        return self.config.namespaces / self.config.namespace


async def _copy(source: Path, target: Path) -> None:
    """Copy an app's bits as root and give them to the app's user, so that no folder on the way need be open to it."""
    if not source.is_dir():
        raise ContainerFailedError(f"the app's directory {source} does not exist")
    copying = watch(process.spawn(["cp", "-rT", "--preserve=mode,timestamps", f"{source}/.", target]))
    status = await copying.exited
    if status != 0:
        raise ContainerFailedError(f"the app's directory {source} cannot be copied: cp {status}")
    for directory, folders, files in os.walk(target):
        for name in (*folders, *files):
            os.chown(os.path.join(directory, name), APP_UID, APP_UID, follow_symlinks=False)


def _python() -> str:
    """A Python that every user may run: the system's own rather than one of somebody's environment."""
    return shutil.which("python3", path=_SYSTEM_PATH) or sys.executable
