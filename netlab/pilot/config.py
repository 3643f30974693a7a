"""Pilot's configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from netlab.tls import TlsFiles


class ConfigSource(BaseModel):
    """Where Istio resources come from: an MCP server at `address` (`ip:port`), with mutual TLS if `tls` is given."""

    model_config = ConfigDict(extra="forbid")

    address: str
    tls: TlsFiles | None = None


class PilotConfig(BaseModel):
    """What the job is given; each `…_listen` is `ip:port`."""

    model_config = ConfigDict(extra="forbid")

    ads_listen: str
    """gRPC `envoy.service.discovery.v3.AggregatedDiscoveryService`, plaintext."""
    http_listen: str
    """`/ready` and `/debug/…`."""
    config_sources: list[ConfigSource]
    """In order of precedence: of resources of one kind and name the first source's is used."""
    debounce_ms: NonNegativeFloat = 5
    """A change is acted on once nothing further came for that long …"""
    debounce_max_ms: NonNegativeFloat = 200
    """… but never later than that."""
