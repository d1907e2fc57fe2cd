"""What OCSP answers and revocation lists say about a certificate, read for the report and for a signature's level.

For the report read, not verified: whether an answer can be relied on is found out where chains are validated.  For a
level verified: what nobody signed does not make a signature last.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509

from foundation.certificates import crl, ocsp
from foundation.certificates.errors import CertificateRefused
from foundation.certificates.reading import read
from signing.ades.validate.report import RevocationReport
from signing.ades.validation_data import ValidationData

log = logging.getLogger(__name__)

_EVER: Final = timedelta(days=36_500)
Source = Literal["document", "outside"]


def statuses(
    certificate: asn1_x509.Certificate, issuer: asn1_x509.Certificate, data: ValidationData, source: Source
) -> Iterator[RevocationReport]:
    """What is said about it, answers before lists."""
    for der in data.ocsps:
        yield from _from_ocsp(certificate, issuer, der, source)
    for der in data.crls:
        yield from _from_crl(certificate, der, source)


def tells_of(
    der: bytes, certificate: asn1_x509.Certificate, issuer: asn1_x509.Certificate, among: ValidationData
) -> bool:
    """Whether an answer or list says something about a certificate."""
    alone = ValidationData(
        ocsps=tuple(each for each in among.ocsps if each == der), crls=tuple(each for each in among.crls if each == der)
    )
    return any(True for _ in statuses(certificate, issuer, alone, "document"))


def is_told(
    certificate: asn1_x509.Certificate, issuer: asn1_x509.Certificate, data: ValidationData, since: datetime
) -> bool:
    """Whether something is said about it that can be relied on, and was not stale at that time."""
    for each, verify in _said(certificate, issuer, data):
        if each.next_update is not None and each.next_update < since:
            continue
        # What is said of something that was used before may be younger than that.
        if _holds(max(since, each.this_update), verify):
            return True
    return False


def last_said(
    certificate: asn1_x509.Certificate, issuer: asn1_x509.Certificate, data: ValidationData
) -> RevocationReport | None:
    """The youngest of what is said about it and can be relied on, be it an answer or a list."""
    held = (each for each, verify in _said(certificate, issuer, data) if _holds(each.this_update, verify))
    return max(held, key=lambda each: each.this_update, default=None)


def _said(
    certificate: asn1_x509.Certificate, issuer: asn1_x509.Certificate, data: ValidationData
) -> Iterator[tuple[RevocationReport, Callable[[datetime], object]]]:
    """Each with what verifies it as at a time."""
    try:
        subject, above = read(certificate.dump()), read(issuer.dump())
    except CertificateRefused:
        return
    asked = ocsp.Asked(subject, above, nonce=None, max_age=_EVER)
    for der in data.ocsps:
        for each in _from_ocsp(certificate, issuer, der, "document"):
            yield each, partial(ocsp.read, der, asked)
    for der in data.crls:
        for each in _from_crl(certificate, der, "document"):
            yield each, partial(_read_list, der, subject, above)


def _read_list(der: bytes, subject: x509.Certificate, above: x509.Certificate, at: datetime) -> object:
    return crl.read(crl.load(der), subject, above, at, _EVER)


def _holds(at: datetime, verify: Callable[[datetime], object]) -> bool:
    try:
        verify(at)
    except (CertificateRefused, OverflowError) as error:
        log.info("what is said of a certificate's status does not hold (%s)", type(error).__name__)
        return False
    return True


def needs_status(certificate: asn1_x509.Certificate) -> bool:
    """Not of an OCSP responder whose own status is not asked (RFC 6960 4.2.2.2.1)."""
    return certificate.ocsp_no_check_value is None


def _from_ocsp(
    certificate: asn1_x509.Certificate, issuer: asn1_x509.Certificate, der: bytes, source: Source
) -> Iterator[RevocationReport]:
    answer = asn1_ocsp.OCSPResponse.load(der)
    if answer["response_status"].native != "successful":
        return
    for single in answer["response_bytes"]["response"].parsed["tbs_response_data"]["responses"]:
        if not _names(single["cert_id"], certificate, issuer):
            continue
        status = single["cert_status"]
        revoked = status.chosen["revocation_time"].native if status.name == "revoked" else None
        yield RevocationReport(
            certificate=certificate.sha256.hex(),
            kind="ocsp",
            source=source,
            status=_word(status.name),
            this_update=single["this_update"].native,
            next_update=single["next_update"].native,
            revoked_at=revoked,
        )


def _word(name: str) -> Literal["good", "revoked", "unknown"]:
    return "good" if name == "good" else "revoked" if name == "revoked" else "unknown"


def _names(identifier: Any, certificate: asn1_x509.Certificate, issuer: asn1_x509.Certificate) -> bool:
    """A CertID of RFC 6960 4.1.1 is this certificate's."""
    if identifier["serial_number"].native != certificate.serial_number:
        return False
    try:
        # SHA-1 only names a certificate here.
        key = hashlib.new(identifier["hash_algorithm"]["algorithm"].native, issuer.public_key["public_key"].native)
    except (ValueError, TypeError):
        return False
    return bool(identifier["issuer_key_hash"].native == key.digest())


def _from_crl(certificate: asn1_x509.Certificate, der: bytes, source: Source) -> Iterator[RevocationReport]:
    listed = asn1_crl.CertificateList.load(der)
    if listed.issuer != certificate.issuer:
        return
    revoked: datetime | None = None
    for each in listed["tbs_cert_list"]["revoked_certificates"] or ():
        if each["user_certificate"].native == certificate.serial_number:
            revoked = each["revocation_date"].native
    yield RevocationReport(
        certificate=certificate.sha256.hex(),
        kind="crl",
        source=source,
        status="good" if revoked is None else "revoked",
        this_update=listed["tbs_cert_list"]["this_update"].native,
        next_update=listed["tbs_cert_list"]["next_update"].native,
        revoked_at=revoked,
    )
