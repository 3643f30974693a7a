"""The load balancer's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class PortMapping(_Model):
    """A port of the virtual address, and the routers' port behind it."""

    listen: Port
    target: Port


class Router(_Model):
    """One ingress Envoy: its node name and its address on the deployment network."""

    name: str
    address: str


class LoadBalancerConfig(_Model):
    """What the load balancer balances, and when it takes a router for healthy. Times are in seconds."""

    namespace_path: Path
    vip: str
    port_map: tuple[PortMapping, ...] = (PortMapping(listen=80, target=80),)
    routers: tuple[Router, ...] = ()
    health_port: Port = 8002
    health_path: str = "/healthcheck"
    interval_seconds: Seconds = 0.5
    timeout_seconds: Seconds = 1.0
    unhealthy_threshold: Annotated[int, Field(ge=1)] = 2
    healthy_threshold: Annotated[int, Field(ge=1)] = 1
    system_vip: str | None = None
    api_address: str | None = None
    hairpin_network: str | None = None
    """The network behind the load balancer. Its own hosts reach the virtual addresses only if their connections
    are masqueraded, because the answer would else take the short way; all other clients keep their address."""
    rule_backend: Literal["iptc", "iptables-restore"] | None = None
