"""Signed PDFs lifted to a higher level, and archives renewed (EN 319 142-1 clauses 5.4 and 6.3).

Only revisions are appended, so nobody's signature is touched; B-T is reached by a time-stamp over the document, which
table 1 of that clause takes as well as one in the signature.  A file is validated before, because what is broken is not
to be kept for long, and after, because a level that is claimed has to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, get_args

from asn1crypto import cms

from foundation.clock import Clock
from signing.ades.errors import EvidenceMissing, NotExtendable, NothingSigned
from signing.ades.long_term import Stamp, with_document_timestamp, with_validation_data
from signing.ades.validate.document import validate
from signing.ades.validate.policy import Circumstances, ValidationPolicy
from signing.ades.validate.reading import Embedded, embedded_in, open_pdf
from signing.ades.validate.report import Level, Report, SignatureReport
from signing.ades.validation_data import ValidationData, certificates_of

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""From the lowest up."""


@dataclass(frozen=True, slots=True)
class Means:
    """What lifting takes."""

    stamp: Stamp
    evidence: Callable[[Sequence[bytes], datetime | None], ValidationData]
    """Of a chain, the end entity's certificate first: its path and what is said of it, not before a time; raises
    :class:`EvidenceMissing`."""
    policy: ValidationPolicy
    clock: Clock


@dataclass(frozen=True, slots=True)
class Extended:
    """A file after it was lifted."""

    octets: bytes = field(repr=False)
    before: Level
    """The lowest of its signatures' levels."""
    after: Level
    changed: bool


def extended(pdf: bytes, wished: Level, means: Means, *, renew: bool = False) -> Extended:
    """The file with all its signatures at that level or above.

    :param renew: append what the level asks for although it is reached: a new time-stamp over an archive.
    :raises DocumentNotReadable: :raises DocumentNotAcceptable: no PDF, damaged, encrypted.
    :raises NothingSigned: it has no signature.
    :raises NotExtendable: a signature is not valid; or the level was not reached.
    :raises EvidenceMissing: what would validate a signature is not to be had.
    """
    known = _within_reach(pdf, means)
    before = _lowest(_validated(pdf, means, known))
    if not renew and LEVELS.index(before) >= LEVELS.index(wished):
        return Extended(pdf, before, before, changed=False)
    lifting = _Lifting(means, pdf, before, renew=renew)
    lifting.to(wished)
    after = _lowest(_validated(lifting.octets, means, known | lifting.told))
    if LEVELS.index(after) < LEVELS.index(wished):
        raise NotExtendable(f"the level that was reached is only {after}")
    return Extended(lifting.octets, before, after, changed=True)


class _Lifting:
    """One file on its way up."""

    def __init__(self, means: Means, pdf: bytes, before: Level, *, renew: bool) -> None:
        self._means = means
        self._before = LEVELS.index(before)
        self._renew = renew
        self.octets = pdf
        self.told = ValidationData()
        """What was said on the way: of the last time-stamp nothing has to be in the file before the next one comes."""

    def to(self, wished: Level) -> None:
        """Each level is the one before and something more."""
        if self._lacks("B-T"):
            self._stamp()
        if wished in {"B-LT", "B-LTA"} and (self._renew or self._lacks("B-LT")):
            found = self._fresh()
            self.octets = with_validation_data(self.octets, found)
            self.told |= found
        if wished == "B-LTA" and (self._renew or self._lacks("B-LTA")):
            self._stamp()

    def _lacks(self, level: Level) -> bool:
        return self._before < LEVELS.index(level)

    def _stamp(self) -> None:
        self.octets = with_document_timestamp(self.octets, self._means.stamp)
        self.told |= self._of_stamps(_embedded(self.octets))

    def _fresh(self) -> ValidationData:
        """What is said now: of the signers where it is not kept yet, and of whoever stamped."""
        embedded = _embedded(self.octets)
        found = self._of_stamps(embedded)
        if self._lacks("B-LT"):
            for each in (each for each in embedded if not each.stamps):
                for chain, since in _chains(each, embedded):
                    found |= self._means.evidence(chain, since)
        return found

    def _of_stamps(self, embedded: Sequence[Embedded]) -> ValidationData:
        """Of the last time-stamp over the document: whoever renewed has seen to those before it."""
        stamps = [each for each in embedded if each.stamps]
        return self._means.evidence(_chain(stamps[-1]), None) if stamps else ValidationData()


def _within_reach(pdf: bytes, means: Means) -> ValidationData:
    """What is said today of everybody who signed or stamped, as far as anything is: some will have expired."""
    found, embedded = ValidationData(), _embedded(pdf)
    for each in embedded:
        for chain, since in _chains(each, embedded):
            with suppress(EvidenceMissing):
                found |= means.evidence(chain, since)
    return found


def _embedded(pdf: bytes) -> tuple[Embedded, ...]:
    found = embedded_in(open_pdf(pdf))
    if not any(not each.stamps for each in found):
        raise NothingSigned("the document has no signature")
    for each in found:
        if each.signature is None or each.trouble is not None:
            raise NotExtendable(each.trouble or "a signature cannot be read")
    return found


def _validated(pdf: bytes, means: Means, known: ValidationData) -> Report:
    return validate(pdf, means.policy, Circumstances(means.clock.now(), known))


def _lowest(report: Report) -> Level:
    """:raises NotExtendable: a signature or a time-stamp is not valid."""
    verdicts = [each.verdict for each in report.signatures] + [each.verdict for each in report.timestamps]
    for verdict in verdicts:
        if verdict.indication != "TOTAL_PASSED":
            said = (verdict.indication, verdict.sub_indication, verdict.explanation)
            raise NotExtendable(", ".join(part for part in said if part is not None))
    return min((_level(each) for each in report.signatures), key=LEVELS.index)


def _level(signature: SignatureReport) -> Level:
    if signature.level is None:
        raise NotExtendable("a signature is not of the baseline profile")
    return signature.level


def _chains(each: Embedded, embedded: Iterable[Embedded]) -> Iterator[tuple[tuple[bytes, ...], datetime | None]]:
    """The chains in a signature or time-stamp: its maker's, with when it was stamped, and those of who stamped it."""
    tokens = [] if each.stamps else list(_tokens(each))
    later = [] if each.stamps else [stamp for stamp in embedded if stamp.stamps and stamp.revision > each.revision]
    # Whether these are right is the validation's to say.
    times = [_time(token["content"]) for token in tokens] + [_time(stamp.signed) for stamp in later]
    yield _chain(each), min(times, default=None)
    for token in tokens:
        yield certificates_of(token.dump()), None


def _chain(each: Embedded) -> tuple[bytes, ...]:
    return certificates_of(bytes(each.signature.pkcs7_content))


def _tokens(each: Embedded) -> Iterator[cms.ContentInfo]:
    """The time-stamps in a signature."""
    for attribute in each.signature.signer_info["unsigned_attrs"] or ():
        if attribute["type"].native == "signature_time_stamp_token":
            yield from attribute["values"]


def _time(stamp: cms.SignedData) -> datetime:
    at: datetime = stamp["encap_content_info"]["content"].parsed["gen_time"].native
    return at
