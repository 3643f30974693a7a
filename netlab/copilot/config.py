"""Copilot's configuration."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from netlab.tls import TlsFiles


class CopilotConfig(BaseModel):
    """What the job is given; each `…_listen` is `ip:port`."""

    model_config = ConfigDict(extra="forbid")

    cloud_controller_listen: str
    """gRPC `api.CloudControllerCopilot`, mutual TLS."""
    vip_resolver_listen: str
    """gRPC `api.VIPResolverCopilot`, plaintext."""
    mcp_listen: str
    """gRPC `istio.mcp.v1alpha1.ResourceSource`, mutual TLS."""
    tls: TlsFiles
    bbs_url: str
    reconcile_seconds: PositiveFloat = 30
    """How often the instances are listed anew, to repair what an event lost."""
    ingress_port: PositiveInt = 80
    """The port that the ingress gateway opens on every router."""
    state_file: Path | None = None
    """Where routes survive a restart, so that a restarted Copilot does not tell Pilot that there are none."""
