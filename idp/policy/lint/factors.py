"""Factors that a framework does not allow, or allows under a condition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idp.policy.lint.frameworks import (
    NO_COPIES,
    NO_EMAIL,
    NO_SENT_CODES,
    RESTRICTED,
    TRANSFER,
    clauses,
    clauses_of,
)
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.offers import Candidate, Wanted
from idp.policy.lint.subject import Subject
from idp.policy.model import Level, Requirement


def email_at_aal2(subject: Subject) -> Iterator[Hit]:
    """L1: an e-mail code can meet a requirement of a level that claims AAL2 or more."""
    for level, demands in subject.demanding(NO_EMAIL):
        for need in _admitting(subject, level, lambda item: item.offer.factor == "email_otp"):
            how = "asks for" if "email_otp" in need.factors else "admits"
            message = f"{subject.claimed(level, demands)} and {how} a code sent by e-mail"
            yield Hit(need.where, message, clauses(demands))


def restricted_only(subject: Subject) -> Iterator[Hit]:
    """L2: a restricted authenticator counts and nothing unrestricted is offered, or nobody is told of the risk."""

    def unrestricted(item: Candidate) -> bool:
        return subject.offered(item) and not item.restricted

    untold: Hit | None = None
    limits = subject.policy.factors.get("sms_otp")
    for level, demands in subject.demanding(RESTRICTED):
        needs = list(_admitting(subject, level, lambda item: item.restricted))
        if not needs:
            continue
        if not any(subject.can_be_met(way, unrestricted) for way in subject.ways(level)):
            message = f"{subject.claimed(level, demands)} and admits SMS, and no other way to it does without"
            yield Hit(needs[0].where, message, clauses(demands))
        if untold is None and (limits is None or not limits.restricted_notice):
            message = f"{subject.claimed(level, demands)} and admits SMS, and the file does not say that "
            message += "people are told of the risk"
            advice = "tell people, and write 'restricted_notice: true' under factors, sms_otp"
            where = needs[0].where if limits is None else limits.where
            untold = Hit(where, message, clauses(demands), advice, "warning")
    if untold is not None:
        yield untold


def copyable_keys(subject: Subject) -> Iterator[Hit]:
    """L5: a key that may be copied can meet a requirement of a level at which none may."""
    for level, demands in subject.demanding(NO_COPIES):
        for need in _admitting(subject, level, lambda item: item.maybe_copyable):
            message = f"{subject.claimed(level, demands)} and admits a key that may be copied"
            yield Hit(need.where, message, clauses(demands))


def bare_approval(subject: Subject) -> Iterator[Hit]:
    """L6: a request is approved on a phone with nothing carried over from the browser."""
    limits = subject.policy.factors.get("mobile_id")
    transfer = None if limits is None else limits.transfer
    if transfer in {"number", "qr"}:
        return
    for level, demands in subject.demanding(TRANSFER):
        for need in _admitting(subject, level, lambda item: item.offer.kind == "mobile_id"):
            how = "with nothing carried over" if transfer == "none" else "and does not say what is carried over"
            message = f"{subject.claimed(level, demands)} and admits an approval on a phone, {how}"
            where = need.where if limits is None else limits.where
            yield Hit(where, message, clauses(demands))
            if limits is not None:
                return


def sent_codes(subject: Subject) -> Iterator[Hit]:
    """L33: a code by text message or e-mail can be all that is held, at the highest level of a framework."""

    def weak(item: Candidate) -> bool:
        return _is_sent(item) or item.offer.category != "possession"

    for level, demands in subject.demanding(NO_SENT_CODES):
        for alternative in subject.alternatives(level):
            if subject.can_include(alternative, _is_sent, weak):
                message = f"{subject.claimed(level, demands)}, but here a code that is sent can be all that is held"
                yield Hit(alternative.needed.where, message, clauses(demands))


def _is_sent(item: Candidate) -> bool:
    return item.restricted or item.offer.factor == "email_otp"


def _admitting(subject: Subject, level: Level, wanted: Wanted) -> Iterator[Requirement]:
    """The level's own requirements that something wanted can meet."""
    for alternative in subject.alternatives(level):
        for need, column in zip(alternative.needed.all_of, subject.columns(alternative), strict=True):
            if any(wanted(item) for item in column):
                yield need


RULES: Final = (
    LintRule(
        id="L1",
        title="A code sent by e-mail counts at AAL2 or above",
        why="A mailbox is opened from anywhere with a password; what is sent there proves possession of no device.",
        clauses=clauses_of(NO_EMAIL),
        severity="error",
        advice="name the factors that may be used and leave email_otp out, or drop the claim to NIST's level",
        check=email_at_aal2,
    ),
    LintRule(
        id="L2",
        title="SMS without an alternative or without a notice",
        why="Numbers are taken over and messages are read on the way. Whoever lets SMS count owes people another way "
        "and a warning.",
        clauses=(*clauses_of(RESTRICTED), "NIST SP 800-63B-3, 5.1.3.3", "NIST SP 800-63B-4, 3.1.3.3"),
        severity="error",
        advice="add an alternative without a restricted factor, such as totp or a passkey",
        check=restricted_only,
    ),
    LintRule(
        id="L5",
        title="A copyable key counts where no key may exist twice",
        why="A key that is synchronised between devices is in other hands as well, and its holder cannot tell.",
        clauses=clauses_of(NO_COPIES),
        severity="error",
        advice="write 'without: backup_eligible' in the requirement",
        check=copyable_keys,
    ),
    LintRule(
        id="L6",
        title="An approval on a phone that carries nothing over",
        why="People approve what they did not start when asked often enough. A number or a picture that is carried "
        "over ties the approval to the browser in front of them.",
        clauses=clauses_of(TRANSFER),
        severity="error",
        advice="write 'transfer: number' or 'transfer: qr' under factors, mobile_id",
        check=bare_approval,
    ),
    LintRule(
        id="L33",
        title="A code that is sent counts at the highest level",
        why="Whoever takes over the number or the mailbox has the code, and nobody notices: that does not withstand "
        "attackers of high potential.",
        clauses=clauses_of(NO_SENT_CODES),
        severity="error",
        advice="name the factors that may be used and leave sms_otp and email_otp out",
        check=sent_codes,
    ),
)
