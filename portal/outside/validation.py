"""The signing service's ``POST /validate``, and its report as the page shows it (docs/validation.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from clients.csc import ProtocolError, Transport
from portal.errors import NotValidated, ServiceUnavailable, TooOften

INDICATIONS: Final = ("TOTAL_PASSED", "INDETERMINATE", "TOTAL_FAILED")
"""ETSI EN 319 102-1 5.1.3."""
_MAX_SHOWN: Final = 100
"""Signatures, and certificates of one chain."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An indication with what explains it."""

    indication: str
    sub_indication: str
    explanation: str
    """In English, of the service's own making."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature.  Names, reason and location are what somebody wrote into the document."""

    verdict: Verdict
    signer: str
    level: str
    """``B-B`` to ``B-LTA``; empty: not even B-B."""
    claimed: datetime | None
    """The signer's word for it."""
    proven: datetime | None
    """A time-stamp's."""
    reason: str
    location: str
    modifications: str
    """What was done to the document after it: ``none``, ``maintenance``, ``forms_and_signatures``, ``annotations``,
    ``not_allowed``; empty: not known."""
    qualified: bool
    """Its certificate states that it is a qualified one."""
    device: bool
    """And that the key is in a qualified device."""
    issuers: tuple[str, ...]
    """The chain's subjects, above the signer's."""


@dataclass(frozen=True, slots=True)
class Report:
    """On one document."""

    verdict: Verdict
    at: datetime | None
    sha256: str
    pages: int | None
    signatures: tuple[Signature, ...]
    stamps: tuple[datetime, ...]
    """Times of the document's own time-stamps that passed."""


def validated(transport: Transport, url: str, document: bytes) -> Report:
    """Ask for a report.

    :raises NotValidated: too large, too complex, or no PDF.
    :raises TooOften: it is to be asked later.
    :raises ServiceUnavailable: another refusal.
    :raises ClientError: no answer, or one that is no report.
    """
    reply = transport.post_octets(url, document, "application/pdf")
    if reply.status in {413, 415, 422}:
        raise NotValidated(f"HTTP {reply.status}")
    if reply.status == 429:
        raise TooOften("the validation is asked too often")
    if reply.status != 200:
        raise ServiceUnavailable(f"the validation answered HTTP {reply.status}")
    return report_of(reply.json())


def report_of(answer: Mapping[str, Any]) -> Report:
    """A report, as far as it is shown.

    :raises ProtocolError: it is none.
    """
    signatures = _list(answer, "signatures")
    stamps = [each for each in _list(answer, "timestamps") if _verdict(each).indication == "TOTAL_PASSED"]
    pages = answer.get("pages")
    return Report(
        verdict=_verdict(answer),
        at=_time(answer.get("at")),
        sha256=_text(answer, "sha256"),
        pages=pages if isinstance(pages, int) else None,
        signatures=tuple(_signature(each) for each in signatures[:_MAX_SHOWN]),
        stamps=tuple(at for each in stamps[:_MAX_SHOWN] if (at := _time(each.get("time"))) is not None),
    )


def _signature(value: Mapping[str, Any]) -> Signature:
    modifications, qualified = _table(value, "modifications"), _table(value, "qualified")
    return Signature(
        verdict=_verdict(value),
        signer=_text(value, "signer"),
        level=_text(value, "level"),
        claimed=_time(value.get("claimed_time")),
        proven=_time(value.get("proven_time")),
        reason=_text(value, "reason"),
        location=_text(value, "location"),
        modifications=_text(modifications, "level"),
        qualified=qualified.get("compliance") is True,
        device=qualified.get("sscd") is True,
        issuers=tuple(_text(each, "subject") for each in _list(value, "chain")[1:_MAX_SHOWN]),
    )


def _verdict(value: Mapping[str, Any]) -> Verdict:
    told = _table(value, "verdict")
    indication = told.get("indication")
    if indication not in INDICATIONS:
        raise ProtocolError("a report lacks its indication")
    return Verdict(str(indication), _text(told, "sub_indication"), _text(told, "explanation"))


def _list(value: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = value.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _table(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
