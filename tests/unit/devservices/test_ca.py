"""The development CA: what it issues, what it refuses, what it remembers."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from devservices.ca import Issuance, UnsafeDevelopmentCertificateAuthority, check_csr
from devservices.errors import (
    CertificateUnknown,
    CsrInvalid,
    IdempotencyConflict,
    ProofOfPossessionFailed,
    ReasonUnknown,
    RequestMalformed,
    StateUnusable,
    SubjectMismatch,
)
from devservices.names import NaturalPerson, name_of
from devservices.profiles import SIGNER_POLICY
from foundation.clock import FixedClock
from foundation.errors import SecretFileError
from tests.unit.devservices.conftest import ALICE, PUBLIC_URL, csr_for, issuance

Ca = UnsafeDevelopmentCertificateAuthority
Key = ec.EllipticCurvePrivateKey


USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign",
)  # fmt: skip


def leaf_of(chain: tuple[bytes, ...]) -> x509.Certificate:
    return x509.load_der_x509_certificate(chain[0])


def test_a_signers_certificate_has_the_profile_that_was_promised(authority: Ca, key: Key, clock: FixedClock) -> None:
    leaf = leaf_of(authority.issue(issuance(key)))
    extensions = leaf.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    policies = extensions.get_extension_for_class(x509.CertificatePolicies).value
    urls = {item.access_method: item.access_location.value for item in access}

    assert leaf.subject == name_of(ALICE)
    assert leaf.public_key() == key.public_key()
    assert usage.critical
    assert [bit for bit in USAGES if getattr(usage.value, bit)] == ["content_commitment"]
    assert urls[AuthorityInformationAccessOID.OCSP] == f"{PUBLIC_URL}/ocsp"
    assert urls[AuthorityInformationAccessOID.CA_ISSUERS] == f"{PUBLIC_URL}/ca/issuing.crt"
    assert points[0].full_name == [x509.UniformResourceIdentifier(f"{PUBLIC_URL}/crl/issuing.crl")]
    assert [policy.policy_identifier for policy in policies] == [SIGNER_POLICY]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value == (
        x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    )
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value == (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key_of("issuing"))
    )
    assert leaf.not_valid_before_utc == clock.now().replace(microsecond=0)


def test_the_chain_goes_from_the_signer_to_a_self_signed_root(authority: Ca, key: Key) -> None:
    leaf, issuing, root = (x509.load_der_x509_certificate(der) for der in authority.issue(issuance(key)))
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert issuing.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_serial_numbers_are_drawn_at_random_within_twenty_octets(authority: Ca, key: Key) -> None:
    serials = {leaf_of(authority.issue(issuance(key, f"order-{n:04}"))).serial_number for n in range(20)}
    assert len(serials) == 20
    assert all(0 < serial < 2**159 for serial in serials)
    assert any(serial.bit_length() > 140 for serial in serials)


@pytest.mark.parametrize("label", ["root", "issuing"])
def test_the_responders_certificate_is_a_delegate_whose_revocation_is_not_asked(authority: Ca, label: str) -> None:
    certificate = authority.responder(label).certificate
    extensions = certificate.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert not extensions.get_extension_for_class(x509.OCSPNoCheck).critical
    certificate.verify_directly_issued_by(authority.certificate(label))


def test_every_certificate_that_a_signature_leads_to_says_where_it_can_be_asked_about(authority: Ca, key: Key) -> None:
    unit = authority.issue_tsa(key.public_key(), "Stamps")
    for certificate, issuer in ((unit, "root"), (authority.certificate("issuing"), "root")):
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert {item.access_location.value for item in access} == {
            f"{PUBLIC_URL}/ocsp",
            f"{PUBLIC_URL}/ca/{issuer}.crt",
        }
        assert points[0].full_name == [x509.UniformResourceIdentifier(f"{PUBLIC_URL}/crl/{issuer}.crl")]


def test_PKI_04_the_same_request_under_the_same_key_gets_the_same_certificate(authority: Ca, key: Key) -> None:
    request = issuance(key)
    assert authority.issue(request) == authority.issue(request)


@pytest.mark.parametrize(
    "change",
    [
        lambda r, other: replace(r, pkcs10=csr_for(ALICE, other)),
        lambda r, _other: replace(r, profile="another"),
    ],
)
def test_PKI_04_another_request_under_a_used_key_is_refused(
    authority: Ca, key: Key, change: Callable[[Issuance, Key], Issuance]
) -> None:
    request = issuance(key)
    authority.issue(request)
    with pytest.raises(IdempotencyConflict):
        authority.issue(change(request, ec.generate_private_key(ec.SECP256R1())))


def test_PKI_04_simultaneous_retries_get_one_certificate(authority: Ca, key: Key) -> None:
    request, answers = issuance(key), []
    threads = [threading.Thread(target=lambda: answers.append(authority.issue(request))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_a_csr_signed_with_another_key_proves_nothing(authority: Ca, key: Key) -> None:
    good = bytearray(csr_for(ALICE, key))
    good[-5] ^= 1
    with pytest.raises(ProofOfPossessionFailed):
        authority.issue(Issuance(bytes(good), ALICE, "order-0001"))


def test_a_csr_whose_key_was_exchanged_proves_nothing(authority: Ca, key: Key) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    point = _point(key)
    swapped = csr_for(ALICE, key).replace(point, _point(other))
    assert swapped != csr_for(ALICE, key)
    with pytest.raises(ProofOfPossessionFailed):
        authority.issue(Issuance(swapped, ALICE, "order-0001"))


def _point(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.mark.parametrize(
    "named",
    [
        NaturalPerson("Mallory Example", "Alice", "Example", "PNOBE-00000000097", "BE"),
        NaturalPerson("Alice Example"),
        replace(ALICE, serial_number="PNOBE-00000000098"),
    ],
)
def test_PKI_04_a_csr_that_names_somebody_else_is_refused(authority: Ca, key: Key, named: NaturalPerson) -> None:
    with pytest.raises(SubjectMismatch):
        authority.issue(Issuance(csr_for(named, key), ALICE, "order-0001"))


def test_rsa_with_pss_and_with_pkcs1_is_accepted_and_kept(authority: Ca) -> None:
    key = rsa.generate_private_key(65537, 3072)
    builder = x509.CertificateSigningRequestBuilder(name_of(ALICE))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
    paddings: tuple[padding.PSS | padding.PKCS1v15, ...] = (pss, padding.PKCS1v15())
    for number, rsa_padding in enumerate(paddings):
        der = builder.sign(key, hashes.SHA256(), rsa_padding=rsa_padding).public_bytes(Encoding.DER)
        assert leaf_of(authority.issue(Issuance(der, ALICE, f"order-{number:04}"))).public_key() == key.public_key()


def _ed25519_csr() -> bytes:
    builder = x509.CertificateSigningRequestBuilder(name_of(ALICE))
    return builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)


def _small_rsa_csr() -> bytes:
    key = rsa.generate_private_key(65537, 1024)
    return x509.CertificateSigningRequestBuilder(name_of(ALICE)).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _odd_curve_csr() -> bytes:
    return csr_for(ALICE, ec.generate_private_key(ec.SECP256K1()))


@pytest.mark.parametrize(
    "make", [_ed25519_csr, _small_rsa_csr, _odd_curve_csr, lambda: b"", lambda: b"0\x80", lambda: b"-----BEGIN"]
)
def test_an_unreadable_csr_or_a_key_nobody_asked_for_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(CsrInvalid):
        check_csr(make(), name_of(ALICE))


def test_octets_behind_the_csr_are_refused(key: Key) -> None:
    with pytest.raises(CsrInvalid):
        check_csr(csr_for(ALICE, key) + b"\x00", name_of(ALICE))


@pytest.mark.parametrize(
    ("idempotency_key", "profile"),
    [("short", "signer"), ("x" * 129, "signer"), ("order 0001", "signer"), ("order-0001", ""), ("order-0001", "../up")],
)
def test_a_request_of_another_form_is_refused(authority: Ca, key: Key, idempotency_key: str, profile: str) -> None:
    with pytest.raises(RequestMalformed):
        authority.issue(replace(issuance(key), idempotency_key=idempotency_key, profile=profile))


def revoked_serials(authority: Ca, label: str = "issuing") -> dict[int, x509.RevokedCertificate]:
    crl = x509.load_der_x509_crl(authority.crl(label))
    return {entry.serial_number: entry for entry in crl}


def test_a_revoked_certificate_is_on_the_next_list_with_time_and_reason(
    authority: Ca, key: Key, clock: FixedClock
) -> None:
    chain = authority.issue(issuance(key))
    assert revoked_serials(authority) == {}
    clock.advance(60)
    authority.revoke(chain[0], "keyCompromise")
    entry = revoked_serials(authority)[leaf_of(chain).serial_number]
    assert entry.revocation_date_utc == clock.now().replace(microsecond=0)
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise


def test_the_unspecified_reason_is_left_out_of_the_list(authority: Ca, key: Key) -> None:
    chain = authority.issue(issuance(key))
    authority.revoke(chain[0], "unspecified")
    assert list(revoked_serials(authority)[leaf_of(chain).serial_number].extensions) == []


def test_a_second_revocation_keeps_the_first_time_and_reason(authority: Ca, key: Key, clock: FixedClock) -> None:
    chain = authority.issue(issuance(key))
    first = authority.revoke(chain[0], "superseded")
    clock.advance(3600)
    assert authority.revoke(chain[0], "keyCompromise") == first


@pytest.mark.parametrize("reason", ["", "key_compromise", "removeFromCRL", "certificateHold", "cACompromise"])
def test_a_reason_that_an_end_entity_cannot_have_is_refused(authority: Ca, key: Key, reason: str) -> None:
    chain = authority.issue(issuance(key))
    with pytest.raises(ReasonUnknown):
        authority.revoke(chain[0], reason)


def test_a_certificate_of_another_authority_cannot_be_revoked(
    authority: Ca, key: Key, tmp_path: Path, clock: FixedClock
) -> None:
    foreign = UnsafeDevelopmentCertificateAuthority(tmp_path / "other", PUBLIC_URL, clock=clock).issue(issuance(key))
    with pytest.raises(CertificateUnknown):
        authority.revoke(foreign[0], "superseded")


def test_lists_are_numbered_upwards_and_signed_by_their_issuer(authority: Ca) -> None:
    numbers = []
    for label in ("issuing", "issuing", "root"):
        crl = x509.load_der_x509_crl(authority.crl(label))
        numbers.append(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
        key = authority.certificate(label).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert crl.is_signature_valid(key)
        assert crl.next_update_utc is not None
        assert crl.next_update_utc > crl.last_update_utc
    assert numbers == [1, 2, 1]


def test_a_restart_keeps_keys_certificates_and_memory(
    authority: Ca, key: Key, tmp_path: Path, clock: FixedClock
) -> None:
    request = issuance(key)
    chain = authority.issue(request)
    authority.revoke(chain[0], "superseded")
    again = UnsafeDevelopmentCertificateAuthority(tmp_path / "ca", PUBLIC_URL, clock=clock)
    assert again.issue(request) == chain
    assert set(revoked_serials(again)) == {leaf_of(chain).serial_number}
    assert again.responder("issuing").certificate == authority.responder("issuing").certificate


def test_the_responders_certificate_is_renewed_before_it_ends(
    authority: Ca, tmp_path: Path, clock: FixedClock
) -> None:
    clock.advance(timedelta(days=340).total_seconds())
    again = UnsafeDevelopmentCertificateAuthority(tmp_path / "ca", PUBLIC_URL, clock=clock)
    assert again.responder("issuing").certificate != authority.responder("issuing").certificate
    assert again.certificate("root") == authority.certificate("root")


def test_an_interrupted_first_start_begins_again(tmp_path: Path, clock: FixedClock) -> None:
    (tmp_path / "ca").mkdir(mode=0o700)
    (tmp_path / "ca" / "root.key").write_bytes(b"half a k")
    again = UnsafeDevelopmentCertificateAuthority(tmp_path / "ca", PUBLIC_URL, clock=clock)
    assert again.certificate("root").subject == again.certificate("issuing").issuer


@pytest.mark.usefixtures("authority")
def test_nobody_else_can_read_the_keys(tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    for name in ("root.key", "issuing.key", "ocsp.key", "root-ocsp.key", "register.sqlite3"):
        assert stat.S_IMODE((tmp_path / "ca" / name).stat().st_mode) == 0o600


@pytest.mark.usefixtures("authority")
def test_a_directory_open_to_others_is_refused(tmp_path: Path, clock: FixedClock) -> None:
    (tmp_path / "ca").chmod(0o750)
    with pytest.raises(StateUnusable, match="lets others in"):
        UnsafeDevelopmentCertificateAuthority(tmp_path / "ca", PUBLIC_URL, clock=clock)


@pytest.mark.usefixtures("authority")
def test_a_key_open_to_others_is_refused(tmp_path: Path, clock: FixedClock) -> None:
    (tmp_path / "ca" / "issuing.key").chmod(0o640)
    with pytest.raises(SecretFileError):
        UnsafeDevelopmentCertificateAuthority(tmp_path / "ca", PUBLIC_URL, clock=clock)


@pytest.mark.usefixtures("authority")
def test_a_key_that_does_not_belong_to_its_certificate_is_refused(tmp_path: Path, clock: FixedClock) -> None:
    directory = tmp_path / "ca"
    (directory / "root.key").write_bytes((directory / "issuing.key").read_bytes())
    with pytest.raises(StateUnusable, match="does not belong"):
        UnsafeDevelopmentCertificateAuthority(directory, PUBLIC_URL, clock=clock)


@pytest.mark.usefixtures("authority")
def test_a_directory_made_for_another_address_is_refused(tmp_path: Path, clock: FixedClock) -> None:
    with pytest.raises(StateUnusable, match="its certificates point to"):
        UnsafeDevelopmentCertificateAuthority(tmp_path / "ca", "http://127.0.0.1:9999", clock=clock)


def test_a_register_that_is_no_database_is_refused(tmp_path: Path, clock: FixedClock) -> None:
    (tmp_path / "ca").mkdir(mode=0o700)
    (tmp_path / "ca" / "register.sqlite3").write_bytes(b"not a database, but long enough to look at" * 40)
    with pytest.raises(StateUnusable, match="issuance register"):
        UnsafeDevelopmentCertificateAuthority(tmp_path / "ca", PUBLIC_URL, clock=clock)
