"""An OCSP responder (RFC 6960, in the lightweight profile of RFC 5019: one certificate a request)."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import OCSPExtensionOID

from devservices.ca import ISSUERS, UnsafeDevelopmentCertificateAuthority, revocation_of
from foundation.clock import Clock

LIFETIME = timedelta(hours=1)
"""From thisUpdate to nextUpdate."""

MAX_NONCE_BYTES = 128
"""RFC 9654 clause 2.1: 1 to 128 octets are legal; the nonce is echoed as it came."""

CERT_ID_HASHES = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)
"""SHA-1 only names a certificate here and protects nothing; OpenSSL and most others still use it for that."""


class OcspResponder:
    """Answers for both authorities; every answer is signed now, so a revocation shows at once."""

    def __init__(self, authority: UnsafeDevelopmentCertificateAuthority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        # The value of the BIT STRING in the issuer's key (RFC 6960 clause 4.1.1): for our P-256 keys, the point.
        self._issuers = {
            label: (
                authority.certificate(label).subject.public_bytes(),
                authority.key_of(label).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
            )
            for label in ISSUERS
        }

    def answer(self, request: bytes) -> bytes:
        """The DER response to a DER request; errors are OCSP responses too (RFC 6960 clause 2.3)."""
        # 1. Readable, with no critical extension but the nonce.
        try:
            asked = ocsp.load_der_ocsp_request(request)
            nonce = _nonce(asked.extensions)
            algorithm = asked.hash_algorithm
            serial = asked.serial_number
        except (ValueError, UnsupportedAlgorithm):
            return _error(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        except NotImplementedError:
            # Several certificates in one request: a responder of RFC 5019 may decline.
            return _error(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        # 2. About a certificate of one of our authorities.
        issuer = self._issuer_of(asked, algorithm)
        if issuer is None:
            return _error(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        # 3. What the register says.
        builder = self._single(issuer, asked, algorithm, serial)
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        signer = self._authority.responder(issuer)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        builder = builder.certificates([signer.certificate])
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _issuer_of(self, asked: ocsp.OCSPRequest, algorithm: hashes.HashAlgorithm) -> str | None:
        if not isinstance(algorithm, CERT_ID_HASHES):
            return None
        named = asked.issuer_name_hash, asked.issuer_key_hash
        for label, (name, key) in self._issuers.items():
            if named == (_digest(algorithm, name), _digest(algorithm, key)):
                return label
        return None

    def _single(
        self, issuer: str, asked: ocsp.OCSPRequest, algorithm: hashes.HashAlgorithm, serial: int
    ) -> ocsp.OCSPResponseBuilder:
        known = self._authority.register.status(issuer, serial)
        revocation = None if known is None else revocation_of(known)
        if known is None:
            status = ocsp.OCSPCertStatus.UNKNOWN
        else:
            status = ocsp.OCSPCertStatus.GOOD if revocation is None else ocsp.OCSPCertStatus.REVOKED
        now = self._clock.now().replace(microsecond=0)
        return ocsp.OCSPResponseBuilder().add_response_by_hash(
            asked.issuer_name_hash, asked.issuer_key_hash, serial, algorithm, status, now, now + LIFETIME,
            None if revocation is None else revocation[0], None if revocation is None else revocation[1],
        )  # fmt: skip


def _nonce(extensions: x509.Extensions) -> bytes | None:
    nonce = None
    for extension in extensions:
        if extension.oid == OCSPExtensionOID.NONCE and isinstance(extension.value, x509.OCSPNonce):
            nonce = extension.value.nonce
            if not 1 <= len(nonce) <= MAX_NONCE_BYTES:
                raise ValueError("a nonce of this length is not legal")
        elif extension.critical:
            raise ValueError("an unknown critical extension")
    return nonce


def _error(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    hasher = hashes.Hash(algorithm)
    hasher.update(data)
    return hasher.finalize()
