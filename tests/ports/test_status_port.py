"""The port of certificates' status: the same of the fake and of the real source, over real HTTP (PKI-01, 02, 05)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.x509 import ocsp as der

from connectors import registry
from connectors.errors import ConnectorMisconfigured
from connectors.ports.status import RevocationEvidence, StatusInvalid, StatusSource, StatusUnavailable
from connectors.status.http import HttpStatus
from foundation.certificates import crl, ocsp
from foundation.certificates.reading import identity
from foundation.clock import FixedClock
from foundation.egress import Egress, resolve
from tests import pki
from tests.fakes.status import FakeStatus
from tests.integration.answering_authority import Answer, Responder, answering
from tests.pki import NOW, Authority, Issued

ROOT = pki.authority("Root")
DELEGATE = ROOT.responder()
MINUTE, WEEK = timedelta(minutes=1), timedelta(days=7)
PATIENT = {"timeout_seconds": 30.0, "deadline_seconds": 60.0}
"""Where nothing hangs, a slow machine is waited for."""


def by(authority: Responder, clock: FixedClock | None = None, **settings: Any) -> HttpStatus:
    """The real source, which may reach one authority on this machine."""

    def to(host: str, port: int) -> list[str]:
        return resolve(host, port) if host.endswith(".localhost") else [host]

    egress = Egress((authority.address,), to, plain=True)
    return HttpStatus({**PATIENT, **settings}, clock=clock or FixedClock(NOW), egress=egress)


def about(ana: Issued, issuer: Authority = ROOT, **other: Any) -> Answer:
    """An OCSP answer to the request's nonce."""

    def answer(request: bytes) -> bytes:
        nonce = der.load_der_ocsp_request(request).extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        return issuer.ocsp(ana.certificate, nonce, **other)

    return answer


class World(Protocol):
    """A source, and a certificate about which it answers as told."""

    def __call__(
        self, reason: x509.ReasonFlags | None = None, *, gone: bool = False
    ) -> tuple[StatusSource, Issued]: ...


@contextmanager
def faked() -> Iterator[World]:
    def make(reason: x509.ReasonFlags | None = None, *, gone: bool = False) -> tuple[StatusSource, Issued]:
        ana = ROOT.issue()
        revoked = {identity(ana.certificate): reason} if gone else {}
        return FakeStatus((ROOT,), revoked, delegate=DELEGATE), ana

    yield make


@contextmanager
def real(**settings: Any) -> Iterator[World]:
    with answering() as authority:

        def make(reason: x509.ReasonFlags | None = None, *, gone: bool = False) -> tuple[StatusSource, Issued]:
            ana = ROOT.issue(authority.leaf())
            status = der.OCSPCertStatus.REVOKED if gone else der.OCSPCertStatus.GOOD
            said: dict[str, Any] = {"status": status, "reason": reason}
            authority.ocsp = about(ana, signer=DELEGATE, certificates=[DELEGATE.certificate], **said)
            authority.crl = lambda _: ROOT.crl([ana.certificate] if gone else (), reason=reason)
            return by(authority, **settings), ana

        yield make


WORLDS: dict[str, Callable[[], Any]] = {
    "fake": faked,
    "by post": real,
    "by get": lambda: real(ocsp_method="get"),
    "by list": lambda: real(prefer="crl"),
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with WORLDS[request.param]() as made:
        yield made


def verified(evidence: RevocationEvidence, ana: Issued) -> datetime:
    """Until when what was given out says, by itself, that the certificate is good."""
    if evidence.kind == "crl":
        return crl.judge(crl.load(evidence.der), ana.certificate, ROOT.certificate, NOW, WEEK)
    asked = ocsp.Asked(ana.certificate, ROOT.certificate, None)
    assert evidence.certificates == (DELEGATE.der,)
    return ocsp.judge(evidence.der, asked, NOW)


def test_what_is_said_comes_with_its_times_and_verifies_again(world: World) -> None:
    source, ana = world()
    said = source.evidence(ana.der, ROOT.der, at_least=None)
    assert (said.status, said.revoked_at, said.reason) == ("good", None, None)
    assert said.this_update < NOW < verified(said, ana)
    assert said.next_update is not None
    assert said.next_update > NOW


def test_revoked_and_suspended_are_answers_and_no_errors(world: World) -> None:
    source, ana = world(x509.ReasonFlags.key_compromise, gone=True)
    said = source.evidence(ana.der, ROOT.der, at_least=None)
    assert (said.status, said.revoked_at, said.reason) == ("revoked", NOW - timedelta(days=1), "keyCompromise")
    source, ana = world(x509.ReasonFlags.certificate_hold, gone=True)
    assert source.evidence(ana.der, ROOT.der, at_least=None).status == "suspended"


def test_PKI_02_what_is_older_than_it_has_to_be_does_not_serve(world: World) -> None:
    source, ana = world()
    said = source.evidence(ana.der, ROOT.der, at_least=None)
    at = said.this_update + timedelta(milliseconds=900)
    assert source.evidence(ana.der, ROOT.der, at_least=at).this_update == said.this_update, "in whole seconds"
    with pytest.raises(StatusUnavailable):
        source.evidence(ana.der, ROOT.der, at_least=NOW)


@pytest.fixture
def authority() -> Iterator[Responder]:
    with answering() as responder:
        yield responder


def test_it_is_found_by_its_name() -> None:
    assert isinstance(registry.load("status", "http", {}, production=True), HttpStatus)


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout_seconds": 10.0, "deadline_seconds": 5.0},
        {"cache_seconds": -1},
        {"max_age_seconds": 1},
        {"max_crl_octets": 1},
        {"concurrent": 0},
        {"ocsp_nonce": "required", "ocsp_method": "get"},
        {"unknown": 1},
    ],
)
def test_settings_are_judged_at_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(ConnectorMisconfigured):
        registry.load("status", "http", changes, production=True)


def test_an_answer_serves_until_it_is_old_and_again_where_it_is_fresh_enough(authority: Responder) -> None:
    ana, clock = ROOT.issue(authority.leaf(crl=())), FixedClock(NOW)
    authority.ocsp = about(ana)
    source = by(authority, clock, cache_seconds=60)
    first = source.evidence(ana.der, ROOT.der, at_least=None)
    clock.advance(59)
    assert source.evidence(ana.der, ROOT.der, at_least=first.this_update) is first
    assert authority.asked == ["ocsp"]
    authority.ocsp = about(ana, this_update=NOW + MINUTE)
    assert source.evidence(ana.der, ROOT.der, at_least=NOW).this_update == NOW + MINUTE
    assert authority.asked == ["ocsp", "ocsp"]
    clock.advance(61)
    source.evidence(ana.der, ROOT.der, at_least=None)
    assert len(authority.asked) == 3


def test_that_a_certificate_is_revoked_or_suspended_is_not_remembered(authority: Responder) -> None:
    ana = ROOT.issue(authority.leaf(crl=()))
    held: dict[str, Any] = {"status": der.OCSPCertStatus.REVOKED, "reason": x509.ReasonFlags.certificate_hold}
    authority.ocsp = about(ana, **held)
    source = by(authority)
    assert source.evidence(ana.der, ROOT.der, at_least=None).status == "suspended"
    authority.ocsp = about(ana)
    assert source.evidence(ana.der, ROOT.der, at_least=None).status == "good"


def test_a_list_is_fetched_once_for_all_whom_it_is_about_and_verified_for_each(authority: Responder) -> None:
    ana, ben = (ROOT.issue(authority.leaf(ocsp=())) for _ in range(2))
    authority.crl = lambda _: ROOT.crl([ben.certificate])
    source = by(authority)
    assert source.evidence(ben.der, ROOT.der, at_least=None).status == "revoked"
    assert source.evidence(ana.der, ROOT.der, at_least=None).status == "good"
    assert authority.asked == ["crl"]
    twin = pki.authority("Root")
    with pytest.raises(StatusInvalid, match="wrong_signer"):
        source.evidence(twin.issue(authority.leaf(ocsp=())).der, twin.der, at_least=None)


def said_by(signer: Issued, certificates: list[x509.Certificate] | None = None) -> Callable[[Issued], Answer]:
    more: dict[str, Any] = {} if certificates is None else {"certificates": certificates}
    return lambda ana: about(ana, signer=signer, **more)


OTHER = pki.authority("Other")
STRANGER, UNLICENSED = OTHER.responder(), ROOT.responder(extended=False)
REFUSED: dict[str, tuple[Callable[[Issued], Answer], type[Exception], str]] = {
    "wrong signer": (said_by(OTHER), StatusInvalid, "wrong_signer"),
    "delegate of another": (said_by(STRANGER, [STRANGER.certificate]), StatusInvalid, "unauthorised_delegate"),
    "delegate not for OCSP": (said_by(UNLICENSED, [UNLICENSED.certificate]), StatusInvalid, "unauthorised_delegate"),
    "stale": (lambda ana: about(ana, this_update=NOW - 2 * WEEK, next_update=NOW - WEEK), StatusUnavailable, "stale"),
    "older than any": (
        lambda ana: about(ana, this_update=NOW - WEEK, next_update=NOW + WEEK),
        StatusUnavailable,
        "stale",
    ),
    "another nonce": (lambda ana: lambda _: ROOT.ocsp(ana.certificate, b"m" * 32), StatusInvalid, "nonce_mismatch"),
    "unknown": (lambda ana: about(ana, status=der.OCSPCertStatus.UNKNOWN), StatusInvalid, "unknown"),
    "another certificate": (lambda _: about(ROOT.issue()), StatusInvalid, "another_certificate"),
    "tryLater": (
        lambda _ana: lambda _request: der.OCSPResponseBuilder.build_unsuccessful(
            der.OCSPResponseStatus.TRY_LATER
        ).public_bytes(Encoding.DER),
        StatusUnavailable,
        "try_later",
    ),
    "not OCSP": (lambda _ana: lambda _request: b"<html>", StatusInvalid, "malformed"),
    "an answer without an end": (
        lambda _ana: lambda _request: b"x" * (ocsp.MAX_ANSWER_OCTETS + 1),
        StatusInvalid,
        "too_large",
    ),
    "a server's fault": (lambda _ana: lambda _request: 500, StatusUnavailable, "unreachable"),
    "a redirect": (lambda _ana: lambda _request: 302, StatusUnavailable, "unreachable"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_PKI_02_PKI_05_what_says_nothing_is_refused_and_a_list_is_asked_instead(
    authority: Responder, case: str
) -> None:
    answer, error, detail = REFUSED[case]
    ana = ROOT.issue(authority.leaf())
    authority.ocsp = answer(ana)
    alone = ROOT.issue(authority.leaf(crl=(), key=ana.key))
    authority.ocsp = answer(alone)
    with pytest.raises(error, match=detail):
        by(authority).evidence(alone.der, ROOT.der, at_least=None)
    authority.ocsp, authority.crl = answer(ana), lambda _: ROOT.crl()
    assert by(authority).evidence(ana.der, ROOT.der, at_least=None).kind == "crl"


def test_PKI_02_a_replayed_answer_is_refused_where_the_nonce_is_demanded(authority: Responder) -> None:
    ana = ROOT.issue(authority.leaf(crl=()))
    recorded = ROOT.ocsp(ana.certificate)
    authority.ocsp = lambda _: recorded
    assert by(authority).evidence(ana.der, ROOT.der, at_least=None).status == "good"
    with pytest.raises(StatusInvalid, match="no_nonce"):
        by(authority, ocsp_nonce="required").evidence(ana.der, ROOT.der, at_least=None)


def test_PKI_05_a_second_responder_answers_where_the_first_hangs_or_drips(authority: Responder) -> None:
    released = threading.Event()

    def hanging(_request: bytes) -> int:
        released.wait(60)
        return 503

    with answering() as slow, answering() as dripping:
        # By literal addresses: the guard lets the second and third through as the first.
        urls = (f"http://{slow.address}/ocsp", f"http://{dripping.address}/ocsp", f"http://{authority.address}/ocsp")
        ana = ROOT.issue(authority.leaf(ocsp=urls, crl=()))
        slow.ocsp, dripping.ocsp, dripping.drip = hanging, about(ana), 0.2
        authority.ocsp = about(ana)
        egress = Egress((slow.address, dripping.address, authority.address), plain=True)
        settings = {"timeout_seconds": 1.5, "deadline_seconds": 60.0}
        source = HttpStatus(settings, clock=FixedClock(NOW), egress=egress)
        said = source.evidence(ana.der, ROOT.der, at_least=None)
        released.set()
    assert said.status == "good"
    assert (slow.asked, dripping.asked, authority.asked) == (["ocsp"], ["ocsp"], ["ocsp"])


def test_PKI_05_who_did_not_answer_is_asked_after_the_others_for_a_while(authority: Responder) -> None:
    clock = FixedClock(NOW)
    with answering() as down:
        urls = (f"http://{down.address}/ocsp", f"http://{authority.address}/ocsp")
        people = [ROOT.issue(authority.leaf(ocsp=urls, crl=())) for _ in range(3)]
        egress = Egress((down.address, authority.address), plain=True)
        source = HttpStatus(PATIENT, clock=clock, egress=egress)
        for ana, asked in zip(people, (1, 1, 2), strict=True):
            authority.ocsp = about(ana)
            assert source.evidence(ana.der, ROOT.der, at_least=None).status == "good"
            assert len(down.asked) == asked
            clock.advance(40)


def test_PKI_05_when_all_are_down_nobody_is_waited_for_beyond_the_deadline(authority: Responder) -> None:
    moments = iter(range(1000))
    ana = ROOT.issue(authority.leaf())
    source = HttpStatus(
        {"timeout_seconds": 4.0, "deadline_seconds": 4.0},
        clock=FixedClock(NOW),
        egress=Egress((authority.address,), plain=True),
        monotonic=lambda: float(next(moments)),
    )
    with pytest.raises(StatusUnavailable):
        source.evidence(ana.der, ROOT.der, at_least=None)
    assert len(authority.asked) <= 2


def test_PKI_01_addresses_that_lead_inside_are_requested_of_nobody(authority: Responder) -> None:
    places = ("http://127.0.0.1:1/", "http://169.254.169.254/", "http://[::1]:80/", "ftp://ca.example/", "file:///etc")
    ana = ROOT.issue(authority.leaf(ocsp=places[:3], crl=places, issuers=places))
    with pytest.raises(StatusUnavailable, match="address_refused"):
        by(authority).evidence(ana.der, ROOT.der, at_least=None)
    with pytest.raises(StatusUnavailable, match="address_refused"):
        by(authority).issuers(ana.der)
    assert authority.asked == []


def test_a_certificate_without_addresses_cannot_be_asked_about(authority: Responder) -> None:
    with pytest.raises(StatusInvalid, match="where its status"):
        by(authority).evidence(ROOT.issue().der, ROOT.der, at_least=None)
    with pytest.raises(StatusInvalid, match="cannot be read"):
        by(authority).evidence(b"\x30\x00", ROOT.der, at_least=None)
    assert by(authority).issuers(ROOT.issue().der) == ()


def test_DOS_03_who_finds_no_place_among_those_who_ask_is_told_at_once(authority: Responder) -> None:
    begun, released = threading.Event(), threading.Event()

    def hanging(_request: bytes) -> int:
        begun.set()
        released.wait(60)
        return 503

    authority.ocsp = hanging
    ana = ROOT.issue(authority.leaf(crl=()))
    source = by(authority, concurrent=1)
    results: list[str] = []

    def ask() -> None:
        with pytest.raises(StatusUnavailable) as failed:
            source.evidence(ana.der, ROOT.der, at_least=None)
        results.append(str(failed.value))
        released.set()

    with ThreadPoolExecutor(3) as pool:
        # One asks, one waits, and the third is told so: only then does the authority answer the others.
        waiting = [pool.submit(ask) for _ in range(3)]
        for each in waiting:
            each.result(timeout=120)
    assert begun.is_set()
    assert "busy" in results[0]
    assert sorted("busy" in text for text in results) == [False, False, True]


def test_many_threads_share_what_is_remembered(authority: Responder) -> None:
    people = [ROOT.issue(authority.leaf(ocsp=())) for _ in range(8)]
    authority.crl = lambda _: ROOT.crl()
    source = by(authority)
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda ana: source.evidence(ana.der, ROOT.der, at_least=None).status, people * 4))
    assert said == ["good"] * 32


def test_issuers_are_read_as_a_certificate_or_as_a_message_of_several(authority: Responder) -> None:
    ana = ROOT.issue(authority.leaf(issuers=(f"http://{authority.address}/issuer",)))
    below = ROOT.authority("Below")
    authority.issuer = lambda _: ROOT.der
    assert by(authority).issuers(ana.der) == (ROOT.der,)
    authority.issuer = lambda _: serialize_certificates([below.certificate, ROOT.certificate], Encoding.DER)
    source = by(authority)
    assert set(source.issuers(ana.der)) == {ROOT.der, below.der}
    source.issuers(ana.der)
    assert authority.asked == ["issuer", "issuer"], "what was fetched serves again"


@pytest.mark.parametrize("answer", [b"<html>", ROOT.certificate.public_bytes(Encoding.PEM), b"x" * 70_000, 404])
def test_what_is_no_issuers_certificate_is_refused(authority: Responder, answer: bytes | int) -> None:
    ana = ROOT.issue(authority.leaf(issuers=(f"http://{authority.address}/issuer",)))
    authority.issuer = lambda _: answer
    with pytest.raises((StatusInvalid, StatusUnavailable)):
        by(authority).issuers(ana.der)
