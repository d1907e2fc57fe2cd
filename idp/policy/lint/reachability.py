"""What cannot be reached, and what is written without effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final

from idp.policy import wording
from idp.policy.lint.assignment import assignable
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.offers import Candidate, anything
from idp.policy.lint.scope import within
from idp.policy.lint.subject import Subject
from idp.policy.model import Condition, EvidenceSet, Level, Requirement, Rule

MAX_COMPARED: Final = 32
"""Alternatives of a level that are held against one another; no level that people wrote has as many."""

_WITHOUT_CREDENTIAL: Final = ("sign_in", "credential.create", "account.", "admin.")
"""How actions of the product begin that are about no credential that exists."""


def unreachable_levels(subject: Subject) -> Iterator[Hit]:
    """L17: a level that nobody can reach, or that everybody needs and some cannot."""
    everybody = Counter(subject.deployment.people)
    asked = _asked_of_everybody(subject)
    for level in subject.policy.levels:
        message = _out_of_reach(subject, level, everybody, asked.get(level.name))
        if message is not None:
            yield Hit(level.where, message)


def _asked_of_everybody(subject: Subject) -> dict[str, Rule]:
    """Levels that a rule without condition asks for at sign-in."""
    rules = [rule for rule in subject.policy.rules_about("sign_in") if rule.when == Condition()]
    return {name: rule for rule in reversed(rules) for name in rule.require}


def _out_of_reach(subject: Subject, level: Level, people: Counter[frozenset[str]], rule: Rule | None) -> str | None:
    if not _reachable(subject, level, None):
        return f"level '{level.name}' cannot be reached: there are no factors that meet what it asks for"
    enabled = subject.deployment.enabled
    if not _reachable(subject, level, enabled):
        shown = wording.listed(sorted(enabled or ()), "and") or "none"
        return f"level '{level.name}' cannot be reached with the factors that are enabled ({shown})"
    count = people.total()
    short = sum(number for kinds, number in people.items() if not _reachable(subject, level, kinds))
    if count and short == count:
        return f"level '{level.name}' cannot be reached by anybody with the factors that they enrolled (0 of {count})"
    if short and rule is not None:
        return (
            f"level '{level.name}', which rule '{rule.id}' asks of everybody at sign-in, cannot be reached by "
            f"{short} of {count} people with the factors that they enrolled"
        )
    return None


def _reachable(subject: Subject, level: Level, kinds: frozenset[str] | None) -> bool:
    """Whether these kinds of factor can reach the level; None: whatever there is."""
    wanted = anything if kinds is None else partial(_is_of, kinds)
    return any(subject.can_be_met(way, wanted) for way in subject.ways(level))


def _is_of(kinds: frozenset[str], item: Candidate) -> bool:
    return item.offer.kind in kinds


def idle_rules(subject: Subject) -> Iterator[Hit]:
    """L31: a rule about a credential for actions that are about none."""
    for rule in subject.policy.rules:
        if rule.when.credential is not None and all(action.startswith(_WITHOUT_CREDENTIAL) for action in rule.actions):
            message = f"rule '{rule.id}' never applies: it is about a credential, and its actions are about none"
            yield Hit(rule.where, message)


def idle_alternatives(subject: Subject) -> Iterator[Hit]:
    """L32: an alternative that asks for all that another one asks for, and perhaps for more."""
    for level in subject.policy.levels:
        compared = level.any_of[:MAX_COMPARED]
        for index, alternative in enumerate(compared):
            for other_index, other in enumerate(compared):
                if (
                    index != other_index
                    and _asks_as_much(alternative, other)
                    and not (other_index > index and _asks_as_much(other, alternative))
                ):
                    message = (
                        f"this alternative of level '{level.name}' changes nothing: whoever meets it meets the one in "
                        f"line {other.where.line} as well"
                    )
                    yield Hit(alternative.where, message)
                    break


def _asks_as_much(strong: EvidenceSet, weak: EvidenceSet) -> bool:
    """Whether evidence that meets the one is sure to meet the other."""
    if weak.different_categories > 1 and (
        len(strong.all_of) != len(weak.all_of) or weak.different_categories > strong.different_categories
    ):
        return False
    return assignable(
        [[index for index, need in enumerate(strong.all_of) if _narrower(need, wanted)] for wanted in weak.all_of]
    )


def _narrower(strong: Requirement, weak: Requirement) -> bool:
    return (
        within(strong.factors, weak.factors)
        and within(strong.categories, weak.categories)
        and within(strong.channels, weak.channels)
        and within(strong.attestations, weak.attestations)
        and strong.issuers <= weak.issuers
        and weak.flags <= strong.flags
        and weak.without <= strong.without
        and (strong.per_transaction or not weak.per_transaction)
        and (weak.max_age is None or (strong.max_age is not None and strong.max_age <= weak.max_age))
    )


RULES: Final = (
    LintRule(
        id="L17",
        title="A level that cannot be reached",
        why="Whoever needs it is refused, and learns of it when it matters.",
        clauses=("policy language 1, How a decision is made (step-up)", "NIST SP 800-63B-4, 3.2.9"),
        severity="warning",
        advice="enable or enrol a factor that leads to it, or add an alternative",
        check=unreachable_levels,
    ),
    LintRule(
        id="L31",
        title="A rule that never applies",
        why="Its author believes that something is protected which is not.",
        clauses=("policy language 1, Rules",),
        severity="warning",
        advice="name an action that is about a credential, or take the condition out",
        check=idle_rules,
    ),
    LintRule(
        id="L32",
        title="An alternative that changes nothing",
        why="A stronger alternative beside a weaker one reads as if it were asked for. The weaker is enough.",
        clauses=("policy language 1, Alternatives",),
        severity="warning",
        advice="take it out, or take out the weaker one if this is what was meant",
        check=idle_alternatives,
    ),
)
