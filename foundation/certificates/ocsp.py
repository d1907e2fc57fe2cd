"""OCSP (RFC 6960): the request about one certificate, and whether an answer says that it is good."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, OCSPExtensionOID

from foundation.certificates import algorithms
from foundation.certificates.answers import Finding, Window, revoked
from foundation.certificates.errors import CertificateRefused, NotChecked
from foundation.certificates.reading import extension_of

MAX_ANSWER_OCTETS: Final = 64 * 1024
NONCE_OCTETS: Final = 32
"""RFC 9654, 2.1."""
MAX_ADDRESSES: Final = 3
_MAX_RESPONDERS: Final = 5
_CERT_ID_HASHES: Final = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)
"""SHA-1 names the issuer here and protects nothing (RFC 5019, 2.1.1 demands it)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, and under which conditions an answer counts."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    nonce: bytes | None
    """None: the request has none, and the answer is taken as one that was made ahead of time."""
    nonce_required: bool = False
    max_age: timedelta = timedelta(days=7)

    def request(self) -> bytes:
        """The request, DER."""
        builder = ocsp.OCSPRequestBuilder().add_certificate(self.certificate, self.issuer, hashes.SHA1())  # noqa: S303 - a name, see above
        if self.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(self.nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)


def addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """Where its authority answers (RFC 5280, 4.2.2.1); at most :data:`MAX_ADDRESSES`."""
    access = extension_of(certificate.extensions, x509.AuthorityInformationAccess) or ()
    found = [
        item.access_location.value
        for item in access
        if item.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(item.access_location, x509.UniformResourceIdentifier)
    ]
    return tuple(found[:MAX_ADDRESSES])


def judge(answer: bytes, asked: Asked, now: datetime) -> datetime:
    """Until when an answer says that the certificate is good.

    :raises Revoked: it says that the certificate is revoked or suspended.
    :raises NotChecked: it says nothing that can be relied on.
    """
    return read(answer, asked, now).end(now, asked.max_age)


def read(answer: bytes, asked: Asked, now: datetime) -> Finding:
    """What an answer says about the certificate.

    1. A successful answer that can be read.  2. About this certificate of this issuer.  3. Signed by the issuer, or by
    whom it delegated to.  4. To this request, where it has a nonce.  5. Of a time that counts.  6. Known.

    :raises NotChecked: it says nothing that can be relied on.
    """
    try:
        response = _successful(answer)
        single = _about(response, asked)
        responder = _check_signature(response, asked.issuer, now)
        _check_extensions(response, asked)
        window = Window(single.this_update_utc, single.next_update_utc)
        produced, status = response.produced_at_utc, single.certificate_status
        # Revoked is revoked, and stays so: an old answer that says it is believed all the same.
        if status is ocsp.OCSPCertStatus.REVOKED:
            return revoked(window, single.revocation_time_utc, single.revocation_reason, produced, responder)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise NotChecked("malformed", "an OCSP answer cannot be read") from error
    window.check(now, asked.max_age)
    if status is not ocsp.OCSPCertStatus.GOOD:
        raise NotChecked("unknown", "the responder does not know the certificate")
    return Finding("good", window, produced_at=produced, responder=responder)


def _successful(answer: bytes) -> ocsp.OCSPResponse:
    response = ocsp.load_der_ocsp_response(answer)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise NotChecked(response.response_status.name.lower(), "the responder answers with an error")
    return response


def _about(response: ocsp.OCSPResponse, asked: Asked) -> ocsp.OCSPSingleResponse:
    found = [single for single in response.responses if _names(single, asked)]
    if len(found) != 1:
        raise NotChecked("another_certificate", "an OCSP answer is not about this certificate, or contradicts itself")
    return found[0]


def _names(single: ocsp.OCSPSingleResponse, asked: Asked) -> bool:
    algorithm = single.hash_algorithm
    if not isinstance(algorithm, _CERT_ID_HASHES) or single.serial_number != asked.certificate.serial_number:
        return False
    name = _digest(algorithm, asked.certificate.issuer.public_bytes())
    return single.issuer_name_hash == name and single.issuer_key_hash == _digest(algorithm, _key_bits(asked.issuer))


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    hasher = hashes.Hash(algorithm)
    hasher.update(data)
    return hasher.finalize()


def _key_bits(certificate: x509.Certificate) -> bytes:
    """The value of the key's BIT STRING (RFC 6960, 4.1.1)."""
    from asn1crypto import x509 as asn1

    loaded = asn1.Certificate.load(certificate.public_bytes(Encoding.DER), strict=True)
    bits: bytes = loaded.public_key["public_key"].contents[1:]
    return bits


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> x509.Certificate | None:
    """RFC 6960 4.2.2.2: the key of the issuer itself (None), or of a certificate that it issued for this."""
    for responder in _responders(response, issuer):
        key = responder.public_key()
        if not _verifies(response, key):
            continue
        if responder is not issuer:
            _check_delegate(responder, issuer, now)
        try:
            algorithms.check_key(key)
            algorithms.check_hash(response.signature_hash_algorithm, key)
        except CertificateRefused as error:
            raise NotChecked("algorithm", "an OCSP answer's signature is of a kind that is not accepted") from error
        return None if responder is issuer else responder
    raise NotChecked("wrong_signer", "an OCSP answer is signed by nobody that it names")


def _responders(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> Iterator[x509.Certificate]:
    """Whom the answer names as its signer; the issuer's key is ours, never one that came with the answer."""
    for candidate in (issuer, *response.certificates[:_MAX_RESPONDERS]):
        by_name = response.responder_name is not None and response.responder_name == candidate.subject
        by_key = response.responder_key_hash is not None and hmac.compare_digest(
            response.responder_key_hash, hashlib.sha1(_key_bits(candidate), usedforsecurity=False).digest()
        )
        if by_name or by_key:
            yield candidate


def _check_delegate(responder: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    """Issued directly by the issuer, now valid, for OCSP signing, and not to be asked about itself.

    :raises NotChecked: one of these does not hold.
    """
    try:
        responder.verify_directly_issued_by(issuer)
        algorithms.check_signature(responder, issuer.public_key())
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, CertificateRefused) as error:
        raise NotChecked("unauthorised_delegate", "the responder's certificate is not of this issuer") from error
    extensions = responder.extensions
    extended = extension_of(extensions, x509.ExtendedKeyUsage)
    usage = extension_of(extensions, x509.KeyUsage)
    if extended is None or ExtendedKeyUsageOID.OCSP_SIGNING not in extended:
        raise NotChecked("unauthorised_delegate", "the responder's certificate is not for OCSP signing")
    if usage is not None and not usage.digital_signature:
        raise NotChecked("unauthorised_delegate", "the responder's certificate is not for signatures")
    if not responder.not_valid_before_utc <= now < responder.not_valid_after_utc:
        raise NotChecked("unauthorised_delegate", "the responder's certificate is not valid now")
    if extension_of(extensions, x509.OCSPNoCheck) is None:
        # Its own revocation would have to be asked of whom it is to answer for (RFC 6960, 4.2.2.2.1).
        raise NotChecked("unauthorised_delegate", "the responder's certificate does not say id-pkix-ocsp-nocheck")


def _verifies(response: ocsp.OCSPResponse, key: object) -> bool:
    signature, data, algorithm = response.signature, response.tbs_response_bytes, response.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, data, ec.ECDSA(algorithm))
        elif isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _check_extensions(response: ocsp.OCSPResponse, asked: Asked) -> None:
    nonce: bytes | None = None
    for extension in response.extensions:
        if extension.oid == OCSPExtensionOID.NONCE and isinstance(extension.value, x509.OCSPNonce):
            nonce = extension.value.nonce
        elif extension.critical:
            raise NotChecked("malformed", "an OCSP answer has an unknown critical extension")
    if nonce is None and asked.nonce_required:
        raise NotChecked("no_nonce", "an OCSP answer has no nonce")
    if nonce is not None and asked.nonce is not None and not hmac.compare_digest(nonce, asked.nonce):
        raise NotChecked("nonce_mismatch", "an OCSP answer is to another request")
