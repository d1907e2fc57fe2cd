"""Revocation lists (RFC 5280, clauses 5 and 6.3): complete ones, signed by the certificate's own issuer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from foundation.certificates import algorithms
from foundation.certificates.answers import Finding, Window, revoked
from foundation.certificates.errors import CertificateRefused, NotChecked
from foundation.certificates.reading import extension_of

MAX_ADDRESSES: Final = 3


def addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """Where complete lists of all reasons are that its own issuer signs (RFC 5280, 4.2.1.13)."""
    points = extension_of(certificate.extensions, x509.CRLDistributionPoints) or ()
    found = [
        name.value
        for point in points
        if point.reasons is None and point.crl_issuer is None
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier) and name.value.lower().startswith(("http:", "https:"))
    ]
    return tuple(found[:MAX_ADDRESSES])


def load(der: bytes) -> x509.CertificateRevocationList:
    """A list, DER.

    :raises NotChecked: it cannot be read.
    """
    try:
        loaded = x509.load_der_x509_crl(der)
        _ = loaded.extensions
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise NotChecked("malformed", "a revocation list cannot be read") from error
    return loaded


def judge(
    crl: x509.CertificateRevocationList,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime,
    max_age: timedelta,
) -> datetime:
    """Until when a list says that the certificate is not revoked.

    :raises Revoked: it is on the list.
    :raises NotChecked: the list says nothing that can be relied on.
    """
    return read(crl, certificate, issuer, now, max_age).end(now, max_age)


def read(
    crl: x509.CertificateRevocationList,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime,
    max_age: timedelta,
) -> Finding:
    """What a list says about a certificate.

    1. The issuer's: name, key usage, signature.  2. About this certificate: complete, of the right kind.  3. Whether
    the certificate is on it.  4. Of a time that counts.

    :raises NotChecked: the list says nothing that can be relied on.
    """
    try:
        _check_issuer(crl, issuer)
        _check_scope(crl, certificate)
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        window = Window(crl.last_update_utc, crl.next_update_utc)
        reason = None if entry is None else _reason(entry)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotChecked("malformed", "a revocation list cannot be read") from error
    # An entry may only say that a hold was lifted (RFC 5280, 5.3.1: in deltas; harmless elsewhere).
    if entry is not None and reason is not x509.ReasonFlags.remove_from_crl:
        return revoked(window, entry.revocation_date_utc, reason)
    if window.next_update is None:
        raise NotChecked("malformed", "a revocation list without nextUpdate (RFC 5280, 5.1.2.5)")
    window.check(now, max_age)
    return Finding("good", window)


def _check_issuer(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    key = issuer.public_key()
    usage = extension_of(issuer.extensions, x509.KeyUsage)
    if crl.issuer != issuer.subject or (usage is not None and not usage.crl_sign):
        raise NotChecked("wrong_signer", "a revocation list is another authority's")
    try:
        algorithms.check_signature(crl, key)
    except CertificateRefused as error:
        raise NotChecked("algorithm", "a revocation list's signature is of a kind that is not accepted") from error
    if not crl.is_signature_valid(key):  # type: ignore[arg-type] # check_key has refused the kinds that it does not take
        raise NotChecked("wrong_signer", "a revocation list is not signed by its issuer")


def _check_scope(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> None:
    """Not indirect, not for some reasons, not a delta, and not for certificates of another kind (RFC 5280, 5.2.5)."""
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise NotChecked("out_of_scope", "a revocation list is a delta")
        if isinstance(value, x509.IssuingDistributionPoint):
            if not _covers(value, certificate):
                raise NotChecked("out_of_scope", "a revocation list is not about this certificate")
        elif extension.critical:
            raise NotChecked("malformed", "a revocation list has an unknown critical extension")


def _covers(point: x509.IssuingDistributionPoint, certificate: x509.Certificate) -> bool:
    basic = extension_of(certificate.extensions, x509.BasicConstraints)
    authority = basic is not None and basic.ca
    if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs or point.relative_name:
        return False
    if (point.only_contains_ca_certs and not authority) or (point.only_contains_user_certs and authority):
        return False
    if point.full_name is None:
        return True
    points = extension_of(certificate.extensions, x509.CRLDistributionPoints) or ()
    named = [name for item in points for name in item.full_name or ()]
    return any(name in named for name in point.full_name)


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            return extension.value.reason
    return None
