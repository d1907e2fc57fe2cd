"""PKI-04: what the development connector makes of an authority's answer, without a socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.pki.devca import UnsafeDevelopmentCa, check_chain, check_use
from connectors.ports.pki import CertificateRequest, PkiAnswerInvalid, PkiRefused, SubjectName
from devservices.ca import UnsafeDevelopmentCertificateAuthority
from devservices.names import NaturalPerson
from devservices.profiles import ca_name, key_usage
from foundation.errors import SecretFileError, SettingsError
from tests.unit.devservices.conftest import ALICE, PUBLIC_URL, csr_for, issuance

Ca = UnsafeDevelopmentCertificateAuthority
Chain = tuple[bytes, ...]
SUBJECT = SubjectName(ALICE.common_name, ALICE.given_name, ALICE.surname, ALICE.serial_number, ALICE.country)


@pytest.fixture
def answered(authority: Ca, key: ec.EllipticCurvePrivateKey) -> tuple[Chain, CertificateRequest]:
    """A request and the chain that answers it."""
    asked = issuance(key)
    return authority.issue(asked), CertificateRequest(asked.pkcs10, SUBJECT, asked.profile, asked.idempotency_key)


def test_a_chain_that_answers_the_request_passes(answered: tuple[Chain, CertificateRequest]) -> None:
    chain, request = answered
    check_chain(chain, request)
    check_chain(chain[:2], request)


def test_PKI_04_a_certificate_for_another_key_is_not_taken(
    answered: tuple[Chain, CertificateRequest], authority: Ca
) -> None:
    _chain, request = answered
    other = authority.issue(issuance(ec.generate_private_key(ec.SECP256R1()), "order-0002"))
    with pytest.raises(PkiAnswerInvalid, match="another public key"):
        check_chain(other, request)


@pytest.mark.parametrize(
    "subject",
    [replace(SUBJECT, common_name="Alice"), replace(SUBJECT, country=None), replace(SUBJECT, serial_number="PNOBE-1")],
)
def test_PKI_04_a_certificate_for_another_subject_is_not_taken(
    answered: tuple[Chain, CertificateRequest], subject: SubjectName
) -> None:
    chain, request = answered
    with pytest.raises(PkiAnswerInvalid, match="another subject"):
        check_chain(chain, replace(request, subject=subject))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda chain: (), "cannot be read"),
        (lambda chain: (b"junk", *chain[1:]), "cannot be read"),
        (lambda chain: (chain[0], b"junk"), "cannot be read"),
        (lambda chain: (chain[0] + b"\x00", *chain[1:]), "cannot be read"),
        (lambda chain: (chain[0], chain[2]), "not signed from one"),
        (lambda chain: (chain[0], chain[2], chain[1]), "not signed from one"),
        (lambda chain: (chain[0], chain[0]), "below authorities"),
        (lambda chain: (chain[0][:-4] + bytes(4), *chain[1:]), "not signed from one|cannot be read"),
    ],
    ids=["empty", "leaf junk", "issuer junk", "trailing", "gap", "order", "leaf as issuer", "signature"],
)
def test_PKI_04_a_chain_that_does_not_hold_together_is_not_taken(
    answered: tuple[Chain, CertificateRequest], change: Callable[[Chain], Chain], complaint: str
) -> None:
    chain, request = answered
    with pytest.raises(PkiAnswerInvalid, match=complaint):
        check_chain(change(chain), request)


def test_PKI_04_a_certificate_that_is_not_for_signing_is_not_taken(authority: Ca) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority.issue_tsa(key.public_key(), "Alice Example")
    # Right key and right chain; with the subject put right, keyUsage is what remains wrong.
    with pytest.raises(PkiAnswerInvalid, match="keyUsage"):
        check_use(leaf, [authority.certificate("root")])


def _self_signed(*extensions: x509.ExtensionType) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime(2026, 3, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(
        subject_name=ca_name("a"), issuer_name=ca_name("a"), public_key=key.public_key(), serial_number=1,
        not_valid_before=start, not_valid_after=start + timedelta(days=1),
    )  # fmt: skip
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, hashes.SHA256())


def test_PKI_04_an_authority_or_a_certificate_without_key_usage_is_not_taken(authority: Ca) -> None:
    issuers = [authority.certificate("issuing")]
    signing = key_usage("content_commitment")
    check_use(_self_signed(signing), issuers)
    with pytest.raises(PkiAnswerInvalid, match="below authorities"):
        check_use(_self_signed(signing, x509.BasicConstraints(ca=True, path_length=None)), issuers)
    with pytest.raises(PkiAnswerInvalid, match="extensions cannot be used"):
        check_use(_self_signed(), issuers)


def test_a_request_that_cannot_be_read_is_refused_before_the_answer_is_judged(
    answered: tuple[Chain, CertificateRequest],
) -> None:
    chain, request = answered
    with pytest.raises(PkiRefused):
        check_chain(chain, replace(request, pkcs10=b"junk"))


def _settings(tmp_path: Path, **change: object) -> dict[str, object]:
    token_file = tmp_path / "token"
    if not token_file.exists():
        token_file.touch(0o600)
        token_file.write_bytes(b"secret-token\n")
    return {"base_url": PUBLIC_URL, "token_file": str(token_file), **change}


def test_the_connector_is_named_unsafe_and_shows_no_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    connector = UnsafeDevelopmentCa(_settings(tmp_path))
    assert connector.unsafe_in_production
    assert "UnsafeDevelopmentCa" in caplog.text
    assert "secret-token" not in caplog.text + repr(connector)


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": "http://192.0.2.1:8403"},
        {"base_url": "http://ca.example.org"},
        {"base_url": "ftp://127.0.0.1"},
        {"base_url": "http://127.0.0.1:8403/ca"},
        {"base_url": "http://127.0.0.1:99999"},
        {"base_url": "http://user:pass@127.0.0.1:8403"},
        {"timeout": 0},
        {"timeout": 61.0},
        {"unknown": 1},
    ],
)
def test_settings_with_faults_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        UnsafeDevelopmentCa(_settings(tmp_path, **change))


def test_a_token_file_open_to_others_is_refused(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(SecretFileError):
        UnsafeDevelopmentCa(settings)


def test_a_pseudonymous_subject_of_one_attribute_is_enough(authority: Ca, key: ec.EllipticCurvePrivateKey) -> None:
    person = NaturalPerson("alice")
    asked = replace(issuance(key), pkcs10=csr_for(person, key), subject=person)
    request = CertificateRequest(asked.pkcs10, SubjectName("alice"), "signer", "order-0001")
    check_chain(authority.issue(asked), request)
