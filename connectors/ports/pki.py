"""A certification authority that issues certificates for signers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from foundation.errors import PrivySealError


class PkiError(PrivySealError):
    """Base of what goes wrong with a certification authority; never raised itself."""

    code = "pki"


class PkiUnavailable(PkiError):
    """No answer, or that it cannot now; the same request, with its idempotency key, may be repeated."""

    code = "pki_unavailable"


class PkiRefused(PkiError):
    """It will not issue: our credentials, the request's form, the proof of possession or the subject."""

    code = "pki_refused"


class PkiAnswerInvalid(PkiError):
    """What it sent is not what was asked for: another key, another subject, no chain, or no certificate at all."""

    code = "pki_answer_invalid"


@dataclass(frozen=True, slots=True)
class SubjectName:
    """A natural person's name in a certificate (ETSI EN 319 412-2 4.2.4)."""

    common_name: str
    given_name: str | None = None
    surname: str | None = None
    serial_number: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2."""


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What is asked of the authority."""

    pkcs10: bytes
    """DER CertificationRequest (RFC 2986)."""
    subject: SubjectName
    profile: str
    """Name of a certificate profile that the authority's operator defined."""
    idempotency_key: str
    """The same key with the same request brings the same certificate, never a second one."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """What the authority issued."""

    chain: tuple[bytes, ...]
    """DER certificates, the signer's first."""


class CertificateAuthority(Protocol):
    """Issues and revokes certificates."""

    def issue(self, request: CertificateRequest) -> IssuedCertificate:
        """Ask for a certificate.

        :raises PkiUnavailable: :raises PkiRefused: :raises PkiAnswerInvalid: see the classes.
        """
        ...

    def revoke(self, certificate: bytes, reason: str) -> None:
        """Revoke a certificate (DER), with a reason of RFC 5280 5.3.1.

        :raises PkiUnavailable: :raises PkiRefused: see the classes.
        """
        ...
