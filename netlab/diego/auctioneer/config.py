"""What the auctioneer is told by the lab."""

from __future__ import annotations

from pydantic import BaseModel

from netlab.tls import TlsFiles


class AuctioneerConfig(BaseModel):
    """The configuration of one auctioneer."""

    listen: str
    """`ip:port`, by mutual TLS."""
    tls: TlsFiles
    bbs_url: str
