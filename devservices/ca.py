"""A small certification authority for development: a root, an issuing authority, their register and CRLs.

It exists so that the whole product can be walked through on one machine.  It checks what a real authority's interface
would check (proof of possession, the subject, the caller) and nothing about people.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from devservices import profiles
from devservices.errors import (
    CsrInvalid,
    ProofOfPossessionFailed,
    ReasonUnknown,
    RequestMalformed,
    StateUnusable,
    SubjectMismatch,
)
from devservices.names import NaturalPerson, name_of, same_attributes
from devservices.register import Entry, Register, Status
from devservices.state import locked, open_directory, read_certificate, read_key, write_certificate, write_key
from foundation.clock import Clock, SystemClock, epoch, from_epoch

log = logging.getLogger(__name__)

ISSUERS = ("root", "issuing")

RESPONDERS = {"root": "root-ocsp", "issuing": "ocsp"}
"""Names of the files with the delegated responder of each authority."""

CRL_LIFETIMES = {"root": timedelta(days=30), "issuing": timedelta(days=1)}

OCSP_RENEWAL = timedelta(days=30)
"""A responder certificate with less than this left is replaced at the next start."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._:-]{8,128}")
PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

REASONS = {
    reason.value: reason
    for reason in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.privilege_withdrawn,
    )
}
"""RFC 5280 clause 5.3.1 without the reasons of authorities and without holds, which this register cannot lift."""


@dataclass(frozen=True, slots=True)
class Issuance:
    """What the authenticated caller asks for."""

    pkcs10: bytes
    """DER."""
    subject: NaturalPerson
    idempotency_key: str
    profile: str = "signer"
    """Recorded; certificates of all profiles have the same form."""

    def digest(self) -> bytes:
        """What must be equal for two requests to be the same request."""
        rest = json.dumps([asdict(self.subject), self.profile], sort_keys=True).encode()
        return hashlib.sha256(hashlib.sha256(self.pkcs10).digest() + rest).digest()


@dataclass(frozen=True, slots=True)
class OcspSigner:
    """The delegated responder's certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


class UnsafeDevelopmentCertificateAuthority:
    """The authority over one state directory. Safe to use from several threads and processes."""

    def __init__(
        self,
        directory: Path,
        public_url: str,
        *,
        clock: Clock | None = None,
        serial: Callable[[], int] = x509.random_serial_number,
    ) -> None:
        """Open the directory, or make keys and certificates in it when it is new.

        :param public_url: scheme, host and port that go into certificates; a directory keeps the one it was made for.
        :param serial: 20 octets at most, positive (RFC 5280 clause 4.1.2.2); the default draws 159 random bits.
        :raises StateUnusable: the directory is open to others, damaged, or was made for another ``public_url``.
        :raises foundation.errors.SecretFileError: a key file is open to others.
        """
        log.warning("UnsafeDevelopmentCertificateAuthority: keys in files, nobody's identity is checked")
        self._clock = clock or SystemClock()
        self._serial = serial
        self._directory = directory
        self.addresses = profiles.Addresses(public_url.rstrip("/"))
        open_directory(directory)
        with locked(directory):
            self.register = Register(directory / "register.sqlite3")
            self._make_or_check()
            self._certificates = {label: read_certificate(directory / f"{label}.crt") for label in ISSUERS}
            self._issuers = {label: self._issuer(label) for label in ISSUERS}
            self._responders = {label: self._make_or_renew_ocsp(label) for label in ISSUERS}

    # -- state ---------------------------------------------------------------------------------------------------

    def _make_or_check(self) -> None:
        made_for = self.register.meta("public_url")
        if made_for is None:
            # Whatever an interrupted start left behind has signed nothing yet: begin again.
            self._make()
            self.register.set_meta("public_url", self.addresses.public_url)
        elif made_for != self.addresses.public_url:
            raise StateUnusable(
                f"{self._directory}: its certificates point to {made_for}, not to {self.addresses.public_url}; "
                "use that address or a new directory"
            )

    def _make(self) -> None:
        now = self._clock.now()
        keys = {label: ec.generate_private_key(ec.SECP256R1()) for label in ISSUERS}
        root = profiles.Issuer("root", profiles.ca_name("Privy Seal Development Root CA"), keys["root"])
        issuing = self._draft("Privy Seal Development Issuing CA", keys["issuing"].public_key(), now)
        certificates = {
            "root": profiles.root_certificate(root, self._serial(), now),
            "issuing": profiles.issuing_certificate(issuing, root, self.addresses),
        }
        for label in ISSUERS:
            write_key(self._directory / f"{label}.key", keys[label])
            write_certificate(self._directory / f"{label}.crt", certificates[label])
        self.register.add(self._entry("root", certificates["issuing"], "issuing-ca", now))

    def _issuer(self, label: str) -> profiles.Issuer:
        key = read_key(self._directory / f"{label}.key")
        certificate = self._certificates[label]
        if certificate.public_key() != key.public_key():
            raise StateUnusable(f"{self._directory}: {label}.key does not belong to {label}.crt")
        return profiles.Issuer(label, certificate.subject, key)

    def _make_or_renew_ocsp(self, label: str) -> OcspSigner:
        name = RESPONDERS[label]
        key_file, certificate_file = self._directory / f"{name}.key", self._directory / f"{name}.crt"
        now = self._clock.now()
        if certificate_file.exists():
            signer = OcspSigner(read_certificate(certificate_file), read_key(key_file))
            if signer.certificate.public_key() == signer.key.public_key() and (
                signer.certificate.not_valid_after_utc - now > OCSP_RENEWAL
            ):
                return signer
        key = ec.generate_private_key(ec.SECP256R1())
        draft = self._draft(f"Privy Seal Development OCSP ({label})", key.public_key(), now)
        certificate = profiles.ocsp_certificate(draft, self._issuers[label])
        self.register.add(self._entry(label, certificate, "ocsp", now))
        write_key(key_file, key)
        write_certificate(certificate_file, certificate)
        return OcspSigner(certificate, key)

    def _draft(self, common_name: str, key: ec.EllipticCurvePublicKey, now: datetime) -> profiles.Draft:
        return profiles.Draft(profiles.ca_name(common_name), key, self._serial(), now)

    @staticmethod
    def _entry(issuer: str, certificate: x509.Certificate, profile: str, now: datetime) -> Entry:
        der = certificate.public_bytes(Encoding.DER)
        return Entry(issuer, certificate.serial_number, hashlib.sha256(der).digest(), der, profile, epoch(now))

    # -- what it hands out ---------------------------------------------------------------------------------------

    def certificate(self, label: str) -> x509.Certificate:
        """The authority's own certificate: ``root`` or ``issuing``."""
        return self._certificates[label]

    def key_of(self, label: str) -> ec.EllipticCurvePublicKey:
        """The public key of an authority: ``root`` or ``issuing``, under which signers' certificates are issued."""
        return self._issuers[label].key.public_key()

    def responder(self, label: str) -> OcspSigner:
        """To whom an authority delegated its OCSP answers."""
        return self._responders[label]

    def issue(self, request: Issuance) -> tuple[bytes, ...]:
        """A signer's certificate and its chain, DER, signer first, root last.

        The same request under the same idempotency key gets the same certificate.

        :raises RequestMalformed: the idempotency key or profile has not the right form.
        :raises CsrInvalid: unreadable PKCS#10, weak or unknown key or signature algorithm.
        :raises ProofOfPossessionFailed: its signature does not verify with its own key.
        :raises SubjectInvalid: the subject cannot stand in a certificate.
        :raises SubjectMismatch: the PKCS#10 names somebody else.
        :raises IdempotencyConflict: the key was used for another request.
        """
        # 1. The request's own form.
        if not IDEMPOTENCY_KEY.fullmatch(request.idempotency_key):
            raise RequestMalformed("idempotency_key is 8 to 128 letters, digits, dots, colons, hyphens, underscores")
        if not PROFILE.fullmatch(request.profile):
            raise RequestMalformed("profile is 1 to 64 letters, digits, dots, hyphens, underscores")
        # 2. to 4. The PKCS#10: readable, acceptable, signed with its own key, for the subject the caller named.
        subject = name_of(request.subject)
        key = check_csr(request.pkcs10, subject)
        # 5. Once per idempotency key.
        leaf = self.register.once(
            request.idempotency_key, request.digest(), lambda: self._sign_signer(subject, key, request.profile)
        )
        return leaf, *(self._certificates[label].public_bytes(Encoding.DER) for label in ("issuing", "root"))

    def _sign_signer(self, subject: x509.Name, key: CertificatePublicKeyTypes, profile: str) -> Entry:
        now = self._clock.now()
        draft = profiles.Draft(subject, key, self._serial(), now)
        certificate = profiles.signer_certificate(draft, self._issuers["issuing"], self.addresses)
        return self._entry("issuing", certificate, profile, now)

    def issue_tsa(self, key: ec.EllipticCurvePublicKey, common_name: str) -> x509.Certificate:
        """A certificate of the root for a time-stamping unit of our own."""
        now = self._clock.now()
        draft = self._draft(common_name, key, now)
        certificate = profiles.tsa_certificate(draft, self._issuers["root"], self.addresses)
        self.register.add(self._entry("root", certificate, "tsa", now))
        return certificate

    def issue_tls(self, key: ec.EllipticCurvePublicKey, names: x509.SubjectAlternativeName) -> x509.Certificate:
        """A certificate of the root for a server of our own on loopback."""
        now = self._clock.now()
        draft = self._draft("Privy Seal Development Server", key, now)
        certificate = profiles.tls_certificate(draft, self._issuers["root"], names)
        self.register.add(self._entry("root", certificate, "tls", now))
        return certificate

    def revoke(self, certificate: bytes, reason: str) -> Status:
        """Revoke a certificate (DER); what was revoked before keeps its first time and reason.

        :raises ReasonUnknown: not one of :data:`REASONS`.
        :raises CertificateUnknown: not issued here.
        """
        if reason not in REASONS:
            raise ReasonUnknown(f"the reason is one of {', '.join(REASONS)}")
        return self.register.revoke(hashlib.sha256(certificate).digest(), epoch(self._clock.now()), reason)

    def crl(self, label: str) -> bytes:
        """A complete revocation list of ``root`` or ``issuing``, DER, made now (RFC 5280 clause 5)."""
        now = self._clock.now().replace(microsecond=0)
        issuer = self._issuers[label]
        # The number is drawn before the list is read: a list with a higher number never knows less.
        number = self.register.next_crl_number(label)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.name)
            .last_update(now)
            .next_update(now + CRL_LIFETIMES[label])
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        for status in self.register.revoked(label):
            builder = builder.add_revoked_certificate(_revoked(status))
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def revocation_of(status: Status) -> tuple[datetime, x509.ReasonFlags | None] | None:
    """When and why a certificate was revoked; ``unspecified`` is expressed by no reason (RFC 5280 clause 5.3.1)."""
    if status.revoked_at is None or status.reason is None:
        return None
    reason = REASONS[status.reason]
    return from_epoch(status.revoked_at), None if reason is x509.ReasonFlags.unspecified else reason


def _revoked(status: Status) -> x509.RevokedCertificate:
    revocation = revocation_of(status)
    if revocation is None:
        raise StateUnusable(f"serial {status.serial:x} stands among the revoked without a time")
    at, reason = revocation
    builder = x509.RevokedCertificateBuilder().serial_number(status.serial).revocation_date(at)
    return (builder if reason is None else builder.add_extension(x509.CRLReason(reason), critical=False)).build()


def check_csr(pkcs10: bytes, subject: x509.Name) -> CertificatePublicKeyTypes:
    """The public key of a PKCS#10 that proves possession of its key and names ``subject``.

    :raises CsrInvalid: unreadable, or a key or signature algorithm that is not accepted.
    :raises ProofOfPossessionFailed: the signature does not verify.
    :raises SubjectMismatch: another subject.
    """
    # 1. Readable, and only DER: PEM or trailing octets are refused by the parser.
    try:
        csr = x509.load_der_x509_csr(pkcs10)
        key = csr.public_key()
        algorithm = csr.signature_hash_algorithm
        named = csr.subject
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CsrInvalid("the PKCS#10 cannot be read") from error
    # 2. Keys and hashes that a signature of today can stand on.
    if not isinstance(algorithm, HASHES):
        raise CsrInvalid("the PKCS#10 is not signed with SHA-256, SHA-384 or SHA-512")
    accepted = _key_accepted(key)
    # 3. Proof of possession.
    try:
        verified = csr.is_signature_valid
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise ProofOfPossessionFailed("the PKCS#10's signature cannot be verified") from error
    if not verified:
        raise ProofOfPossessionFailed("the PKCS#10 is not signed with its own key")
    # 4. The caller, not the key's holder, says who this is.
    if not same_attributes(named, subject):
        raise SubjectMismatch("the PKCS#10 names another subject than the request")
    return accepted


def _key_accepted(key: object) -> CertificatePublicKeyTypes:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return key
    raise CsrInvalid(f"the key is neither P-256, P-384, P-521 nor RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
