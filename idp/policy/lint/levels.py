"""What the alternatives of a level amount to, against what the level claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idp.policy.lint.frameworks import TWO_FACTORS, clauses, clauses_of, names
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.offers import Candidate, Columns, in_one_category
from idp.policy.lint.subject import Subject
from idp.policy.model import EvidenceSet


def one_category(subject: Subject) -> Iterator[Hit]:
    """L3: all requirements of an alternative can be met in one category, at a level that claims two factors."""
    for level, demands in subject.demanding(TWO_FACTORS):
        for alternative in level.any_of:
            if _single(alternative, subject.offers.columns(alternative), at_best=True):
                count = len(alternative.all_of)
                asks = "one factor" if count == 1 else f"{count} factors that may all be of one category"
                message = f"level '{level.name}' claims {names(demands)}, but here it asks for {asks}"
                yield Hit(alternative.where, message, clauses(demands))


def unverified_key(subject: Subject) -> Iterator[Hit]:
    """L4: what makes two factors of an alternative is that the authenticator verified its user, which it need not."""
    for level, demands in subject.demanding(TWO_FACTORS):
        for alternative in level.any_of:
            columns = subject.offers.columns(alternative)
            if _single(alternative, columns, at_best=False) and not _single(alternative, columns, at_best=True):
                message = (
                    f"level '{level.name}' claims {names(demands)}, but here it counts on user verification "
                    "that it does not ask for"
                )
                yield Hit(alternative.where, message, clauses(demands))


def _single(alternative: EvidenceSet, columns: Columns, *, at_best: bool) -> bool:
    """Whether one category is enough, where whoever may verify the user does so (at best) or need not."""

    def counts_once(item: Candidate) -> bool:
        verified = item.maybe_verified if at_best else item.surely_verified
        return not (verified and item.offer.category == "possession")

    # With different_categories, the evaluation itself refuses evidence of one category.
    return alternative.different_categories == 1 and in_one_category(columns, counts_once)


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
)
