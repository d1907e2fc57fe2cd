"""What authorities say about certificates: revocation (RFC 6960, RFC 5280 clause 5), and issuers (RFC 5280 4.2.2.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from foundation.errors import PrivySealError

Kind = Literal["ocsp", "crl"]
Status = Literal["good", "revoked", "suspended"]


class StatusError(PrivySealError):
    """Base of what goes wrong when an authority is asked; never raised itself."""

    code = "certificate_status"


class StatusUnavailable(StatusError):
    """Nobody answers in time, or not freshly enough; another time it may be otherwise."""

    code = "certificate_status_unavailable"


class StatusInvalid(StatusError):
    """What the authorities say cannot be relied on, or the certificate says of none whom one might ask."""

    code = "certificate_status_invalid"


@dataclass(frozen=True, slots=True)
class RevocationEvidence:
    """What an authority says about one certificate, verified, in the form in which signatures carry it."""

    kind: Kind
    der: bytes = field(repr=False)
    """``ocsp``: a successful OCSPResponse with a BasicOCSPResponse (RFC 6960 4.2.1); ``crl``: a CertificateList."""
    certificates: tuple[bytes, ...] = field(repr=False)
    """DER: the certificate of a delegated responder (RFC 6960 4.2.2.2); empty where the issuer itself signed."""
    this_update: datetime
    """Aware, UTC; so are the others."""
    next_update: datetime | None
    """None: newer information is to be had at any time (RFC 6960 4.2.2.1)."""
    status: Status
    """``suspended``: revoked with the reason certificateHold (RFC 5280 5.3.1)."""
    revoked_at: datetime | None = None
    reason: str | None = None
    """In the words of RFC 5280 5.3.1, such as ``keyCompromise``; None: not told."""
    produced_at: datetime | None = None
    """``ocsp``: when the responder signed (RFC 6960 4.2.2.1)."""


class StatusSource(Protocol):
    """Asks authorities about certificates whose path to a trust anchor the caller has established."""

    def evidence(self, certificate: bytes, issuer: bytes, *, at_least: datetime | None) -> RevocationEvidence:
        """What is said about a certificate.  That it is revoked is an answer, not an error.

        :param certificate: DER.
        :param issuer: DER, of the authority that issued it.
        :param at_least: aware; ``thisUpdate`` has to be this instant or later, in whole seconds as the standards write
            it.  None: as old as the settings allow.
        :raises StatusUnavailable: :raises StatusInvalid: see there.
        """
        ...


class IssuerSource(Protocol):
    """Finds the certificates that a chain lacks."""

    def issuers(self, certificate: bytes) -> tuple[bytes, ...]:
        """Certificates that may be of a certificate's issuer, from where it says that they are (id-ad-caIssuers).

        Nothing of them is verified.

        :param certificate: DER.
        :returns: DER; empty where it names no place.
        :raises StatusUnavailable: :raises StatusInvalid: see there.
        """
        ...
