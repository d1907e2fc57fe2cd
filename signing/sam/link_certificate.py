"""Whether a certificate is the one that a pending credential waits for (RFC 5280 6, KEY-02, KEY-14).

Nothing here is the web tier's word: the key is compared with the stored one, the subject with the order's, and the
path ends at an anchor that the operator pinned.  Revocation is for whoever relies on the signature; a certificate that
is seconds old has no history.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from contract.order import SubjectClaim
from signing.sam.errors import CertificateRefused
from signing.sam.pkcs10 import subject_attributes

MAX_CHAIN: Final = 8
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_UNDERSTOOD: Final = frozenset(
    {x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid, x509.CertificatePolicies.oid}
)
"""Critical extensions that are looked at, or that restrict nothing that is decided here."""
_PURPOSES: Final = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ObjectIdentifier("1.3.6.1.5.5.7.3.36"),
        ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"),
        ObjectIdentifier("1.2.840.113583.1.1.5"),
    }
)
"""Extended key usages under which documents are signed: any, S/MIME, id-kp-documentSigning (RFC 9336), and what
Microsoft and Adobe had before it.  One of them is enough; a certificate without the extension is for any purpose."""
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises on certificates: it reads keys, names and extensions when they are first looked at."""


def verify_chain(
    chain: Sequence[bytes],
    public_key: bytes,
    subject: SubjectClaim,
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> tuple[bytes, ...]:
    """Verify the certificate and its path.

    :param chain: DER, the signer's first, each issued by the next; the anchor may stand at the end or be left out.
    :param public_key: DER SubjectPublicKeyInfo of the credential.
    :returns: the chain as it is to be kept, without the anchor unless it was given.
    :raises CertificateRefused: anything that is not as it should be.
    """
    try:
        _verify(_parsed(chain), public_key, subject, anchors, now)
    except _UNREADABLE as error:
        raise CertificateRefused("a certificate cannot be read") from error
    return tuple(chain)


def _verify(
    certificates: Sequence[x509.Certificate],
    public_key: bytes,
    subject: SubjectClaim,
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    # 1. It certifies this key, for this person, for signatures.
    _check_signer(certificates[0], public_key, subject)
    # 2. Each was issued by the next, and the last by an anchor.
    path = (*certificates, *_anchor_of(certificates, anchors))
    for depth, (certificate, issuer) in enumerate(itertools.pairwise(path)):
        _check_issuer(issuer, below=depth)
        _check_issued(certificate, issuer)
    # 3. All are valid now, may serve documents, and demand nothing that is not understood.
    for certificate in path:
        _check_validity(certificate, now)
        _check_purpose(certificate)
        _check_critical(certificate)


def _parsed(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    if not 0 < len(chain) <= MAX_CHAIN:
        raise CertificateRefused(f"a chain has 1 to {MAX_CHAIN} certificates")
    return tuple(x509.load_der_x509_certificate(item) for item in chain)


def _check_signer(certificate: x509.Certificate, public_key: bytes, subject: SubjectClaim) -> None:
    if _spki(certificate) != public_key:
        raise CertificateRefused("the certificate certifies another key")
    found = sorted((item.oid.dotted_string, item.value) for item in certificate.subject)
    if found != sorted((oid.dotted_string, value) for oid, value in subject_attributes(subject)):
        raise CertificateRefused("the certificate names another subject than the order")
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise CertificateRefused("the certificate is a CA's")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not (usage.digital_signature or usage.content_commitment) or usage.key_cert_sign:
        raise CertificateRefused("the certificate's key usage is not for signatures")


def _anchor_of(
    certificates: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """The anchor to put at the end of the path: none where the chain ends with it."""
    last = certificates[-1]
    if len(certificates) > 1 and last in anchors:
        return ()
    for anchor in anchors:
        if anchor.subject == last.issuer and _issued(last, anchor):
            return (anchor,)
    raise CertificateRefused("the chain does not end at a pinned anchor")


def _check_issuer(issuer: x509.Certificate, *, below: int) -> None:
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise CertificateRefused("an issuer is not a CA")
    if constraints.path_length is not None and below > constraints.path_length:
        raise CertificateRefused("the path is longer than an issuer allows")
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise CertificateRefused("an issuer may not sign certificates")


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    algorithm = certificate.signature_hash_algorithm if _hashes_first(issuer) else None
    if algorithm is not None and algorithm.name not in _HASHES:
        raise CertificateRefused("a certificate is signed with a hash function that is not accepted")
    if not _issued(certificate, issuer):
        raise CertificateRefused("a certificate was not issued by the next")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _hashes_first(issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
        return True
    if isinstance(key, ed25519.Ed25519PublicKey):
        return False
    raise CertificateRefused("an issuer's key is of a kind that is not accepted")


def _check_validity(certificate: x509.Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now.replace(microsecond=0) <= certificate.not_valid_after_utc:
        raise CertificateRefused("a certificate of the chain is not valid at this time")


def _check_purpose(certificate: x509.Certificate) -> None:
    # Critical or not, the extension restricts (RFC 5280 4.2.1.12); on an issuer, what it issued.
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is not None and _PURPOSES.isdisjoint(usage):
        raise CertificateRefused("a certificate's extended key usage is not for documents")


def _check_critical(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise CertificateRefused("a certificate has a critical extension that is not understood")


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
