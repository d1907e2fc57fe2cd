"""PKI-02: answers about revocation that say nothing, and those that do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp as der

from foundation.certificates import algorithms, crl, ocsp
from foundation.certificates.ocsp import Asked
from idp.authn.certificate.errors import CertificateRefused, NotChecked, Revoked
from tests import pki
from tests.pki import NOW, Issued, Leaf

ROOT = pki.authority("Root")
OTHER = pki.authority("Other")
ANA = ROOT.issue(Leaf(crl=("http://crl.example/a.crl",), ocsp=("http://ocsp.example",)))
NONCE = b"n" * ocsp.NONCE_OCTETS
ASKED = Asked(ANA.certificate, ROOT.certificate, NONCE)
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


def answer(nonce: bytes | None = NONCE, **other: Any) -> bytes:
    return ROOT.ocsp(ANA.certificate, nonce, **other)


def delegated(responder: Issued, **other: Any) -> bytes:
    return answer(signer=responder, certificates=[responder.certificate], **other)


def test_the_request_names_the_certificate_and_carries_the_nonce() -> None:
    request = der.load_der_ocsp_request(ASKED.request())
    assert request.serial_number == ANA.certificate.serial_number
    assert request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    assert ocsp.addresses(ANA.certificate) == ("http://ocsp.example",)
    assert crl.addresses(ANA.certificate) == ("http://crl.example/a.crl",)


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(answer, id="of the issuer"),
        pytest.param(lambda: delegated(ROOT.responder()), id="of a delegate"),
        pytest.param(lambda: answer(None), id="without a nonce"),
    ],
)
def test_PKI_02_a_good_answer_serves_until_its_next_update(good: Callable[[], bytes]) -> None:
    assert ocsp.judge(good(), ASKED, NOW) == NOW + HOUR


def test_PKI_02_an_answer_without_next_update_serves_half_an_hour_and_an_old_one_not_at_all() -> None:
    assert ocsp.judge(answer(next_update=None), ASKED, NOW) == NOW + timedelta(minutes=25)
    with pytest.raises(NotChecked, match="out of date"):
        ocsp.judge(answer(next_update=None), ASKED, NOW + timedelta(minutes=25))


def copied_issuer() -> tuple[Issued, bytes]:
    """The issuer's own certificate with another key in it, and its signature as it was."""
    key = ec.generate_private_key(ec.SECP256R1())
    loaded = asn1.Certificate.load(ROOT.der)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    loaded["tbs_certificate"]["subject_public_key_info"] = type(loaded.public_key).load(spki)
    forged = Issued(x509.load_der_x509_certificate(loaded.dump(force=True)), key)
    return forged, delegated(forged)


DELEGATE = ROOT.responder()
BELOW = ROOT.authority("Below")
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "wrong signer: another authority": (lambda: answer(signer=OTHER), "wrong_signer"),
    "wrong signer: another key under the issuer's name": (
        lambda: answer(signer=pki.authority("Root")),
        "wrong_signer",
    ),
    "wrong signer: the issuer's certificate with another key": (lambda: copied_issuer()[1], "unauthorised_delegate"),
    "wrong signer: the person": (lambda: delegated(ANA), "unauthorised_delegate"),
    "delegate of another authority": (lambda: delegated(OTHER.responder()), "unauthorised_delegate"),
    "delegate of an authority below": (lambda: delegated(BELOW.responder()), "unauthorised_delegate"),
    "delegate not for OCSP": (lambda: delegated(ROOT.responder(extended=False)), "unauthorised_delegate"),
    "delegate expired": (lambda: delegated(ROOT.responder(end=NOW)), "unauthorised_delegate"),
    "delegate that would have to be asked about": (
        lambda: delegated(ROOT.responder(nocheck=False)),
        "unauthorised_delegate",
    ),
    "delegate not sent along": (lambda: answer(signer=DELEGATE), "wrong_signer"),
    "stale": (lambda: answer(next_update=NOW), "stale"),
    "older than any answer may be": (lambda: answer(this_update=NOW - WEEK, next_update=NOW + WEEK), "stale"),
    "from the future": (lambda: answer(this_update=NOW + 0.5 * HOUR), "from_the_future"),
    "nonce mismatch: replayed": (lambda: answer(b"m" * 32), "nonce_mismatch"),
    "unknown": (lambda: answer(status=der.OCSPCertStatus.UNKNOWN), "unknown"),
    "about another certificate": (lambda: ROOT.ocsp(ROOT.issue().certificate, NONCE), "another_certificate"),
    "about the same number of another issuer": (lambda: answer(issuer=OTHER.certificate), "another_certificate"),
    "tryLater": (
        lambda: der.OCSPResponseBuilder.build_unsuccessful(der.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
        "try_later",
    ),
    "not OCSP": (lambda: b"<html>", "malformed"),
    "cut off": (lambda: answer()[:-1], "malformed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_PKI_02_an_answer_that_says_nothing_is_refused(case: str) -> None:
    make, detail = REFUSED[case]
    with pytest.raises(NotChecked) as refused:
        ocsp.judge(make(), ASKED, NOW)
    assert (refused.value.cause, refused.value.detail) == ("not_checked", detail)


def test_PKI_02_a_nonce_may_be_demanded() -> None:
    demanding = Asked(ANA.certificate, ROOT.certificate, NONCE, nonce_required=True)
    assert ocsp.judge(answer(), demanding, NOW) == NOW + HOUR
    with pytest.raises(NotChecked, match="no nonce"):
        ocsp.judge(answer(None), demanding, NOW)


def test_PKI_02_revoked_is_believed_also_of_an_old_answer_but_of_no_strangers() -> None:
    revoked = der.OCSPCertStatus.REVOKED
    for made in (answer(status=revoked), answer(status=revoked, next_update=NOW)):
        with pytest.raises(Revoked):
            ocsp.judge(made, ASKED, NOW)
    with pytest.raises(NotChecked):
        ocsp.judge(answer(status=revoked, signer=OTHER), ASKED, NOW)


def on(made: bytes, about: Issued = ANA, issuer: Issued = ROOT) -> datetime:
    return crl.judge(crl.load(made), about.certificate, issuer.certificate, NOW, WEEK)


def point(**other: Any) -> tuple[x509.ExtensionType, bool]:
    values: dict[str, Any] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**values | other), True


def uri(url: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(url)]


def test_a_list_serves_until_its_next_update() -> None:
    assert on(ROOT.crl()) == NOW + pki.DAY
    assert on(ROOT.crl([], point(full_name=uri("http://crl.example/a.crl")))) == NOW + pki.DAY
    assert on(ROOT.crl([], point(only_contains_user_certs=True))) == NOW + pki.DAY


def test_who_is_on_the_list_is_revoked_also_when_it_is_old() -> None:
    for made in (ROOT.crl([ANA.certificate]), ROOT.crl([ANA.certificate], next_update=NOW)):
        with pytest.raises(Revoked):
            on(made)


LISTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "stale": (lambda: ROOT.crl(next_update=NOW), "stale"),
    "older than any list may be": (lambda: ROOT.crl(last_update=NOW - WEEK, next_update=NOW + WEEK), "stale"),
    "from the future": (lambda: ROOT.crl(last_update=NOW + HOUR), "from_the_future"),
    "another authority's": (OTHER.crl, "wrong_signer"),
    "another key under the issuer's name": (lambda: ROOT.crl(signer=OTHER.key), "wrong_signer"),
    "indirect": (lambda: ROOT.crl([], point(indirect_crl=True)), "out_of_scope"),
    "of authorities only": (lambda: ROOT.crl([], point(only_contains_ca_certs=True)), "out_of_scope"),
    "of attributes": (lambda: ROOT.crl([], point(only_contains_attribute_certs=True)), "out_of_scope"),
    "of some reasons": (
        lambda: ROOT.crl([], point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))),
        "out_of_scope",
    ),
    "of another place": (lambda: ROOT.crl([], point(full_name=uri("http://crl.example/b.crl"))), "out_of_scope"),
    "delta": (lambda: ROOT.crl([], (x509.DeltaCRLIndicator(1), True)), "out_of_scope"),
    "unknown critical extension": (
        lambda: ROOT.crl([], (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)),
        "malformed",
    ),
    "not a list": (lambda: b"-----BEGIN X509 CRL-----", "malformed"),
}


@pytest.mark.parametrize("case", LISTS)
def test_PKI_02_a_list_that_says_nothing_is_refused(case: str) -> None:
    make, detail = LISTS[case]
    with pytest.raises(NotChecked) as refused:
        on(make())
    assert refused.value.detail == detail


def test_a_list_is_for_the_kind_of_certificates_that_it_names() -> None:
    below = ROOT.authority("Below")
    assert on(ROOT.crl([], point(only_contains_ca_certs=True)), below) == NOW + pki.DAY
    with pytest.raises(NotChecked):
        on(ROOT.crl([], point(only_contains_user_certs=True)), below)


def test_an_issuer_that_may_not_sign_lists_signs_none() -> None:
    plain = ROOT.issue(Leaf(subject=pki.name("Plain")))
    mock = pki.Authority(plain.certificate, plain.key)
    with pytest.raises(NotChecked):
        on(mock.crl(), issuer=plain)


def test_signatures_with_sha_1_count_for_nothing() -> None:
    algorithms.check_hash(hashes.SHA256(), ROOT.key.public_key())
    for weak in (hashes.SHA1(), hashes.MD5(), None):
        with pytest.raises(CertificateRefused):
            algorithms.check_hash(weak, ROOT.key.public_key())
