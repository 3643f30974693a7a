"""What the Cloud Controller is told at its start."""

from __future__ import annotations

from ipaddress import IPv4Network

from pydantic import BaseModel

from netlab.tls import TlsFiles


class CapiConfig(BaseModel):
    """One Cloud Controller with its UAA: where it listens, what it keeps, and whom it tells."""

    listen: str
    """`ip:port` of the one HTTPS listener that serves `api.<system domain>` and `uaa.<system domain>`."""
    tls: TlsFiles
    database_url: str
    """An SQLAlchemy URL; the tables are made on the first start."""
    system_domain: str
    istio_domains: list[str] = []
    """The domains whose routes the mesh serves; a name that ends in `.internal` becomes an internal domain."""
    copilot_address: str
    """`ip:port` of Copilot's listener for the Cloud Controller (gRPC, mutual TLS)."""
    bbs_url: str
    internal_route_vip_range: IPv4Network = IPv4Network("127.128.0.0/9")
    admin_user: str = "admin"
    admin_password: str
    sync_seconds: float = 30
    """How often Copilot and the BBS are compared with the database, to repair what an outage lost."""

    @property
    def api_url(self) -> str:
        """The base of every link that the API hands out."""
        return f"https://api.{self.system_domain}"

    @property
    def uaa_url(self) -> str:
        """Where tokens are issued."""
        return f"https://uaa.{self.system_domain}"

    def in_mesh(self, domain: str, internal: bool) -> bool:
        """Whether routes of this domain are the mesh's: its own domains, their subdomains, internal domains."""
        return internal or any(domain == own or domain.endswith(f".{own}") for own in self.istio_domains)
