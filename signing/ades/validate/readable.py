"""A report for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from signing.ades.validate.report import (
    CertificateReport,
    Modifications,
    QualifiedStatements,
    Report,
    RevocationReport,
    SignatureReport,
    TimestampReport,
    Verdict,
)

_CHANGES: Final = {
    "none": "none",
    "maintenance": "validation data and time-stamps only",
    "forms_and_signatures": "forms filled in, or further signatures",
    "annotations": "annotations, forms or signatures",
    "not_allowed": "other content was changed",
}


def lines(name: str, report: Report) -> Iterator[str]:
    """One document's report.

    :param name: as the reader knows the document.
    """
    yield f"{name}: {_verdict(report.verdict)}"
    yield f"  validated for {_time(report.at)}; {report.octets} octets, SHA-256 {report.sha256}"
    for signature in report.signatures:
        yield from _signature(signature)
    for stamp in report.timestamps:
        yield from _timestamp(stamp, "  Document time-stamp")


def _signature(found: SignatureReport) -> Iterator[str]:
    yield f"  Signature {found.field}: {_verdict(found.verdict)}"
    yield f"    level: {found.level or 'none'} ({found.format})"
    if found.signer is not None:
        yield f"    signer: {found.signer}"
    if found.claimed_time is not None:
        yield f"    time, as the signer says: {_time(found.claimed_time)}"
    if found.proven_time is not None:
        yield f"    time, proven: not after {_time(found.proven_time)}"
    if found.signature_algorithm is not None:
        yield f"    algorithm: {found.signature_algorithm}, {found.digest_algorithm}"
    for label, text in (("reason", found.reason), ("location", found.location)):
        if text is not None:
            yield f"    {label}, as the signer says: {text}"
    if found.modifications is not None:
        yield f"    changes since: {_modifications(found.modifications)}"
    if found.qualified is not None:
        yield f"    qualified statements: {_qualified(found.qualified)}"
    yield from _chain(found.chain)
    for stamp in found.timestamps:
        yield from _timestamp(stamp, "    Signature time-stamp")
    for each in found.revocation:
        yield f"    status of {_short(each.certificate)}: {_status(each)}"


def _timestamp(found: TimestampReport, label: str) -> Iterator[str]:
    yield f"{label} {_time(found.time)}: {_verdict(found.verdict)}"
    yield f"      {found.authority}, policy {found.policy}"


def _chain(chain: tuple[CertificateReport, ...]) -> Iterator[str]:
    for each in chain:
        until = f"{each.not_before:%Y-%m-%d} to {each.not_after:%Y-%m-%d}"
        anchor = ", trust anchor" if each.trust_anchor else ""
        yield f"    certificate {_short(each.sha256)}: {each.subject}; {until}{anchor}"


def _verdict(verdict: Verdict) -> str:
    word = verdict.indication if verdict.sub_indication is None else f"{verdict.indication}/{verdict.sub_indication}"
    return word if verdict.explanation is None else f"{word}: {verdict.explanation}"


def _modifications(found: Modifications) -> str:
    text = _CHANGES[found.level]
    return text if found.allowed else f"{text}: NOT ALLOWED"


def _qualified(found: QualifiedStatements) -> str:
    words = [*(["QcCompliance"] if found.compliance else []), *(["QcSSCD"] if found.sscd else [])]
    words += [f"QcType {each}" for each in found.types]
    return ", ".join(words) or "none that is looked at"


def _status(found: RevocationReport) -> str:
    at = f", {_time(found.revoked_at)}" if found.revoked_at is not None else ""
    where = "in the document" if found.source == "document" else "from outside"
    return f"{found.status}{at} ({found.kind.upper()} of {_time(found.this_update)}, {where})"


def _short(digest: str) -> str:
    return digest[:16]


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
