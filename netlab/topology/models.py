"""The topology: what a lab shall consist of, as frozen pydantic models.

A model is valid in itself (types, ranges, names) and as a whole (`netlab.topology.checks`); every violation
is an error of pydantic's whose place `netlab.topology.load` turns into a line of the file.
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Network
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from netlab.topology.checks import contradictions

LABEL_LIMIT = 32
"""Longest name of a lab, an app or a route's host, in characters."""

_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MEMORY = re.compile(r"([1-9][0-9]{0,6})(M|MB|G|GB)")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/?")


def _bad(message: str) -> PydanticCustomError:
    """An error whose text reaches the person as it is; braces are text, not a template."""
    return PydanticCustomError("topology", "{message}", {"message": message})


def _label(value: str) -> str:
    if len(value) > LABEL_LIMIT:
        raise _bad(f"is {len(value)} characters long; at most {LABEL_LIMIT} are allowed")
    if not _LABEL.fullmatch(value):
        raise _bad(f"{value!r} is no name; use lower-case letters, digits and '-', from a letter to a letter or digit")
    return value


def _domain(value: str) -> str:
    labels = value.split(".")
    if len(value) > 200 or len(labels) < 2 or not all(_DNS_LABEL.fullmatch(label) for label in labels):
        raise _bad(f"{value!r} is no domain; write lower-case labels joined by dots, such as mesh.example.test")
    if labels[-1].isdigit():
        raise _bad(f"{value!r} is an address, not a domain; write a name such as mesh.example.test")
    return value


def _network(value: Any) -> IPv4Network:
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str):
        raise _bad(f"must be an IPv4 network such as 10.0.0.0/16, not {value!r}")
    try:
        return IPv4Network(value)
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise _bad(f"{value!r} is no IPv4 network; write it as 10.0.0.0/16") from None
    if loose.version == 6:
        raise _bad(f"{value!r} is IPv6; give an IPv4 network such as 10.0.0.0/16")
    raise _bad(f"{value!r} has bits set beyond its prefix; the network is {loose}")


def _memory(value: str) -> str:
    if not _MEMORY.fullmatch(value):
        raise _bad(f"{value!r} is no amount of memory; write it as 256M or 1G")
    return value


def _env(value: Any) -> Any:
    """Whole numbers become text; what YAML could read in more than one way must be quoted."""
    if not isinstance(value, dict):
        return value
    texts: dict[str, str] = {}
    for key, item in value.items():
        if not isinstance(key, str) or not _ENV_NAME.fullmatch(key):
            raise _bad(f"{key!r} is no name of an environment variable; use letters, digits and '_'")
        if isinstance(item, int) and not isinstance(item, bool):
            item = str(item)
        if not isinstance(item, str):
            raise _bad(f"{key} must be text, not {_yaml(item)}; put the value in quotes")
        if "\0" in item:
            raise _bad(f"{key} contains a NUL character, which no environment can hold")
        texts[key] = item
    return texts


def _yaml(value: Any) -> str:
    """A value as a YAML file shows it."""
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _route(value: str) -> str:
    if "://" in value:
        raise _bad(f"{value!r} is a URL; leave out {value.split('://')[0]}://")
    host_and_domain, slash, path = value.partition("/")
    if ":" in host_and_domain:
        raise _bad(f"{value!r} has a port; leave it out, routes are served on port 80")
    if host_and_domain != host_and_domain.lower():
        raise _bad(f"{value!r} has capitals; names are written in lower case: {host_and_domain.lower() + slash + path}")
    host, dot, domain = host_and_domain.partition(".")
    if not dot or not _DNS_LABEL.fullmatch(host):
        raise _bad(f"{value!r} is no route; write host.domain or host.domain/path, such as hello.mesh.example.test")
    _domain(domain)
    if slash and (len(path) > 127 or not _PATH.fullmatch("/" + path)):
        raise _bad(f"{value!r} has no usable path; write /segment/segment of at most 128 characters, without ? or #")
    return value


def _port(value: int) -> int:
    if 15000 <= value <= 15099:
        raise _bad(f"port {value} is the sidecar's (15000 to 15099); choose another")
    return value


Label = Annotated[
    StrictStr,
    AfterValidator(_label),
    Field(json_schema_extra={"pattern": f"^{_LABEL.pattern}$", "minLength": 1, "maxLength": LABEL_LIMIT}),
]
Domain = Annotated[StrictStr, AfterValidator(_domain), Field(json_schema_extra={"format": "hostname"})]
Network = Annotated[IPv4Network, BeforeValidator(_network)]
Route = Annotated[StrictStr, AfterValidator(_route)]
Text = Annotated[StrictStr, Field(min_length=1, max_length=4096)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HostPorts(_Model):
    """The ports of each cell behind which its containers stand."""

    start: Annotated[StrictInt, Field(ge=1024, le=65535)] = Field(
        default=61000, description="First host port that a cell gives to a container."
    )
    count: Annotated[StrictInt, Field(ge=1, le=64512)] = Field(
        default=4500, description="Number of host ports, which is also the most containers a cell can hold."
    )


class Addressing(_Model):
    """The lab's networks. They exist in the lab's own namespaces only, so labs may use the same ones."""

    public: Network = Field(
        default=IPv4Network("203.0.113.0/24"),
        description="Network of the client and the load balancer's public side; a /25 or larger.",
    )
    deployment: Network = Field(
        default=IPv4Network("10.0.0.0/16"),
        description="Network of the VMs: load balancer, routers, cells and the control plane; a /22 or larger.",
    )
    overlay: Network = Field(
        default=IPv4Network("10.255.0.0/16"),
        description="Network of the containers; each cell gets a /24 of it, the first of which stays unused.",
    )
    internal_vips: Network = Field(
        default=IPv4Network("127.128.0.0/9"),
        description="Range from which Copilot takes the virtual addresses of internal routes; a /24 or larger.",
    )
    host_ports: HostPorts = Field(
        default=HostPorts(), description="Ports of each cell behind which its containers stand."
    )


class App(_Model):
    """An app that `netlab up` pushes once the lab's VMs run."""

    name: Label = Field(description="Name of the app; its containers are called NAME-0, NAME-1 and so on.")
    instances: Annotated[StrictInt, Field(ge=0)] = Field(
        default=1, description="Number of containers; 0 pushes the app without starting it."
    )
    port: Annotated[StrictInt, Field(ge=1024, le=65535), AfterValidator(_port)] = Field(
        default=8080,
        description="Port on which the app listens, 1024 or higher as it is no root; it is also given to it as $PORT.",
    )
    env: Annotated[dict[StrictStr, StrictStr], BeforeValidator(_env)] = Field(
        default={},
        description="Environment variables of the app; whole numbers are taken as text.",
        json_schema_extra={"additionalProperties": {"type": ["string", "integer"]}},
    )
    command: Text | None = Field(
        default=None,
        description="Shell command that starts the app; without one, netlab's demo app runs, which answers with JSON.",
    )
    directory: Text | None = Field(
        default=None,
        description="Folder in which the command runs, relative to the topology file; it is copied for each container.",
    )
    memory: Annotated[StrictStr, AfterValidator(_memory)] | None = Field(
        default=None,
        description="Memory limit of each container, such as 256M or 1G; none without it.",
        json_schema_extra={"examples": ["256M", "1G"]},
    )
    routes: tuple[Route, ...] = Field(
        default=(), description="Routes to the app, as host.domain or host.domain/path; several apps may share one."
    )

    @property
    def memory_mb(self) -> int | None:
        """The memory limit in MiB."""
        if self.memory is None or (match := _MEMORY.fullmatch(self.memory)) is None:
            return None
        return int(match[1]) * (1024 if match[2].startswith("G") else 1)


class Topology(_Model):
    """A lab: its size, its domains, its networks and the apps that are pushed to it."""

    name: Label = Field(description="Name of the lab; its namespaces are called NAME-NODE.")
    istio_domains: Annotated[tuple[Domain, ...], Field(min_length=1)] = Field(
        default=("mesh.example.test",), description="Domains whose routes the mesh serves; the first is the default."
    )
    system_domain: Domain = Field(
        default="sys.example.test",
        description="Domain of the control plane's own names: api, uaa, copilot, pilot and bbs.",
    )
    routers: Annotated[StrictInt, Field(ge=1, le=254)] = Field(
        default=2, description="Number of ingress Envoys, the VMs router-1, router-2 and so on."
    )
    cells: Annotated[StrictInt, Field(ge=1, le=254)] = Field(
        default=2, description="Number of Diego cells, the VMs cell-1, cell-2 and so on."
    )
    apps: tuple[App, ...] = Field(default=(), description="Apps that are pushed when the lab is up.")
    addressing: Addressing = Field(default=Addressing(), description="Networks and ports of the lab.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Raise one error that carries every contradiction between fields, each with its place."""
        if found := contradictions(self):
            text = "; ".join(message for _, message in found)
            raise PydanticCustomError("contradictions", "{message}", {"message": text, "places": found})
        return self
