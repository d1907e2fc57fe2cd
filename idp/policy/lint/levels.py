"""What the alternatives of a level amount to, against what the level claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idp.policy.lint.frameworks import (
    ASK_HARDWARE,
    ASK_HELD,
    ASK_RESISTANT,
    OFFER_RESISTANT,
    PROOFED,
    TWO_FACTORS,
    X2012,
    X2020,
    clauses,
    clauses_of,
)
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.subject import Subject
from idp.policy.model import PROOFING, Claim


def one_category(subject: Subject) -> Iterator[Hit]:
    """L3: all requirements of an alternative can be met in one category, at a level that claims two factors."""
    for level, demands in subject.demanding(TWO_FACTORS):
        for alternative in subject.alternatives(level):
            if subject.one_category_is_enough(alternative, at_best=True):
                count = len(alternative.needed.all_of)
                asks = "one factor" if count == 1 else f"{count} factors that may all be of one category"
                message = f"{subject.claimed(level, demands)}, but here it asks for {asks}"
                yield Hit(alternative.needed.where, message, clauses(demands))


def unverified_key(subject: Subject) -> Iterator[Hit]:
    """L4: what makes two factors of an alternative is that the authenticator verified its user, which it need not."""
    for level, demands in subject.demanding(TWO_FACTORS):
        for alternative in subject.alternatives(level):
            if subject.one_category_is_enough(alternative) and not subject.one_category_is_enough(
                alternative, at_best=True
            ):
                message = (
                    f"{subject.claimed(level, demands)}, but here it counts on user verification "
                    "that it does not ask for"
                )
                yield Hit(alternative.needed.where, message, clauses(demands))


def no_resistant_way(subject: Subject) -> Iterator[Hit]:
    """L11: no way to an AAL2 of revision 4 is phishing-resistant."""
    for level, demands in subject.demanding(OFFER_RESISTANT):
        if not any(
            subject.can_include(way, lambda item: item.surely_resistant, subject.offered) for way in subject.ways(level)
        ):
            message = f"{subject.claimed(level, demands)} and offers no phishing-resistant way to it"
            yield Hit(level.where, message, clauses(demands))


def proofing_too_low(subject: Subject) -> Iterator[Hit]:
    """L13: people of the level need not have been identified as well as its claim says."""
    for level in subject.policy.levels:
        claims = subject.claims(level)
        short = [
            item
            for item in PROOFED
            if item.demand.claim in claims and PROOFING.index(level.proofing) < PROOFING.index(item.minimum)
        ]
        # The most that is asked for: a claim includes the weaker ones.
        for item in {item.demand.framework: item for item in short}.values():
            has = "asks for no proofing" if level.proofing == "none" else f"asks for proofing '{level.proofing}' only"
            message = f"level '{level.name}' claims {item.demand} and {has}"
            binding = item.binding or level.proofing == "none"
            advice = f"write 'proofing: {item.minimum}'"
            yield Hit(level.where, message, item.demand.clause, advice, "error" if binding else "warning")


def nothing_held(subject: Subject) -> Iterator[Hit]:
    """L22: an alternative can be met without anything held, at a level of NIST's that asks for it."""
    for level, demands in subject.demanding(ASK_HELD):
        for alternative in subject.alternatives(level):
            if subject.one_category_is_enough(alternative, at_best=True):
                continue  # L3
            if not subject.needs(alternative, lambda item: item.offer.category == "possession"):
                message = f"{subject.claimed(level, demands)}, but here nothing has to be held"
                yield Hit(alternative.needed.where, message, clauses(demands))


def phishable_at_aal3(subject: Subject) -> Iterator[Hit]:
    """L23: an alternative can be met without a phishing-resistant authenticator, at AAL3."""
    for level, demands in subject.demanding(ASK_RESISTANT):
        for alternative in subject.alternatives(level):
            if not subject.needs(alternative, lambda item: item.surely_resistant):
                message = f"{subject.claimed(level, demands)}, but here nothing has to resist phishing"
                yield Hit(alternative.needed.where, message, clauses(demands))


def unattested_hardware(subject: Subject) -> Iterator[Hit]:
    """L24: nothing shows that the key is in hardware, at a level that asks for it."""
    for level, demands in subject.demanding(ASK_HARDWARE):
        for alternative in subject.alternatives(level):
            if not subject.needs(alternative, lambda item: item.surely_attested):
                message = f"{subject.claimed(level, demands)}, but here no key has to be attested"
                yield Hit(alternative.needed.where, message, clauses(demands))


def editions_of_x1254(subject: Subject) -> Iterator[Hit]:
    """L25: one level claims levels of the same number in both editions of X.1254, which do not correspond."""
    for level in subject.policy.levels:
        for number in "23":
            if {Claim(X2012, f"loa{number}"), Claim(X2020, f"aal{number}")} <= set(level.claims):
                message = (
                    f"level '{level.name}' claims {X2012}/loa{number} and {X2020}/aal{number}; the old edition's "
                    f"counterpart of aal{number} is loa{int(number) + 1}"
                )
                yield Hit(level.where, message)


RULES: Final = (
    LintRule(
        id="L3",
        title="Factors of one category where two are claimed",
        why="Whoever finds out one thing that is known, or steals one thing that is held, has both factors.",
        clauses=clauses_of(TWO_FACTORS),
        severity="error",
        advice="ask for factors of two categories, and write 'different_categories: 2' beside 'all_of'",
        check=one_category,
    ),
    LintRule(
        id="L4",
        title="A key without user verification counted as two factors",
        why="Without a PIN or a biometric trait at the authenticator, whoever holds it can use it.",
        clauses=clauses_of(TWO_FACTORS),
        severity="error",
        advice="write 'flags: user_verified' in the requirement, or 'different_categories: 2' beside 'all_of'",
        check=unverified_key,
    ),
    LintRule(
        id="L11",
        title="AAL2 without a phishing-resistant way",
        why="A code can be typed into the wrong page. Revision 4 leaves people the choice of a way that cannot.",
        clauses=clauses_of(OFFER_RESISTANT),
        severity="error",
        advice="add an alternative with a passkey, or with a certificate and 'flags: phishing_resistant'",
        check=no_resistant_way,
    ),
    LintRule(
        id="L13",
        title="A level that says who somebody is, without proofing",
        why="The level stands for a person's identity as well as for their factors. Without proofing it says how well "
        "nobody in particular was authenticated.",
        clauses=clauses_of(tuple(item.demand for item in PROOFED)),
        severity="error",
        advice="write 'proofing' with the level that the framework asks for",
        check=proofing_too_low,
    ),
    LintRule(
        id="L22",
        title="Two factors of which none is held",
        why="NIST counts a biometric trait beside something held only: it is no secret.",
        clauses=clauses_of(ASK_HELD),
        severity="error",
        advice="add a requirement with 'category: possession' or with such a factor",
        check=nothing_held,
    ),
    LintRule(
        id="L23",
        title="AAL3 that can be phished",
        why="At AAL3 at least one authenticator proves a key to this very verifier, so that no relay gains anything.",
        clauses=clauses_of(ASK_RESISTANT),
        severity="error",
        advice="ask for a passkey, or write 'flags: phishing_resistant' in a requirement",
        check=phishable_at_aal3,
    ),
    LintRule(
        id="L24",
        title="Hardware that nobody vouches for",
        why="Whether a key is in tamper-resistant hardware shows only in the attestation of its make.",
        clauses=clauses_of(ASK_HARDWARE),
        severity="warning",
        advice="write 'flags: attested' or 'attestation: [...]' in the requirement",
        check=unattested_hardware,
    ),
    LintRule(
        id="L25",
        title="The same number in both editions of X.1254",
        why="The edition of 2012 has four levels and that of 2020 three: LoA3 corresponds to AAL2, LoA4 to AAL3.",
        clauses=("ITU-T X.1254 (09/2012), 6", "ITU-T X.1254 (09/2020)"),
        severity="warning",
        advice="claim the level of each edition that the evidence amounts to",
        check=editions_of_x1254,
    ),
)
