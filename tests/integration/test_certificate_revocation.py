"""Asking authorities over HTTP whether a certificate is revoked: those of tests, and the development one."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp as der

from foundation.certificates import ocsp
from foundation.clock import FixedClock, SystemClock
from foundation.egress import Egress, resolve
from idp.authn.certificate.chain import Anchor, ValidPath, validate
from idp.authn.certificate.errors import NotChecked, Revoked
from idp.authn.certificate.presented import Presented
from idp.certificate_settings import AnchorSettings, CertificateSettings
from idp.web.certificates.revocation import RevocationChecker
from tests import pki
from tests.integration.answering_authority import Answer, Responder, answering
from tests.integration.devservices import ALICE, csr_for, running_ca
from tests.pki import NOW

ROOT = pki.authority("Root")
SETTINGS = CertificateSettings(
    origin="https://cert.example",
    anchors={"root": AnchorSettings(Path("root.pem"))},
    timeout_seconds=0.5,
    deadline_seconds=1.0,
)


@pytest.fixture
def authority() -> Iterator[Responder]:
    with answering() as responder:
        yield responder


def path_of(issued: pki.Issued) -> ValidPath:
    return validate(Presented(issued.certificate), [Anchor("root", ROOT.certificate)], NOW)


def checker(authority: Responder, clock: FixedClock | None = None, **other: Any) -> RevocationChecker:
    def to(host: str, port: int) -> list[str]:
        return resolve(host, port) if host.endswith(".localhost") else [host]

    egress = Egress((authority.address,), to, plain=True)
    return RevocationChecker(replace(SETTINGS, **other), egress, clock or FixedClock(NOW), lambda n: b"n" * n)


def good(ana: pki.Issued, **other: Any) -> Answer:
    def answer(request: bytes) -> bytes:
        nonce = der.load_der_ocsp_request(request).extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        return ROOT.ocsp(ana.certificate, nonce, **other)

    return answer


def test_ocsp_is_asked_first_and_once_until_the_answer_is_old(authority: Responder) -> None:
    ana = ROOT.issue(authority.leaf())
    authority.ocsp, clock = good(ana), FixedClock(NOW)
    check = checker(authority, clock, cache_seconds=60)
    assert check.check(path_of(ana)).sources == ("ocsp",)
    clock.advance(59)
    assert check.check(path_of(ana)).sources == ("ocsp",)
    assert authority.asked == ["ocsp"]
    authority.ocsp = good(ana, status=der.OCSPCertStatus.REVOKED)
    clock.advance(1)
    with pytest.raises(Revoked):
        check.check(path_of(ana))


NOTHING: tuple[Answer, ...] = (
    lambda _: 503,
    lambda _: 302,
    lambda _: b"<html>",
    lambda _: b"x" * (ocsp.MAX_ANSWER_OCTETS + 1),
)


@pytest.mark.parametrize("bad", NOTHING)
def test_PKI_01_PKI_02_where_ocsp_says_nothing_the_list_is_read_and_without_it_nobody_gets_in(
    authority: Responder, bad: Answer
) -> None:
    ana = ROOT.issue(authority.leaf())
    authority.ocsp, authority.crl = bad, lambda _: ROOT.crl()
    check = checker(authority, cache_seconds=0)
    assert check.check(path_of(ana)).sources == ("crl",)
    authority.crl = lambda _: ROOT.crl([ana.certificate])
    with pytest.raises(Revoked):
        check.check(path_of(ana))
    authority.crl = lambda _: 503
    with pytest.raises(NotChecked):
        check.check(path_of(ana))


def test_DOS_03_an_authority_that_hangs_holds_no_more_threads_than_a_few(authority: Responder) -> None:
    """Whoever waits for a place holds a thread: beyond some, the next is told at once instead of at the deadline."""
    released = threading.Event()

    def hanging(_request: bytes) -> int:
        released.wait(10)
        return 503

    authority.ocsp = authority.crl = hanging
    check = checker(authority, timeout_seconds=2.0, deadline_seconds=2.0)
    path = path_of(ROOT.issue(authority.leaf()))

    def asked(_number: int) -> float:
        began = time.monotonic()
        with pytest.raises(NotChecked):
            check.check(path)
        return time.monotonic() - began

    with ThreadPoolExecutor(20) as pool:
        took = sorted(pool.map(asked, range(20)))
        released.set()
    assert sum(seconds > 1.0 for seconds in took) <= 7


def test_revoked_by_ocsp_is_not_asked_of_the_list(authority: Responder) -> None:
    ana = ROOT.issue(authority.leaf())
    authority.ocsp, authority.crl = good(ana, status=der.OCSPCertStatus.REVOKED), lambda _: ROOT.crl()
    with pytest.raises(Revoked):
        checker(authority).check(path_of(ana))
    assert authority.asked == ["ocsp"]


def test_a_list_serves_for_everybody_that_it_is_about(authority: Responder) -> None:
    authority.crl = lambda _: ROOT.crl()
    check = checker(authority)
    for _ in range(2):
        check.check(path_of(ROOT.issue(authority.leaf(ocsp=()))))
    assert authority.asked == ["crl"]


def test_PKI_02_what_one_authority_said_counts_for_no_other_of_its_name(authority: Responder) -> None:
    twin = pki.authority("Root")
    ana = ROOT.issue(authority.leaf(crl=()))
    other = ValidPath(Anchor("twin", twin.certificate), (ana.certificate,), frozenset())
    authority.ocsp = lambda _: twin.ocsp(ana.certificate)
    check = checker(authority)
    assert check.check(other).sources == ("ocsp",)
    authority.ocsp = good(ana, status=der.OCSPCertStatus.REVOKED)
    with pytest.raises(Revoked):
        check.check(path_of(ana))


def test_every_certificate_below_the_anchor_is_asked_about(authority: Responder) -> None:
    url = x509.UniformResourceIdentifier(f"http://{authority.address}/crl")
    point = x509.CRLDistributionPoints([x509.DistributionPoint([url], None, None, None)])
    below = ROOT.authority("Below", point)
    ana = below.issue(authority.leaf(crl=()))
    authority.ocsp = lambda _: below.ocsp(ana.certificate)
    authority.crl = lambda _: ROOT.crl([below.certificate])
    path = validate(Presented(ana.certificate, (below.certificate,)), [Anchor("root", ROOT.certificate)], NOW)
    with pytest.raises(Revoked):
        checker(authority).check(path)
    authority.crl = lambda _: ROOT.crl()
    assert checker(authority).check(path).sources == ("ocsp", "crl")


def test_PKI_01_addresses_in_certificates_are_requested_through_the_guard(authority: Responder) -> None:
    places = ("http://127.0.0.1:1/", "http://169.254.169.254/", "http://[::1]:80/", "ftp://ca.example/", "file:///etc")
    ana = ROOT.issue(authority.leaf(ocsp=places[:3], crl=places))
    with pytest.raises(NotChecked) as refused:
        checker(authority).check(path_of(ana))
    assert refused.value.detail == "address_refused"


def test_PKI_02_an_authority_that_drips_is_given_up_at_the_deadline(authority: Responder) -> None:
    ana = ROOT.issue(authority.leaf())
    authority.ocsp, authority.crl, authority.drip = good(ana), lambda _: ROOT.crl(), 0.1
    begin = time.monotonic()
    with pytest.raises(NotChecked) as refused:
        checker(authority).check(path_of(ana))
    assert refused.value.detail == "deadline"
    assert time.monotonic() - begin < 3 * SETTINGS.deadline_seconds


def test_a_certificate_without_addresses_gets_in_only_where_the_operator_said_so(authority: Responder) -> None:
    bare = path_of(ROOT.issue())
    with pytest.raises(NotChecked) as refused:
        checker(authority).check(bare)
    assert refused.value.detail == "no_address"
    assert checker(authority, revocation="if_available").check(bare).sources == ("none",)


def test_the_development_authorities_responders_are_understood(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with running_ca(tmp_path / "ca") as ca, requests.Session() as caller:
        caller.headers["Authorization"] = f"Bearer {ca.token}"
        csr = base64.b64encode(csr_for(ALICE, key)).decode()
        body = {"csr": csr, "subject": ALICE, "idempotency_key": "alice-0001"}
        made = [base64.b64decode(item) for item in caller.post(f"{ca.url}/ca/issue", json=body).json()["certificates"]]
        leaf, issuing, root = (x509.load_der_x509_certificate(item) for item in made)
        path = ValidPath(Anchor("dev", root), (leaf, issuing), frozenset())
        egress = Egress((ca.url.removeprefix("http://"),))
        settings = replace(SETTINGS, cache_seconds=0, timeout_seconds=5, deadline_seconds=10)
        check = RevocationChecker(settings, egress, SystemClock(), lambda n: b"n" * n)
        assert check.check(path).sources == ("ocsp", "ocsp")
        gone = {"certificate": base64.b64encode(made[0]).decode(), "reason": "keyCompromise"}
        caller.post(f"{ca.url}/ca/revoke", json=gone).raise_for_status()
        with pytest.raises(Revoked):
            check.check(path)
