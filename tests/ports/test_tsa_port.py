"""The time-stamping port over a real authority (certomancer), honest and crooked (PKI-03)."""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, keys, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from werkzeug.wrappers import Request, Response

from connectors import registry
from connectors.errors import ConnectorMisconfigured
from connectors.ports.tsa import IMPRINT_OCTETS, HashName, TsaAnswerInvalid, TsaRefused, TsaUnavailable
from connectors.tsa.rfc3161 import Rfc3161
from connectors.tsa.verify import _check_purpose, read_anchors, verify
from devservices import tsa
from devservices.serving import Handler
from foundation.clock import SystemClock
from foundation.files import write_secret
from tests.integration.devservices import RunningCa, running_ca, served

IMPRINT = hashlib.sha256(b"a checkpoint").digest()
Alter = Callable[[Request, Handler], Response]


class ShiftedClock:
    """This machine's, put forward."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return SystemClock().now() + self._by


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    with running_ca(tmp_path_factory.mktemp("ca") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def authority(ca: RunningCa, tmp_path_factory: pytest.TempPathFactory) -> Handler:
    return tsa.build(tmp_path_factory.mktemp("tsa") / "state", ca.state)


@contextmanager
def client(ca: RunningCa, handler: Handler, *, clock: Any = None, **settings: Any) -> Iterator[Rfc3161]:
    """The connector, and an authority on loopback that it may reach."""
    with served(handler) as url:
        given = {
            "url": f"{url}/tsa",
            "trust_anchors": [str(ca.state / "root.crt")],
            "egress_allow": [url.removeprefix("http://")],
            "timeout": 5.0,
        }
        yield Rfc3161({**given, **settings}, clock=clock or SystemClock())


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_a_digest_is_stamped_and_the_stamp_verifies_offline_again(
    ca: RunningCa, authority: Handler, name: HashName
) -> None:
    imprint = bytes(range(IMPRINT_OCTETS[name]))
    with client(ca, authority) as stamper:
        token = stamper.stamp(imprint, name)
    assert abs(token.at - SystemClock().now()) < timedelta(minutes=1)
    assert "Development TSA" in token.authority
    anchors = read_anchors([ca.state / "root.crt"])
    assert verify(token.der, imprint, name, anchors) == token
    with pytest.raises(TsaAnswerInvalid, match="something else"):
        verify(token.der, bytes(IMPRINT_OCTETS[name]), name, anchors)
    with pytest.raises(TsaAnswerInvalid, match="hash function"):
        verify(token.der, imprint, "sha512" if name == "sha256" else "sha256", anchors)


def test_it_is_found_by_its_name(ca: RunningCa) -> None:
    settings = {"url": "https://tsa.example.org", "trust_anchors": [str(ca.state / "root.crt")]}
    assert isinstance(registry.load("tsa", "rfc3161", settings, production=True), Rfc3161)


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "ftp://tsa.example.org"},
        {"url": "https://alice:secret@tsa.example.org"},
        {"trust_anchors": []},
        {"trust_anchors": ["/nowhere.pem"]},
        {"username": "alice"},
        {"timeout": 0.0},
        {"unknown": 1},
    ],
)
def test_settings_are_judged_at_the_start(ca: RunningCa, changes: dict[str, Any]) -> None:
    settings = {"url": "https://tsa.example.org", "trust_anchors": [str(ca.state / "root.crt")]}
    with pytest.raises(ConnectorMisconfigured):
        registry.load("tsa", "rfc3161", {**settings, **changes}, production=True)


def test_a_password_is_not_sent_in_clear(ca: RunningCa, tmp_path: Path) -> None:
    write_secret(tmp_path / "password", b"secret")
    settings = {
        "url": "http://tsa.example.org",
        "trust_anchors": [str(ca.state / "root.crt")],
        "username": "alice",
        "password_file": str(tmp_path / "password"),
    }
    with pytest.raises(ConnectorMisconfigured, match="https only"):
        registry.load("tsa", "rfc3161", settings, production=True)


def altered_request(**fields: Any) -> Alter:
    """The authority stamps something else than what was asked."""

    def alter(request: Request, inner: Handler) -> Response:
        asked = tsp.TimeStampReq.load(request.get_data())
        for name, value in fields.items():
            asked[name] = value
        return inner(again(asked.dump()))

    return alter


def again(body: bytes) -> Request:
    """A request with another body."""
    return Request.from_values("/tsa", method="POST", data=body, content_type="application/timestamp-query")


def altered_answer(change: Callable[[bytes], bytes]) -> Alter:
    """Somebody changes the answer on its way."""

    def alter(request: Request, inner: Handler) -> Response:
        return Response(change(inner(request).get_data()), content_type="application/timestamp-reply")

    return alter


def status(name: str, failure: str | None = None) -> Alter:
    """Another status in the place of ``granted``."""

    def change(answer: bytes) -> bytes:
        reply = tsp.TimeStampResp.load(answer)
        told: dict[str, Any] = {"status": name}
        if failure is not None:
            told["fail_info"] = {failure}
        reply["status"] = told
        changed: bytes = reply.dump()
        return changed

    return altered_answer(change)


def answer(code: int, body: bytes = b"", kind: str = "application/timestamp-reply", **headers: str) -> Alter:
    """Something else altogether."""
    return lambda _request, _inner: Response(body, code, content_type=kind, headers=headers)


def flipped(data: bytes) -> bytes:
    """The last octet is a part of the signature."""
    return data[:-1] + bytes([data[-1] ^ 1])


def without_certificates(data: bytes) -> bytes:
    """Nothing says who signed."""
    reply = tsp.TimeStampResp.load(data)
    reply["time_stamp_token"]["content"]["certificates"] = []
    changed: bytes = reply.dump(force=True)
    return changed


OTHER_IMPRINT = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": bytes(32)}


@pytest.mark.parametrize(
    ("alter", "error"),
    [
        (altered_request(message_imprint=OTHER_IMPRINT), TsaAnswerInvalid),
        (altered_request(nonce=7), TsaAnswerInvalid),
        (altered_request(nonce=None), TsaAnswerInvalid),
        (altered_answer(without_certificates), TsaAnswerInvalid),
        (altered_answer(flipped), TsaAnswerInvalid),
        (altered_answer(lambda data: data + b"\x00"), TsaAnswerInvalid),
        (altered_answer(lambda data: data[:-40]), TsaAnswerInvalid),
        (altered_answer(lambda _data: b""), TsaAnswerInvalid),
        (status("granted_with_mods"), TsaAnswerInvalid),
        (status("rejection", "bad_alg"), TsaRefused),
        (status("rejection", "time_not_available"), TsaUnavailable),
        (status("waiting"), TsaUnavailable),
        (answer(500), TsaUnavailable),
        (answer(429), TsaUnavailable),
        (answer(401), TsaRefused),
        (answer(302, Location="http://169.254.169.254/"), TsaAnswerInvalid),
        (answer(200, b"<html>", "text/html"), TsaAnswerInvalid),
        (answer(200, bytes(10 * 1024 * 1024)), TsaAnswerInvalid),
    ],
)
def test_PKI_03_what_is_no_stamp_of_what_was_asked_is_refused(
    ca: RunningCa, authority: Handler, alter: Alter, error: type[Exception]
) -> None:
    with (
        client(ca, lambda request: alter(request, authority)) as stamper,
        pytest.raises(error),
    ):
        stamper.stamp(IMPRINT, "sha256")


def test_PKI_03_altered_stamps_are_refused_whatever_the_parsers_make_of_them(ca: RunningCa, authority: Handler) -> None:
    """An anchor process that a crooked answer stops would be an anchor process that an attacker stops."""
    with client(ca, authority) as stamper:
        token = stamper.stamp(IMPRINT, "sha256")
    anchors, imprint = read_anchors([ca.state / "root.crt"]), token.der.index(IMPRINT)
    # All of what is stamped and of who signed it how; of the certificates, which come between, some.
    places = {*range(imprint + 80), *range(imprint + 80, len(token.der), 7)}
    for place, bits in itertools.product(sorted(places), (0x01, 0x20)):
        altered = bytearray(token.der)
        altered[place] ^= bits
        try:
            found = verify(bytes(altered), IMPRINT, "sha256", anchors)
        except TsaAnswerInvalid:
            continue
        assert (found.at, found.serial, found.policy) == (token.at, token.serial, token.policy), place


def test_a_nonce_that_is_given_is_in_the_stamp(ca: RunningCa, authority: Handler) -> None:
    for nonce in (0, 1, 2**160 - 1):
        with client(ca, authority) as stamper:
            token = stamper.stamp(IMPRINT, "sha256", nonce)
        info = cms.ContentInfo.load(token.der)["content"]["encap_content_info"]["content"].parsed
        assert info["nonce"].native == nonce


def test_PKI_03_altered_replies_are_refused(ca: RunningCa, authority: Handler) -> None:
    places = itertools.count()

    def alter(request: Request) -> Response:
        body = bytearray(authority(request).get_data())
        body[next(places)] ^= 0x20
        return Response(bytes(body), content_type="application/timestamp-reply")

    with client(ca, alter) as stamper:
        for _ in range(24):
            with pytest.raises((TsaAnswerInvalid, TsaRefused)):
                stamper.stamp(IMPRINT, "sha256")


@pytest.mark.parametrize("whose", ["unit", "authority"])
def test_PKI_03_a_copy_of_a_certificate_that_holds_another_key(ca: RunningCa, authority: Handler, whose: str) -> None:
    """Issuer, serial number and signature are the real one's: caches of libraries have taken one for the other."""
    with client(ca, authority) as stamper:
        token = stamper.stamp(IMPRINT, "sha256").der
    anchors = read_anchors([ca.state / "root.crt"])
    forged = forged_token(token, whose, anchors[0])
    assert verify(token, IMPRINT, "sha256", anchors).der == token
    with pytest.raises(TsaAnswerInvalid, match="nobody answers for"):
        verify(forged, IMPRINT, "sha256", anchors)


def forged_token(token: bytes, whose: str, root: asn1_x509.Certificate) -> bytes:
    """Signed anew by a key of ours, with a copy of the unit's certificate, or one that a copy of the root issued."""
    content = cms.ContentInfo.load(token)
    signed, key = content["content"], ec.generate_private_key(ec.SECP256R1())
    public = keys.PublicKeyInfo.load(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    (unit,) = [item.chosen.copy() for item in signed["certificates"]]
    issuer = root.copy()
    assert issuer.subject == unit.issuer
    unit["tbs_certificate"]["subject_public_key_info"] = public
    if whose == "authority":
        issuer["tbs_certificate"]["subject_public_key_info"] = public
        for algorithm in (unit["tbs_certificate"]["signature"], unit["signature_algorithm"]):
            algorithm["algorithm"] = "sha256_ecdsa"
        unit["signature_value"] = key.sign(unit["tbs_certificate"].dump(force=True), ec.ECDSA(hashes.SHA256()))
    made = [asn1_x509.Certificate.load(item.dump(force=True)) for item in (unit, issuer)]
    signed["certificates"] = cms.CertificateSet([cms.CertificateChoices("certificate", item) for item in made])
    (signer,) = signed["signer_infos"]
    for attribute in signer["signed_attrs"]:
        if attribute["type"].native.startswith("signing_certificate"):
            (named,) = attribute["values"][0]["certs"]
            name = "sha1" if attribute["type"].native == "signing_certificate" else "sha256"
            named["cert_hash"] = hashlib.new(name, made[0].dump()).digest()
    signer["signature_algorithm"] = {"algorithm": "sha256_ecdsa"}
    signer["digest_algorithm"] = {"algorithm": "sha256"}
    signer["signature"] = key.sign(signer["signed_attrs"].untag().dump(force=True), ec.ECDSA(hashes.SHA256()))
    forged: bytes = content.dump(force=True)
    return forged


def test_PKI_03_a_drip_and_silence_end_with_the_time(ca: RunningCa) -> None:
    def drip(_request: Request) -> Response:
        def octets() -> Iterator[bytes]:
            for _ in range(100):
                yield b"\x30"
                time.sleep(0.05)

        return Response(octets(), content_type="application/timestamp-reply")

    def silent(_request: Request) -> Response:
        time.sleep(1.5)
        return Response()

    for handler in (drip, silent):
        began = time.monotonic()
        with client(ca, handler, timeout=0.5) as stamper, pytest.raises(TsaUnavailable):
            stamper.stamp(IMPRINT, "sha256")
        assert time.monotonic() - began < 4


def test_PKI_03_an_authority_that_nobody_answers_for_or_whose_clock_is_wrong(
    ca: RunningCa, authority: Handler, tmp_path: Path
) -> None:
    with running_ca(tmp_path / "other") as other, client(other, authority) as stamper, pytest.raises(TsaAnswerInvalid):
        stamper.stamp(IMPRINT, "sha256")
    ahead = ShiftedClock(timedelta(hours=1))
    with client(ca, authority, clock=ahead) as stamper, pytest.raises(TsaAnswerInvalid, match="far from ours"):
        stamper.stamp(IMPRINT, "sha256")
    with client(ca, authority, policy="1.2.3.4") as stamper, pytest.raises(TsaRefused):
        stamper.stamp(IMPRINT, "sha256")


def test_PKI_03_an_expired_authority(ca: RunningCa, tmp_path: Path) -> None:
    """Its clock and ours agree that its certificate has run out."""
    state = tmp_path / "state"
    tsa.build(state, ca.state)
    certificate = x509.load_pem_x509_certificate((state / "tsa.crt").read_bytes())
    clock = ShiftedClock(certificate.not_valid_after_utc - SystemClock().now() + timedelta(hours=1))
    old = tsa.TsaHandler(tsa.UnsafeDevelopmentTsa(state, clock), certificate)
    with client(ca, old, clock=clock) as stamper, pytest.raises(TsaAnswerInvalid):
        stamper.stamp(IMPRINT, "sha256")


def test_PKI_01_only_the_address_that_was_allowed(ca: RunningCa) -> None:
    settings = {"url": "http://127.0.0.1:1/tsa", "trust_anchors": [str(ca.state / "root.crt")]}
    with pytest.raises(TsaUnavailable, match="EgressRefused"):
        Rfc3161(settings).stamp(IMPRINT, "sha256")


def test_an_imprint_of_another_length_is_not_sent(ca: RunningCa) -> None:
    settings = {"url": "https://tsa.example.org", "trust_anchors": [str(ca.state / "root.crt")]}
    with pytest.raises(TsaRefused):
        Rfc3161(settings).stamp(b"short", "sha256")


@pytest.mark.parametrize(
    ("usages", "critical"),
    [
        (None, True),
        ([ExtendedKeyUsageOID.CLIENT_AUTH], True),
        ([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING], True),
        ([ExtendedKeyUsageOID.TIME_STAMPING], False),
    ],
)
def test_PKI_03_a_certificate_that_is_not_for_time_stamping_alone(usages: Any, critical: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TSA")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
    )
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=critical)
    made = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    with pytest.raises(TsaAnswerInvalid, match="time-stamping alone"):
        _check_purpose(asn1_x509.Certificate.load(made))


def test_anchors_are_read_or_named(tmp_path: Path) -> None:
    no_certificate = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(b"x") + b"\n-----END CERTIFICATE-----\n"
    for content in (b"", b"nothing", no_certificate):
        (tmp_path / "anchors.pem").write_bytes(content)
        with pytest.raises(ValueError, match=r"anchors\.pem"):
            read_anchors([tmp_path / "anchors.pem"])
