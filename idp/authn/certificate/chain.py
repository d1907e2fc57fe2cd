"""From a person's certificate to a trust anchor; revocation apart.

:mod:`foundation.certificates.path` validates the path.  What the person's own certificate has to be for, and which
policies an anchor's certificates must have, is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from foundation.certificates import algorithms
from foundation.certificates.path import validate_to
from foundation.certificates.reading import extension_of
from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.presented import Presented


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


def _path(presented: Presented, anchor: Anchor, now: datetime) -> ValidPath:
    others = (*anchor.intermediates, *presented.chain)
    found = validate_to(presented.certificate, others, anchor.certificate, now)
    # Not by the library's initial-explicit-policy: a person's certificate for any policy whatever is for none of these.
    if anchor.policies and not found.policies & anchor.policies:
        raise CertificateRefused("policy", "the certificate has none of the policies that are demanded")
    return ValidPath(anchor, found.certificates, found.policies)
