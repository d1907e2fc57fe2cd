"""Factors that a framework does not allow, or allows under a condition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idp.policy.lint.frameworks import NO_COPIES, NO_EMAIL, clauses, clauses_of, names
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.subject import Subject


def email_at_aal2(subject: Subject) -> Iterator[Hit]:
    """L1: an e-mail code can meet a requirement of a level that claims AAL2 or more."""
    for level, demands in subject.demanding(NO_EMAIL):
        for _, need in subject.requirements(level):
            if any(item.offer.factor == "email_otp" for item in subject.offers.candidates(need)):
                how = "asks for" if "email_otp" in need.factors else "admits"
                message = f"level '{level.name}' claims {names(demands)} and {how} a code sent by e-mail"
                yield Hit(need.where, message, clauses(demands))


def copyable_keys(subject: Subject) -> Iterator[Hit]:
    """L5: a key that may be copied can meet a requirement of a level at which none may."""
    for level, demands in subject.demanding(NO_COPIES):
        for _, need in subject.requirements(level):
            if any(item.maybe_copyable for item in subject.offers.candidates(need)):
                message = f"level '{level.name}' claims {names(demands)} and admits a key that may be copied"
                yield Hit(need.where, message, clauses(demands))


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
        id="L5",
        title="A copyable key counts where no key may exist twice",
        why="A key that is synchronised between devices is in other hands as well, and its holder cannot tell.",
        clauses=clauses_of(NO_COPIES),
        severity="error",
        advice="write 'without: backup_eligible' in the requirement",
        check=copyable_keys,
    ),
)
