"""Which level a signature has reached: what it asks for is there, and was found valid (EN 319 142-1 clause 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from asn1crypto import x509 as asn1_x509

from signing.ades.validate.report import Level
from signing.ades.validate.statuses import is_told, needs_status
from signing.ades.validation_data import ValidationData

Chain = tuple[asn1_x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a level is judged by."""

    baseline: bool
    """The form of B-B: see :func:`is_baseline`."""
    proven: datetime | None
    """A valid time-stamp's time."""
    chains: tuple[Chain, ...]
    """The signer's and its signature time-stamps', each up to its anchor; empty where none was found."""
    stored: ValidationData
    archived: tuple[ValidationData, ...]
    """What was stored in each revision over which there is a valid document time-stamp."""


def level_of(found: Found) -> Level | None:
    """The highest level whose requirements are met, each including those below."""
    if not found.baseline:
        return None
    if found.proven is None:
        return "B-B"
    if not _complete(found.chains, found.stored, found.proven):
        return "B-T"
    archived = any(_complete(found.chains, each, found.proven) for each in found.archived)
    return "B-LTA" if archived else "B-LT"


def is_baseline(subfilter: str, signed_attributes: Iterable[Any]) -> bool:
    """ETSI.CAdES.detached, with one signing-certificate attribute that names one certificate (6.3, table 1)."""
    named = [each for each in signed_attributes if each["type"].native in _REFERENCES]
    if subfilter != "/ETSI.CAdES.detached" or len(named) != 1:
        return False
    return len(named[0]["values"]) == 1


_REFERENCES = frozenset({"signing_certificate", "signing_certificate_v2"})


def _complete(chains: Iterable[Chain], stored: ValidationData, proven: datetime) -> bool:
    """A status is stored of every certificate below an anchor, and none was stale when it was signed (SIG-06)."""
    return all(chain and _told(chain, stored, proven) for chain in chains)


def _told(chain: Chain, stored: ValidationData, proven: datetime) -> bool:
    for certificate, issuer in pairwise(chain):
        if not needs_status(certificate):
            continue
        if not is_told(certificate, issuer, stored, proven):
            return False
    return True
