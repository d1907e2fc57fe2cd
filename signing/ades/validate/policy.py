"""By what is validated: whom one trusts, and how strictly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from signing.ades.validation_data import ValidationData

Revocation = Literal["required", "declared", "none"]
MAX_SIGNATURES: Final = 50
"""Signatures and time-stamps of one document: each is compared with every later revision."""


@dataclass(frozen=True, slots=True)
class ValidationPolicy:
    """A signature validation policy (EN 319 102-1 clause 5.1.4) in the few points in which ours can differ.

    Hash functions: no MD5, no SHA-1.  RSA: 2048 bits and more.
    """

    anchors: tuple[bytes, ...] = field(repr=False)
    """DER certificates that signers' chains may end in."""
    timestamp_anchors: tuple[bytes, ...] = field(default=(), repr=False)
    """The same for time-stamping authorities; empty: the same ones."""
    revocation: Revocation = "required"
    """``required``: each certificate below an anchor needs a status that was fresh when it counted; ``declared``: only
    those that say where it is to be had; ``none``: no status is looked at, not even what the document holds."""


def der_of(certificates: Iterable[x509.Certificate]) -> tuple[bytes, ...]:
    """Trust anchors in the form of :class:`ValidationPolicy`."""
    return tuple(each.public_bytes(Encoding.DER) for each in certificates)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known besides the document."""

    at: datetime
    """Aware: the time for which is validated, commonly now."""
    outside: ValidationData = field(default_factory=ValidationData)
    """Certificates, OCSP answers and revocation lists from elsewhere."""
