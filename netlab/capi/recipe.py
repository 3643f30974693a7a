"""How a process looks to Diego: the desired LRP, a pure function of the process and its routes.

An app's command travels as Diego's run action, `/bin/sh -c <command>` in the directory that holds the bits.
The built-in demo app has no bits and no command; its action names the program `netlab-demo`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netlab.capi.config import CapiConfig
from netlab.capi.models import DEFAULT_PORT, Process, diego_guid
from netlab.protocols import bbs_pb2 as bbs

LRP_DOMAIN = "cf-apps"
DEMO_PROGRAM = "netlab-demo"
_USER = "vcap"
_START_TIMEOUT_MS = 60_000
_NOFILE = 16_384


class Target(NamedTuple):
    """One route of an app, as far as its instances are concerned."""

    process_type: str
    host: str
    path: str
    internal: bool
    port: int | None

    @property
    def uri(self) -> str:
        """The route without its scheme."""
        return self.host + self.path


def ports(process: Process, targets: Iterable[Target]) -> list[int]:
    """The ports of a process's container: its bits' own, and every port that a route is mapped to."""
    found = [] if process.app.own_port is None else [process.app.own_port]
    found += [target.port or process.app.port for target in targets]
    return list(dict.fromkeys(found)) or [DEFAULT_PORT]


def lrp_routes(targets: Iterable[Target], default_port: int) -> bbs.ProtoRoutes:
    """The routes that a desired LRP carries for the emitters: `cf-router` and `internal-router`."""
    external = []
    internal = []
    for target in targets:
        if target.internal:
            internal.append({"hostname": target.host})
            continue
        external.append(
            {
                "hostnames": [target.uri],
                "port": target.port or default_port,
                "route_service_url": None,
                "isolation_segment": None,
            }
        )
    return bbs.ProtoRoutes(
        routes={
            "cf-router": json.dumps(external, separators=(",", ":")).encode(),
            "internal-router": json.dumps(internal, separators=(",", ":")).encode(),
        }
    )


def desired_lrp(
    process: Process,
    targets: Sequence[Target],
    config: CapiConfig,
    version: str | None = None,
    instances: int | None = None,
) -> bbs.DesiredLRP:
    """A process, with the routes that lead to it, as Diego is asked to run it.

    By default all instances are of its present version; while one version replaces another there is an LRP for each.
    """
    app = process.app
    version = process.version if version is None else version
    container_ports = ports(process, targets)
    command = process.command
    environment = [
        bbs.EnvironmentVariable(name=name, value=value)
        for name, value in _environment(process, targets, container_ports[0], config, version).items()
    ]
    action = bbs.RunAction(
        path=DEMO_PROGRAM if command is None else "/bin/sh",
        args=[] if command is None else ["-c", command],
        dir=app.directory or "",
        env=environment,
        user=_USER,
        log_source=f"APP/PROC/{process.type.upper()}",
        resource_limits=bbs.ResourceLimits(nofile=_NOFILE),
    )
    organization = app.space.organization
    return bbs.DesiredLRP(
        process_guid=diego_guid(process.guid, version),
        domain=LRP_DOMAIN,
        root_fs="preloaded:netlab",
        instances=process.instances if instances is None else instances,
        environment_variables=[bbs.EnvironmentVariable(name="LANG", value="C.UTF-8")],
        action=bbs.Action(run_action=action),
        disk_mb=process.disk_in_mb,
        memory_mb=process.memory_in_mb,
        cpu_weight=max(1, min(100, process.memory_in_mb * 100 // 8192)),
        ports=container_ports,
        routes=lrp_routes(targets, app.port),
        log_source="CELL",
        log_guid=app.guid,
        network=bbs.Network(
            properties={
                "policy_group_id": app.guid,
                "app_id": app.guid,
                "space_id": app.space_guid,
                "org_id": organization.guid,
                "ports": ",".join(map(str, container_ports)),
                "container_workload": "app",
            }
        ),
        start_timeout_ms=1000 * int(process.health_check_data.get("timeout") or 0) or _START_TIMEOUT_MS,
        max_pids=1024,
        certificate_properties=bbs.CertificateProperties(
            organizational_unit=[
                f"organization:{organization.guid}",
                f"space:{app.space_guid}",
                f"app:{app.guid}",
            ]
        ),
        check_definition=_check(process, container_ports[0]),
        metric_tags=_metric_tags(process),
    )


def _environment(
    process: Process, targets: Iterable[Target], port: int, config: CapiConfig, version: str
) -> dict[str, str]:
    application = vcap_application(process, targets, config)
    application |= {"version": version, "application_version": version}
    return {
        **process.app.environment,
        "VCAP_APPLICATION": json.dumps(application),
        "VCAP_SERVICES": "{}",
        "MEMORY_LIMIT": f"{process.memory_in_mb}m",
        "PORT": str(port),
    }


def vcap_application(process: Process, targets: Iterable[Target], config: CapiConfig) -> dict[str, object]:
    """What an app is told of itself."""
    app = process.app
    uris = [target.uri for target in targets]
    return {
        "cf_api": config.api_url,
        "limits": {"fds": _NOFILE, "mem": process.memory_in_mb, "disk": process.disk_in_mb},
        "application_name": app.name,
        "application_uris": uris,
        "name": app.name,
        "space_name": app.space.name,
        "space_id": app.space_guid,
        "organization_id": app.space.organization_guid,
        "organization_name": app.space.organization.name,
        "uris": uris,
        "users": None,
        "process_id": process.guid,
        "process_type": process.type,
        "application_id": app.guid,
        "version": process.version,
        "application_version": process.version,
    }


def _check(process: Process, port: int) -> bbs.CheckDefinition:
    checks: Iterable[bbs.Check] = ()
    data = process.health_check_data
    wait_ms = 1000 * int(data.get("invocation_timeout") or 1)
    interval_ms = 1000 * int(data.get("interval") or 0)
    if process.health_check_type == "port":
        checks = [bbs.Check(tcp_check=bbs.TCPCheck(port=port, connect_timeout_ms=wait_ms, interval_ms=interval_ms))]
    elif process.health_check_type == "http":
        path = str(data.get("endpoint") or "/")
        check = bbs.HTTPCheck(port=port, path=path, request_timeout_ms=wait_ms, interval_ms=interval_ms)
        checks = [bbs.Check(http_check=check)]
    return bbs.CheckDefinition(checks=checks, log_source="HEALTH")


def _metric_tags(process: Process) -> dict[str, bbs.MetricTagValue]:
    app = process.app
    static = {
        "source_id": app.guid,
        "app_id": app.guid,
        "app_name": app.name,
        "process_id": process.guid,
        "process_type": process.type,
        "space_id": app.space_guid,
        "space_name": app.space.name,
        "organization_id": app.space.organization_guid,
        "organization_name": app.space.organization.name,
    }
    tags = {name: bbs.MetricTagValue(static=value) for name, value in static.items()}
    tags["instance_id"] = bbs.MetricTagValue(dynamic=bbs.MetricTagValue.INDEX)
    tags["process_instance_id"] = bbs.MetricTagValue(dynamic=bbs.MetricTagValue.INSTANCE_GUID)
    return tags
