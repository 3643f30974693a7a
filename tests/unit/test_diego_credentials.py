"""Instance identity: what a container's certificate says, and when it is renewed."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from netlab.diego.rep.credentials import Credentials
from netlab.lab import certificates

GUID = "3b6f7c1e-0000-4000-8000-000000000001"
UNITS = ["organization:o-guid", "space:s-guid", "app:a-guid"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    certificates.make(tmp_path / "tls", "lab", {})
    (tmp_path / "containers" / GUID).mkdir(parents=True)
    return tmp_path


def credentials(folder: Path, **validity: float) -> Credentials:
    more = {"validity": datetime.timedelta(**validity)} if validity else {}
    return Credentials(folder / "tls", folder / "containers", os.getuid(), **more)


def certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "containers" / GUID / "credentials" / "instance.crt").read_bytes())


def test_a_certificate_says_which_instance_of_which_app_it_is(folder):
    credentials(folder).issue(GUID, "10.255.1.2", UNITS)
    found = certificate(folder)
    (name,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == GUID
    units = [unit.value for unit in found.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    assert units == UNITS
    alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == [GUID]
    assert [str(ip) for ip in alternative.get_values_for_type(x509.IPAddress)] == ["10.255.1.2"]
    left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(hours=23, minutes=59) < left <= datetime.timedelta(hours=24)


def test_openssl_verifies_it_against_the_ca_that_the_app_is_given(folder):
    own = credentials(folder)
    own.issue(GUID, "10.255.1.2", UNITS)
    variables = own.environment(GUID)
    ca = Path(variables["CF_SYSTEM_CERT_PATH"]) / "instance-identity-ca.crt"
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", ca, variables["CF_INSTANCE_CERT"]], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith(": OK"), done
    assert Path(variables["CF_INSTANCE_KEY"]).stat().st_mode & 0o777 == 0o400


def test_it_is_renewed_for_the_same_app_before_it_ends(folder):
    short = credentials(folder, seconds=8)
    short.issue(GUID, "10.255.1.2", UNITS)
    first = certificate(folder)
    # An eighth of it is 1 s, so it is due in 7 s.
    assert 6 < short.renew({GUID: "10.255.1.2"}) <= 7
    assert certificate(folder) == first
    later = credentials(folder, hours=24)
    assert later.renew({GUID: "10.255.1.2"}) == pytest.approx(23.5 * 3600, abs=60)
    second = certificate(folder)
    assert second.serial_number != first.serial_number
    assert second.subject == first.subject


def test_a_container_that_is_being_taken_down_does_not_hold_up_others(folder):
    assert credentials(folder).renew({"gone": "10.255.1.3"}) == 24 * 3600
