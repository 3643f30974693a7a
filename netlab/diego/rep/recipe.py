"""What a desired LRP says about its containers: names, ports, program, environment and health; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netlab.protocols import bbs_pb2

DEMO_PROGRAM = "netlab-demo"
"""The program of an app without bits of its own."""
DEFAULT_PORT = 8080
START_TIMEOUT = 60.0
TMP = "tmp"
"""The folder for temporary files, in the app's home."""
LIVENESS_SECONDS = 30.0
"""Between two checks of an instance that runs, unless its own interval is given."""
_NAME_LIMIT = 40
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """An app is healthy when `GET path` on `port` answers 200 within `timeout` seconds."""

    port: int
    path: str
    timeout: float
    interval: float = LIVENESS_SECONDS
    """Seconds between two checks of an instance that runs."""


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """An app is healthy when `port` accepts a connection within `timeout` seconds."""

    port: int
    timeout: float = 1.0
    interval: float = LIVENESS_SECONDS
    """Seconds between two checks of an instance that runs."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One process, as far as its containers are concerned."""

    process_guid: str
    app_name: str
    app_guid: str
    capi_process_guid: str
    ports: tuple[int, ...]
    program: str
    arguments: tuple[str, ...]
    directory: str
    """Where the app's bits are on this machine; empty if it has none."""
    environment: Mapping[str, str]
    checks: tuple[HttpCheck | TcpCheck, ...]
    start_timeout: float
    """Seconds in which the app must become healthy."""
    nofile: int | None
    memory_mb: int
    """The app's memory; 0 for no limit."""
    cpu_weight: int
    """Its share of the processor among its neighbours, 1 to 100."""
    max_pids: int
    """How many processes it may have; 0 for no limit."""
    units: tuple[str, ...]
    """The organizational units of its certificate."""

    @property
    def is_demo(self) -> bool:
        """Whether the built-in demo app is meant."""
        return self.program == DEMO_PROGRAM


@dataclass(frozen=True, slots=True)
class PortPair:
    """A port of the app and the port of the cell that leads to it."""

    app_port: int
    host_port: int


def of_desired(desired: bbs_pb2.DesiredLRP) -> Recipe:
    """The recipe that a desired LRP carries; what it leaves out has Diego's defaults."""
    run = _find_run(desired.action) or bbs_pb2.RunAction(path=DEMO_PROGRAM)
    variables = [*desired.environment_variables, *run.env]
    environment = {variable.name: variable.value for variable in variables}
    tags = {name: value.static for name, value in desired.metric_tags.items()}
    ports = tuple(dict.fromkeys(desired.ports)) or (DEFAULT_PORT,)
    limits = run.resource_limits
    return Recipe(
        process_guid=desired.process_guid,
        app_name=tags.get("app_name") or str(_application(environment).get("application_name", desired.process_guid)),
        app_guid=tags.get("app_id") or desired.log_guid,
        capi_process_guid=tags.get("process_id") or desired.process_guid,
        ports=ports,
        program=run.path or DEMO_PROGRAM,
        arguments=tuple(run.args),
        directory=run.dir,
        environment=environment,
        checks=_checks(desired, ports),
        start_timeout=desired.start_timeout_ms / 1000 or START_TIMEOUT,
        nofile=limits.nofile if limits.HasField("nofile") and limits.nofile else None,
        memory_mb=desired.memory_mb,
        cpu_weight=desired.cpu_weight or 100,
        max_pids=desired.max_pids,
        units=tuple(desired.certificate_properties.organizational_unit),
    )


def node_name(app_name: str, index: int) -> str:
    """The name under which a person sees the container: the app's, fit for a file and an interface's owner."""
    name = re.sub(r"[^a-z0-9]+", "-", app_name.lower()).strip("-")[:_NAME_LIMIT].rstrip("-")
    return f"{name or 'app'}-{index}"


def environment(
    recipe: Recipe,
    *,
    guid: str,
    index: int,
    address: str,
    cell_address: str,
    ports: Sequence[PortPair],
    home: str,
    credentials: Mapping[str, str],
) -> dict[str, str]:
    """The environment of an app's process, as Diego's launcher makes it; the instance's own variables win."""
    first = ports[0]
    application = _application(recipe.environment)
    if application:
        application |= {"instance_id": guid, "instance_index": index, "host": "0.0.0.0", "port": first.app_port}
    own = {
        "INSTANCE_GUID": guid,
        "INSTANCE_INDEX": str(index),
        "CF_INSTANCE_GUID": guid,
        "CF_INSTANCE_INDEX": str(index),
        "CF_INSTANCE_IP": cell_address,
        "CF_INSTANCE_PORT": str(first.host_port),
        "CF_INSTANCE_ADDR": f"{cell_address}:{first.host_port}",
        "CF_INSTANCE_PORTS": json.dumps([{"external": pair.host_port, "internal": pair.app_port} for pair in ports]),
        "CF_INSTANCE_INTERNAL_IP": address,
        "PORT": str(first.app_port),
        "VCAP_APPLICATION": json.dumps(application or {"application_name": recipe.app_name}),
    }
    general = {"PATH": _PATH, "LANG": "C.UTF-8", "USER": "vcap", "HOME": home, "TMPDIR": f"{home}/{TMP}"}
    return {**general, **recipe.environment, **own, **credentials}


def _application(environment: Mapping[str, str]) -> dict[str, object]:
    try:
        application = json.loads(environment.get("VCAP_APPLICATION", "{}"))
    except ValueError:
        return {}
    return application if isinstance(application, dict) else {}


def _find_run(action: bbs_pb2.Action) -> bbs_pb2.RunAction | None:
    """The first run action of a tree of actions; what is wrapped around it has no meaning here."""
    if action.HasField("run_action"):
        return action.run_action
    wrapped = [
        *([action.timeout_action.action] if action.HasField("timeout_action") else []),
        *([action.try_action.action] if action.HasField("try_action") else []),
        *([action.emit_progress_action.action] if action.HasField("emit_progress_action") else []),
        *action.codependent_action.actions,
        *action.serial_action.actions,
        *action.parallel_action.actions,
    ]
    return next((found for inner in wrapped if (found := _find_run(inner)) is not None), None)


def _checks(desired: bbs_pb2.DesiredLRP, ports: Sequence[int]) -> tuple[HttpCheck | TcpCheck, ...]:
    if not desired.HasField("check_definition"):
        return (TcpCheck(ports[0]),)
    found: list[HttpCheck | TcpCheck] = []
    for check in desired.check_definition.checks:
        if check.HasField("http_check"):
            http = check.http_check
            timeout = (http.request_timeout_ms or 1000) / 1000
            interval = http.interval_ms / 1000 or LIVENESS_SECONDS
            found.append(HttpCheck(http.port or ports[0], http.path or "/", timeout, interval))
        elif check.HasField("tcp_check"):
            tcp = check.tcp_check
            timeout, interval = (tcp.connect_timeout_ms or 1000) / 1000, tcp.interval_ms / 1000 or LIVENESS_SECONDS
            found.append(TcpCheck(tcp.port or ports[0], timeout, interval))
    return tuple(found)
