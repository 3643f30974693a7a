"""What the BBS is told by the lab."""

from __future__ import annotations

from pydantic import BaseModel

from netlab.tls import TlsFiles


class BbsConfig(BaseModel):
    """The configuration of one BBS; `listen` strings are `ip:port`."""

    listen: str
    """The API, by mutual TLS."""
    health_listen: str
    """`GET /ping` without TLS."""
    tls: TlsFiles
    database_url: str
    """An SQLAlchemy URL; its tables are made when they are missing."""
    auctioneer_url: str
    cell_ttl_seconds: float = 5.0
    """How long a cell counts as present after its last heartbeat."""
    repair_seconds: float = 30.0
    """How often everything is compared with what is desired, whether or not something changed."""
