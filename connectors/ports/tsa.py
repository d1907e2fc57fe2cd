"""A time-stamping authority (RFC 3161)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Protocol

from foundation.errors import PrivySealError

HashName = Literal["sha256", "sha384", "sha512"]
IMPRINT_OCTETS: Final[dict[HashName, int]] = {"sha256": 32, "sha384": 48, "sha512": 64}


class TsaError(PrivySealError):
    """Base of what goes wrong with a time-stamping authority; never raised itself."""

    code = "tsa"


class TsaUnavailable(TsaError):
    """No answer in time, or that it cannot now; another authority may be asked."""

    code = "tsa_unavailable"


class TsaRefused(TsaError):
    """It will not stamp: our credentials, the hash function, the policy."""

    code = "tsa_refused"


class TsaAnswerInvalid(TsaError):
    """What it sent is not a stamp of what was asked for, or nobody whom the operator trusts signed it."""

    code = "tsa_answer_invalid"


@dataclass(frozen=True, slots=True)
class TimestampToken:
    """A stamp that was verified."""

    der: bytes = field(repr=False)
    """TimeStampToken: a CMS ContentInfo with SignedData over TSTInfo (RFC 3161 2.4.2)."""
    at: datetime
    """``genTime``: aware, UTC."""
    serial: int
    policy: str
    """OID under which it was made."""
    authority: str
    """Subject of the certificate that signed it (RFC 4514)."""


class TimestampAuthority(Protocol):
    """Stamps digests."""

    def stamp(self, imprint: bytes, hash_name: HashName, nonce: int | None = None) -> TimestampToken:
        """A stamp of a digest, verified against the trust anchors of the settings.

        :param imprint: of the length in :data:`IMPRINT_OCTETS`.
        :param nonce: what the stamp has to repeat, where somebody else will look for it; None: a random one.
        :raises TsaUnavailable: :raises TsaRefused: :raises TsaAnswerInvalid: see there.
        """
        ...
