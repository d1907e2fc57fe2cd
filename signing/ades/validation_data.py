"""What a signature carries so that it can be validated for long: certificates, OCSP answers, revocation lists.

The form is that of a DSS dictionary's and of the CSC API's ``validationInfo`` (ETSI EN 319 142-1 5.4.2; CSC API 2.0.0.2
11.11).

A chain is validated up to a trust anchor, and about each certificate below it somebody is asked.  Nothing is kept that
was not verified; nothing is left out: without one of the answers there is no validation data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from connectors.ports.status import IssuerSource, RevocationEvidence, StatusSource
from foundation.certificates.errors import CertificateRefused
from foundation.certificates.path import Path, validate
from foundation.certificates.reading import is_never_revoked, read
from signing.ades.errors import CertificateRevoked, ChainNotTrusted, TokenUnreadable

_MAX_FETCHED: Final = 4
"""Certificates that a chain may lack."""


@dataclass(frozen=True, slots=True)
class ValidationData:
    """Each once, DER, in the order in which they were found."""

    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """Of the chains, from the end entity's up to the trust anchor's, and of the OCSP responders."""
    ocsps: tuple[bytes, ...] = field(default=(), repr=False)
    """OCSPResponse (RFC 6960 4.2.1)."""
    crls: tuple[bytes, ...] = field(default=(), repr=False)
    """CertificateList (RFC 5280 5.1)."""

    def __or__(self, other: ValidationData) -> ValidationData:
        """Both together."""
        return ValidationData(
            tuple(dict.fromkeys(self.certificates + other.certificates)),
            tuple(dict.fromkeys(self.ocsps + other.ocsps)),
            tuple(dict.fromkeys(self.crls + other.crls)),
        )


def gather(
    chain: Sequence[bytes],
    status: StatusSource,
    anchors: Iterable[x509.Certificate],
    now: datetime,
    *,
    issuers: IssuerSource | None = None,
    at_least: datetime | None = None,
    valid_at: datetime | None = None,
) -> ValidationData:
    """What a chain needs so that it can be validated later.

    :param chain: DER, the end entity's first: of :func:`certificates_of` for a time-stamp.
    :param now: when the path has to hold.
    :param issuers: where certificates are fetched that the chain lacks; None: it has to be complete.
    :param at_least: what is said of the end entity must not be older; authorities' own status is told by the day or
        month, and counts as the source takes it.
    :param valid_at: when the certificate was used, as far as is known: a later revocation takes nothing away.  None:
        it is used now.
    :raises ChainNotTrusted: no path leads to an anchor, or it does not hold.
    :raises CertificateRevoked: a certificate of the path is, or is suspended.
    :raises connectors.ports.status.StatusUnavailable: :raises connectors.ports.status.StatusInvalid: nobody says.
    """
    path = path_of(chain, anchors, now, issuers)
    return gather_along(path, status, at_least=at_least, valid_at=valid_at)


def path_of(
    chain: Sequence[bytes], anchors: Iterable[x509.Certificate], now: datetime, issuers: IssuerSource | None = None
) -> Path:
    """The path of a chain to an anchor.

    :raises ChainNotTrusted: :raises connectors.ports.status.StatusUnavailable:
        :raises connectors.ports.status.StatusInvalid: as of :func:`gather`.
    """
    try:
        certificates = [read(der) for der in chain]
        trusted = tuple(anchors)
        for _ in range(_MAX_FETCHED if issuers is not None else 0):
            try:
                return validate(certificates[0], certificates[1:], trusted, now)
            except CertificateRefused as error:
                if error.cause != "unknown_issuer" or issuers is None:
                    raise
            fetched = [read(der) for der in issuers.issuers(_top(certificates).public_bytes(Encoding.DER))]
            certificates += [each for each in fetched if each not in certificates]
        return validate(certificates[0], certificates[1:], trusted, now)
    except CertificateRefused as error:
        raise ChainNotTrusted(error.cause) from error


def gather_along(
    path: Path, status: StatusSource, *, at_least: datetime | None = None, valid_at: datetime | None = None
) -> ValidationData:
    """As :func:`gather`, where the path has been validated."""
    found = ValidationData(tuple(_der(each) for each in (*path.certificates, path.anchor)))
    for place, (certificate, issuer) in enumerate(path.steps):
        if is_never_revoked(certificate):
            continue
        evidence = status.evidence(_der(certificate), _der(issuer), at_least=at_least if place == 0 else None)
        _check_good(evidence, valid_at)
        found |= _carried(evidence)
    return found


def certificates_of(token: bytes) -> tuple[bytes, ...]:
    """The certificates in a time-stamp token or another SignedData, DER, the signer's first.

    :raises TokenUnreadable: it has none, or not the signer's.
    """
    try:
        signed = asn1_cms.ContentInfo.load(token)["content"]
        certificates = [item.chosen for item in signed["certificates"]]
        (signer,) = signed["signer_infos"]
        first = next(each for each in certificates if _is_named(signer["sid"], each))
        return tuple(each.dump() for each in (first, *(other for other in certificates if other is not first)))
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration) as error:
        raise TokenUnreadable("the token does not hold its signer's certificate") from error


def _is_named(identifier: asn1_cms.SignerIdentifier, certificate: asn1_cms.Certificate) -> bool:
    if identifier.name == "subject_key_identifier":
        return bool(certificate.key_identifier == identifier.chosen.native)
    named = identifier.chosen
    return bool(certificate.issuer == named["issuer"] and certificate.serial_number == named["serial_number"].native)


def _check_good(evidence: RevocationEvidence, valid_at: datetime | None) -> None:
    if evidence.status == "good":
        return
    later = valid_at is not None and evidence.revoked_at is not None and evidence.revoked_at > valid_at
    if not later:
        raise CertificateRevoked(evidence.status)


def _carried(evidence: RevocationEvidence) -> ValidationData:
    if evidence.kind == "ocsp":
        return ValidationData(evidence.certificates, ocsps=(evidence.der,))
    return ValidationData(evidence.certificates, crls=(evidence.der,))


def _top(certificates: list[x509.Certificate]) -> x509.Certificate:
    """Where the chain ends so far, from the end entity upwards."""
    top, seen = certificates[0], {certificates[0]}
    while above := next((each for each in certificates if each.subject == top.issuer and each not in seen), None):
        top = above
        seen.add(above)
    return top


# Of the same few certificates, at each signature.
@lru_cache(maxsize=256)
def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
