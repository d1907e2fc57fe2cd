"""What validation finds out about a document's signatures (ETSI EN 319 102-1 clause 5.1.3), and its JSON.

Every text in it that comes from the document (names, reasons, field names) is what somebody wrote there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

Indication = Literal["TOTAL_PASSED", "INDETERMINATE", "TOTAL_FAILED"]
"""EN 319 102-1 clause 5.1.3, table 4."""
Level = Literal["B-B", "B-T", "B-LT", "B-LTA"]
"""Of EN 319 142-1 clause 6; ``B-B`` to ``B-LTA`` are what TS 103 172 called B-Level, T-Level, LT-Level, LTA-Level."""
Change = Literal["none", "maintenance", "forms_and_signatures", "annotations", "not_allowed"]
"""What was done to the document after a signature: see ``docs/validation.md``."""
_RANK: Final[dict[Indication, int]] = {"TOTAL_PASSED": 0, "INDETERMINATE": 1, "TOTAL_FAILED": 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """An indication with what explains it."""

    indication: Indication
    sub_indication: str | None = None
    """In the standard's word, such as ``HASH_FAILURE``; None where it passed."""
    explanation: str | None = None

    def worse(self, other: Verdict | None) -> Verdict:
        """The graver of both; this one where they are alike."""
        return other if other is not None and _RANK[other.indication] > _RANK[self.indication] else self


@dataclass(frozen=True, slots=True)
class QualifiedStatements:
    """What the issuer states in the certificate (ETSI EN 319 412-5); no trusted list was asked."""

    compliance: bool
    """QcCompliance: issued as an EU qualified certificate (4.2.1)."""
    sscd: bool
    """QcSSCD: the key is in a qualified signature creation device (4.2.2)."""
    types: tuple[str, ...]
    """QcType: ``esign``, ``eseal``, ``web`` (4.2.3)."""
    countries: tuple[str, ...] = ()
    """QcCClegislation: under which countries' law (4.2.4); empty: the EU's."""


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """A certificate of a chain."""

    subject: str
    issuer: str
    serial_number: str
    """Hexadecimal."""
    sha256: str
    """Of its DER, hexadecimal."""
    not_before: datetime
    not_after: datetime
    trust_anchor: bool


@dataclass(frozen=True, slots=True)
class RevocationReport:
    """What is known of one certificate's status."""

    certificate: str
    """Its SHA-256, as in the chain."""
    kind: Literal["ocsp", "crl"]
    source: Literal["document", "outside"]
    """Whether it is kept in the document."""
    status: Literal["good", "revoked", "unknown"]
    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TimestampReport:
    """A time-stamp (RFC 3161): of a signature's value, or of the document (EN 319 142-1 5.4.3)."""

    kind: Literal["signature", "document"]
    verdict: Verdict
    time: datetime
    """genTime."""
    policy: str
    """Dotted."""
    authority: str
    chain: tuple[CertificateReport, ...] = ()
    field: str | None = None
    """``document``: the name of its field."""
    covers_whole_file: bool | None = None
    """``document``: nothing comes after it."""


@dataclass(frozen=True, slots=True)
class Modifications:
    """What was done to the file after the revision that a signature covers."""

    level: Change
    covers_whole_file: bool
    allowed: bool
    """By the difference analysis, and by the signature's own DocMDP (ISO 32000-2 12.8.2.2)."""
    certification: Literal["none", "no_changes", "forms", "forms_and_annotations"] = "none"
    """What the signature, as a certification, allows to be changed."""


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """One signature."""

    field: str
    format: str
    """The SubFilter, such as ``ETSI.CAdES.detached`` (ISO 32000-2 table 255)."""
    verdict: Verdict
    level: Level | None = None
    """The level whose requirements were found met; None: not even B-B."""
    signer: str | None = None
    """Common name; the whole subject is in the chain."""
    claimed_time: datetime | None = None
    """The signer's word for it."""
    proven_time: datetime | None = None
    """The earliest time for which a time-stamp vouches."""
    digest_algorithm: str | None = None
    signature_algorithm: str | None = None
    reason: str | None = None
    location: str | None = None
    modifications: Modifications | None = None
    qualified: QualifiedStatements | None = None
    chain: tuple[CertificateReport, ...] = ()
    timestamps: tuple[TimestampReport, ...] = ()
    revocation: tuple[RevocationReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """On one document."""

    verdict: Verdict
    """The gravest of its signatures' and time-stamps'."""
    at: datetime
    """The time for which was validated."""
    octets: int
    sha256: str
    signatures: tuple[SignatureReport, ...]
    timestamps: tuple[TimestampReport, ...] = ()
    """Of the document itself, in the order of its revisions."""
    pages: int | None = None


def as_json(found: object) -> Any:
    """A report as JSON's types: members that are not there are left out, times are RFC 3339 in UTC."""
    if is_dataclass(found) and not isinstance(found, type):
        members = ((each.name, getattr(found, each.name)) for each in fields(found))
        return {name: as_json(value) for name, value in members if value is not None}
    if isinstance(found, datetime):
        return found.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return [as_json(each) for each in found] if isinstance(found, tuple) else found


def overall(verdicts: tuple[Verdict, ...]) -> Verdict:
    """The gravest; where there is nothing to judge, nothing was determined."""
    if not verdicts:
        return Verdict("INDETERMINATE", None, "the document has no signature")
    found = verdicts[0]
    for each in verdicts[1:]:
        found = found.worse(each)
    return found
