"""From a certificate to a trust anchor (RFC 5280, clause 6), by pyhanko-certvalidator; revocation apart.

The library builds and validates the path: signatures, validity, basic constraints, key usage of authorities, path
length, name constraints, policies and mappings, unknown critical extensions.  What it leaves to its caller is here,
which algorithms count; or its caller's, what the certificate has to be for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    NotYetValidError,
    PathBuildingError,
    PathError,
    ValidationError,
)
from pyhanko_certvalidator.policy_decl import CertRevTrustPolicy, RevocationCheckingPolicy, RevocationCheckingRule

from foundation.certificates import algorithms
from foundation.certificates.errors import CertificateRefused
from foundation.certificates.reading import read

_NOT_HERE: Final = CertRevTrustPolicy(
    RevocationCheckingPolicy(RevocationCheckingRule.NO_CHECK, RevocationCheckingRule.NO_CHECK)
)
"""Revocation is judged by :mod:`.ocsp` and :mod:`.crl`.  The library takes a responder's certificate for the
authority's own where issuer, serial number and signature are equal, whatever key it holds."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path that holds, at the time at which it was validated."""

    anchor: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    """The end entity's first; without the anchor's.  Empty where the certificate is the anchor itself."""
    policies: frozenset[str]
    """Object identifiers of the policies that are valid along the path, in the anchor's terms."""

    @property
    def steps(self) -> tuple[tuple[x509.Certificate, x509.Certificate], ...]:
        """Each certificate with its issuer's, the end entity's first."""
        return tuple(zip(self.certificates, (*self.certificates[1:], self.anchor), strict=False))


def validate(
    certificate: x509.Certificate,
    others: Iterable[x509.Certificate],
    anchors: Iterable[x509.Certificate],
    now: datetime,
) -> Path:
    """The path from a certificate to the first of the anchors that it leads to.

    :param others: what may stand between.
    :param now: when it has to hold.
    :raises CertificateRefused: the cause says which did not hold; where several anchors were tried, the most telling.
    """
    between = tuple(others)
    refusal = CertificateRefused("unknown_issuer", "no path leads to a trust anchor")
    for anchor in anchors:
        try:
            return validate_to(certificate, between, anchor, now)
        except CertificateRefused as error:
            refusal = error if error.cause != "unknown_issuer" else refusal
    raise refusal


def validate_to(
    certificate: x509.Certificate, others: Iterable[x509.Certificate], anchor: x509.Certificate, now: datetime
) -> Path:
    """The path from a certificate to one anchor.

    :raises CertificateRefused: as of :func:`validate`.
    """
    # 1. A path, valid at that time.
    found = _found(certificate, others, anchor, now)
    # 2. Algorithms along it.
    for each, issuer in found.steps:
        algorithms.check_key(each.public_key())
        algorithms.check_signature(each, issuer.public_key())
    return found


def _found(
    certificate: x509.Certificate, others: Iterable[x509.Certificate], anchor: x509.Certificate, now: datetime
) -> Path:
    context = ValidationContext(
        trust_roots=[_asn1(anchor)],
        other_certs=[_asn1(item) for item in others],
        moment=now,
        allow_fetching=False,
        revinfo_policy=_NOT_HERE,
        time_tolerance=timedelta(0),
    )
    try:
        validator = CertificateValidator(_asn1(certificate), validation_context=context)
        path = asyncio.run(validator.async_validate_path())
    except (ValidationError, PathError, ValueError) as error:
        raise _refusal(error) from error
    certificates = [read(item.dump()) for item in path.iter_certs(include_root=False)]
    policies = path.qualified_policies() or ()
    valid = frozenset(str(item.user_domain_policy_id) for item in policies) - {"any_policy"}
    return Path(anchor, tuple(reversed(certificates)), valid)


def _asn1(certificate: x509.Certificate) -> Any:
    return asn1.Certificate.load(certificate.public_bytes(Encoding.DER), strict=True)


def _refusal(error: Exception) -> CertificateRefused:
    """The library's error in our causes; its text is about certificates that a stranger chose, and is not kept."""
    causes: Sequence[tuple[type[Exception], str, str]] = (
        (ExpiredError, "expired", "a certificate of the path has expired"),
        (NotYetValidError, "not_yet_valid", "a certificate of the path is not valid yet"),
        (DisallowedAlgorithmError, "algorithm", "a signature of the path is of a kind that is not accepted"),
        (PathBuildingError, "unknown_issuer", "no path leads to a trust anchor"),
    )
    for kind, cause, text in causes:
        if isinstance(error, kind):
            return CertificateRefused(cause, text)
    if "self-signed" in str(error):
        return CertificateRefused("unknown_issuer", "the certificate is self-signed")
    return CertificateRefused("path", "the path to the trust anchor does not hold")
