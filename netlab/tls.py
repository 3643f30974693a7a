"""Mutual TLS between components: where a component's certificate lies, and the contexts made of it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    import grpc


class TlsFiles(BaseModel):
    """Paths of PEM files: a component's certificate, its key, and the CA that signed its peers."""

    certificate: Path
    private_key: Path
    ca: Path

    @classmethod
    def of(cls, directory: Path, component: str) -> TlsFiles:
        """A component's files in the lab's folder of certificates."""
        return cls(
            certificate=directory / f"{component}.crt",
            private_key=directory / f"{component}.key",
            ca=directory / "ca.crt",
        )

    def server_context(self, *, client_certificate: bool = True) -> ssl.SSLContext:
        """A server's context, TLS 1.2 or later; by default a peer must show a certificate of the lab's CA."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.load_cert_chain(self.certificate, self.private_key)
        context.verify_mode = ssl.CERT_REQUIRED if client_certificate else ssl.CERT_NONE
        return context

    def client_context(self) -> ssl.SSLContext:
        """A client's context: verifies the server's name and shows the component's own certificate."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca))
        context.load_cert_chain(self.certificate, self.private_key)
        return context

    def grpc_server_credentials(self) -> grpc.ServerCredentials:
        """gRPC server credentials that require a client certificate."""
        import grpc

        pair = (self.private_key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], self.ca.read_bytes(), require_client_auth=True)

    def grpc_channel_credentials(self) -> grpc.ChannelCredentials:
        """gRPC client credentials with the component's own certificate."""
        import grpc

        return grpc.ssl_channel_credentials(
            self.ca.read_bytes(), self.private_key.read_bytes(), self.certificate.read_bytes()
        )
