"""Validation of a whole document: the archive's time-stamps from the last to the first, then each signature.

The last time-stamp is validated for now; what it proves is used for the one before, and all of it for the signatures
(EN 319 102-1 clause 5.6.3, with the document time-stamps in the place of an evidence record; EN 319 142-1 clause 5.5).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter, message_imprint_checker

from signing.ades.errors import DocumentNotReadable
from signing.ades.validate import certificates, knowledge, levels, reading
from signing.ades.validate.blocks import Judged
from signing.ades.validate.judging import judge_signature, judge_timestamp
from signing.ades.validate.knowledge import Knowledge
from signing.ades.validate.parts import (
    algorithm_of,
    covers_whole,
    form_of,
    leaf_of,
    pages_of,
    printable,
    stamped_parts,
    stated,
)
from signing.ades.validate.policy import Circumstances, ValidationPolicy
from signing.ades.validate.reading import FAULTS, Embedded
from signing.ades.validate.report import (
    Level,
    Report,
    RevocationReport,
    SignatureReport,
    TimestampReport,
    Verdict,
    overall,
)
from signing.ades.validate.statuses import statuses
from signing.ades.validation_data import ValidationData

log = logging.getLogger(__name__)

_MALFORMED: Final = "FORMAT_FAILURE"
CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""By which an authority's clock may be ahead of the one that is validated by."""
Chain = tuple[asn1_x509.Certificate, ...]
"""From the end entity up."""
Stamp = tuple[TimestampReport, Chain]
"""With its whole chain; empty where there is none."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was found out about a signature."""

    verdict: Verdict
    level: Level | None
    chain: Chain
    stamps: list[Stamp]
    proven: datetime | None


def validate(document: bytes, policy: ValidationPolicy, circumstances: Circumstances) -> Report:
    """A report on everything that is signed in the document.

    Pure: nothing is fetched, and what the document's store lacks can be handed in.
    """
    return validate_with_chains(document, policy, circumstances)[0]


def validate_with_chains(
    document: bytes, policy: ValidationPolicy, circumstances: Circumstances
) -> tuple[Report, tuple[tuple[bytes, ...], ...]]:
    """The same with the chains, DER, of all that lead to an anchor by their names: about which one may ask further."""
    reader, found = None, None
    try:
        reader = reading.open_pdf(document)
        found = _Validation(reader, policy, circumstances)
        signatures, timestamps = asyncio.run(found.everything())
    except DocumentNotReadable as error:
        signatures, timestamps = (), ()
        verdict = Verdict("TOTAL_FAILED", _MALFORMED, str(error))
    except FAULTS as error:
        # Parts are parsed where they are first looked at.
        log.info("a document cannot be read", exc_info=error)
        signatures, timestamps = (), ()
        verdict = Verdict("TOTAL_FAILED", _MALFORMED, "the document is damaged")
    else:
        verdict = overall((*(each.verdict for each in signatures), *(each.verdict for each in timestamps)))
    report = Report(
        verdict=verdict,
        at=circumstances.at,
        octets=len(document),
        sha256=hashlib.sha256(document).hexdigest(),
        signatures=signatures,
        timestamps=timestamps,
        pages=None if reader is None else pages_of(reader),
    )
    return report, () if found is None else tuple(found.chains)


class _Validation:
    """One document's, with what is found out on the way."""

    def __init__(self, reader: Any, policy: ValidationPolicy, circumstances: Circumstances) -> None:
        self._reader = reader
        self._policy = policy
        self._embedded = reading.embedded_in(reader)
        try:
            stored = knowledge.stored(reader)
        except FAULTS as error:
            raise DocumentNotReadable("the document security store cannot be read") from error
        self._known = Knowledge(stored, circumstances.outside, circumstances.at)
        self.chains: dict[tuple[bytes, ...], None] = {}
        """As a set that keeps its order."""
        self._archived: list[tuple[int, datetime, ValidationData]] = []

    async def everything(self) -> tuple[tuple[SignatureReport, ...], tuple[TimestampReport, ...]]:
        stamps = [await self._document_stamp(each) for each in reversed(self._embedded) if each.stamps]
        signatures = [await self._signature(each) for each in self._embedded if not each.stamps]
        return tuple(signatures), tuple(reversed(stamps))

    async def _document_stamp(self, each: Embedded) -> TimestampReport:
        if each.signature is None:
            return self._unread_stamp(each)
        try:
            judged = await self._judged_stamp(each.signed, each.imprint)
            (report, _) = self._stamp(each.signed, judged, "document", each)
            if report.verdict.indication == "TOTAL_PASSED":
                self._prove(each, report.time)
        except FAULTS as error:
            log.info("a time-stamp cannot be read", exc_info=error)
            return self._unread_stamp(each)
        return report

    def _keep(self, chain: Chain) -> None:
        if chain:
            self.chains[tuple(each.dump() for each in chain)] = None

    def _unread_stamp(self, each: Embedded) -> TimestampReport:
        verdict = Verdict("TOTAL_FAILED", _MALFORMED, each.trouble or "the time-stamp cannot be read")
        return TimestampReport("document", verdict, self._known.at, "", "", field=printable(each.name))

    async def _judged_stamp(self, signed: cms.SignedData, imprint: Any) -> Judged | None:
        try:
            return await judge_timestamp(signed, imprint, self._policy, self._known)
        except FAULTS as error:
            log.info("a time-stamp cannot be validated", exc_info=error)
            return None

    def _stamp(self, signed: cms.SignedData, judged: Judged | None, kind: Any, each: Embedded | None) -> Stamp:
        verdict = Verdict("TOTAL_FAILED", _MALFORMED, "the time-stamp cannot be read")
        chain: Chain = ()
        if judged is not None:
            verdict, chain = judged.verdict(), judged.chain
            self._keep(chain)
        if each is not None and each.trouble is not None:
            verdict = verdict.worse(Verdict("TOTAL_FAILED", _MALFORMED, each.trouble))
        info = signed["encap_content_info"]["content"].parsed
        anchors = self._policy.timestamp_anchors or self._policy.anchors
        own = chain or leaf_of(signed)
        report = TimestampReport(
            kind=kind,
            verdict=verdict,
            time=info["gen_time"].native,
            policy=info["policy"].dotted,
            authority=certificates.common_name(own[0]) if own else "",
            chain=certificates.reported(own, anchors),
            field=None if each is None else printable(each.name),
            covers_whole_file=covers_whole(each),
        )
        return report, chain

    def _prove(self, stamp: Embedded, at: datetime) -> None:
        """What the revisions up to a valid time-stamp hold existed when it was made."""
        stored = knowledge.stored(self._reader, stamp.revision)
        self._archived.append((stamp.revision, at, stored))
        self._known.prove(knowledge.things(stored), at)
        for each in self._embedded:
            if each.signature is not None and each.revision < stamp.revision:
                self._known.prove(stamped_parts(each), at)

    async def _signature(self, each: Embedded) -> SignatureReport:
        unread = Verdict("TOTAL_FAILED", _MALFORMED, each.trouble or "the signature cannot be read")
        if each.signature is None:
            return SignatureReport(printable(each.name), form_of(each), unread)
        try:
            return await self._judged(each)
        except FAULTS as error:
            log.info("a signature cannot be validated", exc_info=error)
            return SignatureReport(printable(each.name), form_of(each), unread, modifications=each.modifications)

    async def _judged(self, each: Embedded) -> SignatureReport:
        stamps = [
            self._stamp(signed, await self._judged_stamp(signed, message_imprint_checker(each.signature.signer_info)),
                        "signature", None)
            for signed in extract_tst_data_iter(each.signature.signer_info, signed=False)
        ]  # fmt: skip
        proven = self._proven(each, stamps)
        digest = each.imprint(each.signature.external_md_algorithm)
        judged = await judge_signature(each.signed, digest, self._policy, self._known, proven)
        verdict = self._with_form(judged.verdict(), each, stamps, proven)
        self._keep(judged.chain)
        chain = judged.chain or leaf_of(each.signed)
        baseline = levels.is_baseline(each.subfilter, each.signature.signer_info["signed_attrs"])
        passed = [stamp for stamp in stamps if stamp[0].verdict.indication == "TOTAL_PASSED"]
        level = levels.level_of(
            levels.Found(
                baseline=baseline and judged.status is not None and verdict.indication != "TOTAL_FAILED",
                proven=proven,
                chains=(judged.chain, *(stamp[1] for stamp in passed)),
                stored=self._known.document,
                archived=tuple(stored for revision, _, stored in self._archived if revision > each.revision),
            )
        )
        return self._reported(each, _Outcome(verdict, level, chain, stamps, proven))

    def _proven(self, each: Embedded, stamps: list[Stamp]) -> datetime | None:
        """The earliest valid time-stamp's time over the signature's value or over the file with it."""
        times = [report.time for report, _ in stamps if report.verdict.indication == "TOTAL_PASSED"]
        self._known.prove((each.value,), min(times, default=self._known.at))
        times += [at for revision, at, _ in self._archived if revision > each.revision]
        return min(times, default=None)

    def _with_form(self, verdict: Verdict, each: Embedded, stamps: list[Stamp], proven: datetime | None) -> Verdict:
        """What pyHanko's building blocks do not look at."""
        if each.trouble is not None:
            verdict = verdict.worse(Verdict("TOTAL_FAILED", _MALFORMED, each.trouble))
        attributes = each.signature.signer_info["signed_attrs"]
        if each.subfilter == "/ETSI.CAdES.detached" and not levels.is_baseline(each.subfilter, attributes):
            text = "a baseline signature has one signing-certificate attribute, which names one certificate"
            verdict = verdict.worse(Verdict("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE", text))
        own = [report.time for report, _ in stamps if report.verdict.indication == "TOTAL_PASSED"]
        later = [at for revision, at, _ in self._archived if revision > each.revision]
        if own and later and min(later) < min(own):
            text = "the document was time-stamped before the signature in it"
            verdict = verdict.worse(Verdict("INDETERMINATE", "TIMESTAMP_ORDER_FAILURE", text))
        if proven is not None and proven > self._known.at + CLOCKS_DIFFER:
            text = "the signature was time-stamped after the time of validation"
            verdict = verdict.worse(Verdict("INDETERMINATE", "TIMESTAMP_ORDER_FAILURE", text))
        for report, _ in stamps:
            # A time-stamp that does not hold is said, and lowers the level; one that is forged is not passed over.
            if report.verdict.indication == "TOTAL_FAILED":
                verdict = verdict.worse(Verdict("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE", "a time-stamp is invalid"))
        return verdict

    def _reported(self, each: Embedded, outcome: _Outcome) -> SignatureReport:
        info, dictionary, chain = each.signature.signer_info, each.signature.sig_object, outcome.chain
        return SignatureReport(
            field=printable(each.name),
            format=form_of(each),
            verdict=outcome.verdict,
            level=outcome.level,
            signer=certificates.common_name(chain[0]) if chain else None,
            claimed_time=each.signature.self_reported_timestamp,
            proven_time=outcome.proven,
            digest_algorithm=each.signature.md_algorithm,
            signature_algorithm=algorithm_of(info["signature_algorithm"], chain),
            reason=stated(dictionary, "/Reason"),
            location=stated(dictionary, "/Location"),
            modifications=each.modifications,
            qualified=certificates.qualified(chain[0]) if chain else None,
            chain=certificates.reported(chain, self._policy.anchors),
            timestamps=tuple(report for report, _ in outcome.stamps),
            revocation=tuple(self._revocation((chain, *(stamp[1] for stamp in outcome.stamps)))),
        )

    def _revocation(self, chains: tuple[Chain, ...]) -> Iterator[RevocationReport]:
        seen = set()
        for chain in chains:
            for certificate, issuer in pairwise(chain):
                if certificate.sha256 in seen:
                    continue
                seen.add(certificate.sha256)
                yield from statuses(certificate, issuer, self._known.document, "document")
                yield from statuses(certificate, issuer, self._known.outside, "outside")
