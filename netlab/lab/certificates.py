"""The lab's own certificate authorities and key pairs, made at `up` and gone with the lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from netlab.authority import Authority, write
from netlab.tls import TlsFiles


def make(directory: Path, lab: str, components: Mapping[str, Sequence[str]]) -> None:
    """Make the components' CA with one key pair for each, and the CA of the app instances' identities.

    `components` maps a component's name to its further subject alternative names: DNS names and IPv4 addresses; each
    certificate serves both ends of a connection (mutual TLS). The components' CA cannot sign any more afterwards; the
    other's key stays, readable by root, for the reps, which sign at run time.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    authority = Authority.create(f"netlab {lab} CA")
    write(directory / "ca.crt", authority.pair.certificate, 0o644)
    for component, names in components.items():
        pair = authority.issue(component, names)
        paths = TlsFiles.of(directory, component)
        write(paths.certificate, pair.certificate, 0o644)
        write(paths.private_key, pair.private_key, 0o600)
    instances = Authority.create(f"netlab {lab} instance identity CA").pair
    write(directory / "instance-identity-ca.crt", instances.certificate, 0o644)
    write(directory / "instance-identity-ca.key", instances.private_key, 0o600)
