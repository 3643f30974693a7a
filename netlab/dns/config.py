"""The DNS server's configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DnsConfig(BaseModel):
    """Where the server listens, and what it answers."""

    model_config = ConfigDict(frozen=True)

    listen: tuple[str, ...]
    """Addresses as `ip:port`; each serves UDP and TCP."""
    zones: dict[str, str] = Field(default={})
    """Wildcard zones: every name at or below the key has the IPv4 address."""
    names: dict[str, str] = Field(default={})
    """Single names and their IPv4 addresses; other names of their parent domains do not exist."""
