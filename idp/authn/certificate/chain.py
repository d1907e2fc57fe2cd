"""From a person's certificate to a trust anchor (RFC 5280, clause 6), by pyhanko-certvalidator; revocation apart.

The library builds and validates the path: signatures, validity, basic constraints, key usage of authorities, path
length, name constraints, policies and mappings, unknown critical extensions.  What it leaves to its caller is here:
which algorithms count, and what the person's own certificate has to be for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
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

from idp.authn.certificate import algorithms
from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.presented import Presented, read

_E = TypeVar("_E", bound=x509.ExtensionType)
_NOT_HERE: Final = CertRevTrustPolicy(
    RevocationCheckingPolicy(RevocationCheckingRule.NO_CHECK, RevocationCheckingRule.NO_CHECK)
)
"""Revocation is judged by :mod:`.ocsp` and :mod:`.crl`.  The library takes a responder's certificate for the
authority's own where issuer, serial number and signature are equal, whatever key it holds."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A trust anchor of the operator's."""

    name: str
    """As the settings call it."""
    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...] = ()
    policies: frozenset[str] = frozenset()
    """One of these is demanded; empty: none is."""


@dataclass(frozen=True, slots=True)
class ValidPath:
    """A path that holds, at the time at which it was validated."""

    anchor: Anchor
    certificates: tuple[x509.Certificate, ...]
    """The person's first; without the anchor's."""
    policies: frozenset[str]
    """Object identifiers of the policies that are valid along the path, in the anchor's terms."""

    @property
    def leaf(self) -> x509.Certificate:
        """The person's certificate."""
        return self.certificates[0]

    @property
    def steps(self) -> tuple[tuple[x509.Certificate, x509.Certificate], ...]:
        """Each certificate with its issuer's, the person's first."""
        return tuple(zip(self.certificates, (*self.certificates[1:], self.anchor.certificate), strict=True))


def validate(presented: Presented, anchors: Iterable[Anchor], now: datetime) -> ValidPath:
    """The path from a certificate to the first of the anchors that it leads to.

    1. What the person's certificate is for.  2. A path, valid now.  3. Algorithms along it.

    :raises CertificateRefused: the cause says which did not hold; where several anchors were tried, the most telling.
    """
    check_purpose(presented.certificate)
    refusal = CertificateRefused("unknown_issuer", "no path leads to a trust anchor")
    for anchor in anchors:
        try:
            path = _path(presented, anchor, now)
            for certificate, issuer in path.steps:
                algorithms.check_key(certificate.public_key())
                algorithms.check_signature(certificate, issuer.public_key())
        except CertificateRefused as error:
            refusal = error if error.cause != "unknown_issuer" else refusal
        else:
            return path
    raise refusal


def check_purpose(certificate: x509.Certificate) -> None:
    """Whether a certificate is a person's, for authentication.

    digitalSignature (RFC 5280, 4.2.1.3), which TLS clients sign with; id-kp-clientAuth where there is an extended key
    usage at all (4.2.1.12); no authority's.

    :raises CertificateRefused: ``usage``; ``algorithm`` for its key.
    """
    algorithms.check_key(certificate.public_key())
    extensions = certificate.extensions
    usage = extension_of(extensions, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise CertificateRefused("usage", "the certificate is not for authentication (key usage)")
    extended = extension_of(extensions, x509.ExtendedKeyUsage)
    if extended is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in extended:
        raise CertificateRefused("usage", "the certificate is not for authentication (extended key usage)")
    basic = extension_of(extensions, x509.BasicConstraints)
    if basic is not None and basic.ca:
        raise CertificateRefused("usage", "the certificate is an authority's")


def extension_of(extensions: x509.Extensions, kind: type[_E]) -> _E | None:
    """The extension of a kind, or None."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _path(presented: Presented, anchor: Anchor, now: datetime) -> ValidPath:
    context = ValidationContext(
        trust_roots=[_asn1(anchor.certificate)],
        other_certs=[_asn1(item) for item in (*anchor.intermediates, *presented.chain)],
        moment=now,
        allow_fetching=False,
        revinfo_policy=_NOT_HERE,
        time_tolerance=timedelta(0),
    )
    try:
        validator = CertificateValidator(_asn1(presented.certificate), validation_context=context)
        found = asyncio.run(validator.async_validate_path())
    except (ValidationError, PathError, ValueError) as error:
        raise _refusal(error) from error
    certificates = [read(item.dump()) for item in found.iter_certs(include_root=False)]
    policies = found.qualified_policies() or ()
    valid = frozenset(str(item.user_domain_policy_id) for item in policies) - {"any_policy"}
    # Not by the library's initial-explicit-policy: a person's certificate for any policy whatever is for none of these.
    if anchor.policies and not valid & anchor.policies:
        raise CertificateRefused("policy", "the certificate has none of the policies that are demanded")
    return ValidPath(anchor, tuple(reversed(certificates)), valid)


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
