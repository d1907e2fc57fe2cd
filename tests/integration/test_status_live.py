"""Certificates' status of the development services, asked through the connector: of a signer, and of a time-stamp."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.ports.status import StatusUnavailable
from connectors.status.http import HttpStatus
from connectors.tsa.rfc3161 import Rfc3161
from devservices import tsa
from foundation.certificates.reading import read_anchors
from foundation.clock import SystemClock
from signing.ades.errors import CertificateRevoked
from signing.ades.validation_data import certificates_of, gather
from tests.integration.devservices import ALICE, RunningCa, csr_for, running_ca, served


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    with running_ca(tmp_path_factory.mktemp("ca") / "state") as running:
        yield running


def status_of(ca: RunningCa, **settings: object) -> HttpStatus:
    allowed = [ca.url.removeprefix("http://")]
    return HttpStatus({"egress_allow": allowed, "timeout_seconds": 30.0, "deadline_seconds": 60.0, **settings})


def anchors(ca: RunningCa) -> tuple[x509.Certificate, ...]:
    return read_anchors([ca.state / "root.crt"], "anchors")


def post(ca: RunningCa, path: str, body: dict[str, object]) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {ca.token}"}
    answer = requests.post(f"{ca.url}{path}", json=body, headers=headers, timeout=60)
    answer.raise_for_status()
    found: dict[str, object] = answer.json()
    return found


def issued(ca: RunningCa, name: str) -> tuple[bytes, ...]:
    csr = base64.b64encode(csr_for(ALICE, ec.generate_private_key(ec.SECP256R1()))).decode()
    made = post(ca, "/ca/issue", {"csr": csr, "subject": ALICE, "idempotency_key": name})["certificates"]
    assert isinstance(made, list)
    return tuple(base64.b64decode(each) for each in made)


@pytest.mark.parametrize("settings", [{}, {"ocsp_method": "get"}, {"prefer": "crl"}], ids=["post", "get", "crl"])
def test_a_signers_bare_certificate_leads_to_all_that_validates_it(ca: RunningCa, settings: dict[str, object]) -> None:
    leaf, issuing, root = issued(ca, secrets.token_hex(8))
    source = status_of(ca, **settings)
    data = gather((leaf,), source, anchors(ca), SystemClock().now(), issuers=source)
    assert data.certificates[:3] == (leaf, issuing, root)
    assert (len(data.ocsps), len(data.crls)) == ((0, 2) if "prefer" in settings else (2, 0))
    assert len(data.certificates) == 3 + len(data.ocsps), "with both responders'"


def test_a_time_stamps_certificates_lead_to_all_that_validates_it_no_older_than_the_stamp(
    ca: RunningCa, tmp_path: Path
) -> None:
    with served(tsa.build(tmp_path / "tsa", ca.state)) as url:
        table = {
            "url": f"{url}/tsa",
            "trust_anchors": [str(ca.state / "root.crt")],
            "egress_allow": [url.removeprefix("http://")],
            "timeout": 60.0,
        }
        token = Rfc3161(table).stamp(hashlib.sha256(b"value").digest(), "sha256")
    source = status_of(ca)
    chain = certificates_of(token.der)
    data = gather(chain, source, anchors(ca), SystemClock().now(), issuers=source, at_least=token.at)
    assert data.certificates[0] == chain[0]
    assert len(data.ocsps) == 1


def test_SIG_07_a_revocation_is_seen_at_once_although_the_certificate_was_good_before(ca: RunningCa) -> None:
    chain = issued(ca, "soon-to-be-revoked")
    now, source = SystemClock().now(), status_of(ca, cache_seconds=0)
    gather(chain, source, anchors(ca), now)
    post(ca, "/ca/revoke", {"certificate": base64.b64encode(chain[0]).decode(), "reason": "keyCompromise"})
    with pytest.raises(CertificateRevoked):
        gather(chain, source, anchors(ca), now)


def test_PKI_01_without_leave_nobody_on_this_machine_is_asked(ca: RunningCa) -> None:
    chain = issued(ca, "nobody-is-asked")
    with pytest.raises(StatusUnavailable, match="address_refused"):
        gather(chain, HttpStatus({}), anchors(ca), SystemClock().now())
