"""Status that nobody gave, certificates for another use, and what neither may make of a signature: passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import tsp as asn1_tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from pyhanko.sign.validation.settings import KeyUsageConstraints

from connectors.ports.tsa import TimestampToken
from devservices import tsa
from devservices.state import write_certificate, write_key
from signing.ades.long_term import with_validation_data
from signing.ades.validate import blocks
from signing.ades.validation_data import ValidationData
from tests.documents import blank_pdf
from tests.trust import signed_pdf
from tests.unit.signing_ades.test_validate import KEY, World, said

OWN = ec.generate_private_key(ec.SECP256R1())


def impostor(certificate: bytes, more: int = 0) -> x509.Certificate:
    """An authority's certificate, its signature's octets too, with a key of the forger's.

    :param more: is added to its serial number.
    """
    altered: Any = asn1_x509.Certificate.load(certificate)
    spki = OWN.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    altered["tbs_certificate"]["subject_public_key_info"] = asn1_x509.PublicKeyInfo.load(spki)
    altered["tbs_certificate"]["serial_number"] = altered.serial_number + more
    return x509.load_der_x509_certificate(altered.dump(force=True))


def forged_answer(world: World) -> ValidationData:
    """The issuing authority's: that the signer's certificate is good."""
    signer, issuer = (x509.load_der_x509_certificate(each) for each in world.chain[:2])
    now, like = world.trust.clock.now(), impostor(world.chain[1])
    answer = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            signer, issuer, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, now, now + timedelta(hours=1), None, None
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, like)
        .certificates([like])
        .sign(OWN, hashes.SHA256())
    )
    return ValidationData(world.chain, (answer.public_bytes(Encoding.DER),))


def forged_list(world: World, place: int) -> ValidationData:
    """That of an authority of the chain: an empty one."""
    like, now = impostor(world.chain[place], more=1), world.trust.clock.now()
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(like.subject)
        .last_update(now)
        .next_update(now + timedelta(hours=1))
        .sign(OWN, hashes.SHA256())
    )
    return ValidationData((*world.chain, like.public_bytes(Encoding.DER)), crls=(made.public_bytes(Encoding.DER),))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("how", ["answer", "list"])
@pytest.mark.parametrize("where", ["document", "outside"])
def test_PKI_02_status_under_an_authoritys_name_with_another_key_is_nobodys(world: World, how: str, where: str) -> None:
    told = world.gathered()
    forged = forged_answer(world) if how == "answer" else forged_list(world, 1)
    told = ValidationData(told.certificates, (), told.crls) | forged
    pdf = with_validation_data(world.plain, told) if where == "document" else world.plain
    report = world.report(pdf, outside=told if where == "outside" else None)
    assert said(report)[0] == "INDETERMINATE"


def test_PKI_02_an_authority_above_is_not_vouched_for_by_a_forged_list_either(world: World) -> None:
    told = world.gathered()
    told = ValidationData(told.certificates, told.ocsps) | forged_list(world, 2)
    report = world.report(with_validation_data(world.plain, told))
    assert said(report)[0] == "INDETERMINATE"


@pytest.mark.parametrize("how", ["answer", "list"])
def test_SIG_06_what_nobody_signed_does_not_make_a_signature_last(world: World, how: str) -> None:
    """The status that counts is from elsewhere: the signature passes, and has not the level."""
    told = world.gathered()
    if how == "answer":
        stored = replace(told, ocsps=(altered(told.ocsps[0]),))
    else:
        stored = replace(told, crls=(altered(told.crls[0]),))
    pdf = world.stamp(with_validation_data(world.stamped, stored))
    world.tick()
    assert said(world.report(pdf, outside=world.gathered())) == ("TOTAL_PASSED", None, "B-T")


def altered(signed: bytes) -> bytes:
    """With another signature's value: of an answer before its certificates, of a list at the end."""
    try:
        value = ocsp.load_der_ocsp_response(signed).signature
    except ValueError:
        value = x509.load_der_x509_crl(signed).signature
    assert signed.count(value) == 1
    return signed.replace(value, value[:-1] + bytes([value[-1] ^ 1]))


def test_PKI_02_a_list_with_the_signature_of_another_one_is_nobodys(world: World) -> None:
    """The genuine lists have run out, and what the forger wrote has not: pyHanko knows the signature already."""
    genuine = tuple(world.trust.ca.crl(label) for label in ("issuing", "root"))
    lists = tuple(each for crl in genuine for each in (crl, later(crl)))
    told = ValidationData(world.chain, crls=lists)
    assert said(world.report(world.plain, days=0, outside=replace(told, crls=genuine)))[0] == "TOTAL_PASSED"
    assert said(world.report(world.plain, days=40, outside=replace(told, crls=genuine)))[0] == "INDETERMINATE"
    assert said(world.report(world.plain, days=40, outside=told))[0] == "INDETERMINATE"


def later(crl: bytes) -> bytes:
    """A list with another end."""
    changed: Any = asn1_crl.CertificateList.load(crl)
    ends = changed["tbs_cert_list"]["next_update"].native + timedelta(days=60)
    changed["tbs_cert_list"]["next_update"] = asn1_x509.Time({"utc_time": ends})
    return bytes(changed.dump(force=True))


def stamped_by_a_signer(world: World) -> Any:
    """Stamps by Alice's own certificate, which is for signatures."""
    directory = world.trust.directory / "hers"
    tsa.prepare(directory, world.trust.directory / "ca", world.trust.clock)
    for name in ("tsa.key", "tsa.crt"):
        (directory / name).unlink()
    write_key(directory / "tsa.key", KEY)
    write_certificate(directory / "tsa.crt", x509.load_der_x509_certificate(world.chain[0]))
    hers = tsa.UnsafeDevelopmentTsa(directory, world.trust.clock)

    def stamp(imprint: bytes, hash_name: str) -> Any:
        asked = {"message_imprint": {"hash_algorithm": {"algorithm": hash_name}, "hashed_message": imprint}}
        request = asn1_tsp.TimeStampReq({"version": "v1", "nonce": 1, "cert_req": True, **asked})
        token = asn1_tsp.TimeStampResp.load(hers.answer(request.dump()))["time_stamp_token"].dump()
        return TimestampToken(token, world.trust.clock.now(), 1, "", "")

    return Stamping(stamp)


@dataclass(frozen=True)
class Stamping:
    """As a unit."""

    stamp: Callable[[bytes, str], TimestampToken]


def test_SIG_05_a_stamp_by_a_certificate_for_something_else_proves_nothing_when_that_has_expired_either(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    hers: Any = stamped_by_a_signer(world)
    pdf = signed_pdf(blank_pdf(), KEY, world.chain, world.tick(), hers)
    world.tick()
    pdf = world.stamp(with_validation_data(pdf, world.gathered()))
    world.tick()
    for days in (0, 800):
        report = world.report(pdf, days=days, outside=world.gathered())
        (stamp,) = report.signatures[0].timestamps
        assert (stamp.verdict.indication, stamp.verdict.sub_indication) == (
            "INDETERMINATE",
            "CHAIN_CONSTRAINTS_FAILURE",
        ), days


def test_SIG_07_a_certificate_for_another_use_is_not_for_this_one_once_it_is_revoked_or_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(blocks, "_USAGE", KeyUsageConstraints(key_usage={"key_agreement"}))
    expected = ("INDETERMINATE", "CHAIN_CONSTRAINTS_FAILURE")
    assert said(world.report(world.archived, outside=world.now))[:2] == expected
    assert said(world.report(world.archived, days=800))[:2] == expected
    world.trust.ca.revoke(world.chain[0], "superseded")
    assert said(world.report(world.stamped, outside=world.gathered()))[:2] == expected


def test_SIG_07_a_list_that_revokes_is_not_passed_over_for_an_answer_from_before(tmp_path: Path) -> None:
    world = World(tmp_path)
    before = world.gathered()
    assert said(world.report(world.plain, outside=before))[0] == "TOTAL_PASSED"
    world.tick()
    world.trust.ca.revoke(world.chain[0], "keyCompromise")
    late = signed_pdf(blank_pdf(), KEY, world.chain, world.tick(), world.unit)
    world.tick()
    told = before | ValidationData(crls=(world.trust.ca.crl("issuing"),))
    for pdf in (world.plain, late):
        assert said(world.report(pdf, outside=told))[:2] == ("INDETERMINATE", "REVOKED_NO_POE")
    assert said(world.report(world.stamped, outside=told))[:2] == ("TOTAL_PASSED", None)
