"""Instance identity: a certificate of its own for each container, renewed before it ends.

As in Diego: the common name and a DNS name are the instance's guid, an IP address is the container's, the
organizational units tell organization, space and app; valid for 24 hours, renewed 30 minutes before that is over
(or at an eighth of a shorter validity). Keys are EC P-256 where Diego has RSA of 2,048 bits: those cost 50 to 100 ms of
processor time each, these less than one. Source: cloudfoundry/executor `depot/containerstore/credmanager.go`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from netlab.authority import Authority, write

VALIDITY = datetime.timedelta(hours=24)
_RENEWAL = datetime.timedelta(minutes=30)
CERTIFICATE = "instance.crt"
PRIVATE_KEY = "instance.key"
CA = "instance-identity-ca.crt"


class Credentials:
    """The credentials of the containers of one cell."""

    def __init__(self, authority: Path, containers: Path, uid: int, validity: datetime.timedelta = VALIDITY) -> None:
        """`authority` is the folder of its files, `containers` that of the containers, `uid` who may read the keys.

        Raises OSError if the authority cannot be read, ValueError if it is none.
        """
        self._authority = Authority.read(authority / CA, authority / "instance-identity-ca.key")
        self._containers = containers
        self._uid = uid
        self._validity = validity
        self._renewal = min(_RENEWAL, validity / 8)

    def issue(self, guid: str, address: str, units: Sequence[str]) -> None:
        """Write a container's certificate, its key and the CA's certificate, over those that were there."""
        folder = self._folder(guid)
        folder.mkdir(mode=0o755, exist_ok=True)
        pair = self._authority.issue(guid, [address], units=units, validity=self._validity)
        # The key first: who reads a new certificate finds its key there.
        write(folder / PRIVATE_KEY, pair.private_key, 0o400, uid=self._uid)
        write(folder / CERTIFICATE, pair.certificate, 0o444)
        write(folder / CA, self._authority.pair.certificate, 0o444)

    def environment(self, guid: str) -> dict[str, str]:
        """Where an app finds its credentials: Diego's variables, with the container's own folder."""
        folder = self._folder(guid)
        return {
            "CF_INSTANCE_CERT": str(folder / CERTIFICATE),
            "CF_INSTANCE_KEY": str(folder / PRIVATE_KEY),
            "CF_SYSTEM_CERT_PATH": str(folder),
        }

    def renew(self, containers: Mapping[str, str]) -> float:
        """Renew what is due, for the same organization, space and app; returns the seconds until the next one is.

        `containers` has the address of each container by its guid. Whose certificate cannot be read is left alone: it
        is being taken down, or somebody emptied its folder.
        """
        next_due = self._validity.total_seconds()
        for guid, address in containers.items():
            try:
                certificate = x509.load_pem_x509_certificate((self._folder(guid) / CERTIFICATE).read_bytes())
            except (OSError, ValueError):
                continue
            due = certificate.not_valid_after_utc - self._renewal
            seconds = (due - datetime.datetime.now(datetime.UTC)).total_seconds()
            if seconds <= 0:
                units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
                self.issue(guid, address, [str(unit.value) for unit in units])
                seconds = (self._validity - self._renewal).total_seconds()
            next_due = min(next_due, seconds)
        return next_due

    def _folder(self, guid: str) -> Path:
        return self._containers / guid / "credentials"
