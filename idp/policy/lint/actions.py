"""What an action asks for: signatures, changes of factors, administration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from idp.policy import wording
from idp.policy.evidence import CATEGORIES
from idp.policy.index import Quest
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.offers import of
from idp.policy.lint.scope import MAX_CASES, always, cases
from idp.policy.lint.subject import Subject
from idp.policy.model import Condition, CredentialCondition, Rule

SIGN: Final = "signature.activate"

MAX_COMPARISONS: Final = 1_000_000
"""Of conditions with one another; in a file with very many rules, conditions are not taken apart."""

MAX_FOUND: Final = 100
"""Findings of a rule that are held against one another; a file with more has other troubles."""

Asks = Callable[[Rule], frozenset[str]]
"""What a rule is sure to ask for."""


def unbound_signature(subject: Subject) -> Iterator[Hit]:
    """L21: a signature at SCAL2 can be had without a factor made for it."""

    def bound(rule: Rule) -> frozenset[str]:
        return frozenset({SIGN} if _per_transaction(subject, rule) else ())

    for rule in _too_low(_signing(subject), bound, 1):
        message = f"rule '{rule.id}' lets a key at SCAL2 sign without a factor that was used for this very signature"
        yield Hit(rule.where, message)


def one_factor_signature(subject: Subject) -> Iterator[Hit]:
    """L29: a signature at SCAL2 can be had with factors of one category."""
    for rule in _too_low(_signing(subject), partial(_categories, subject), 2):
        message = f"rule '{rule.id}' lets a key at SCAL2 sign with factors of one category"
        yield Hit(rule.where, message)


def one_factor_change(subject: Subject) -> Iterator[Hit]:
    """L30: factors can be changed, or the service administered, with factors of one category."""
    policy = subject.policy
    if all(subject.one_category_is_enough(way) for level in policy.levels for way in subject.alternatives(level)):
        return  # there is nothing stronger to be had
    named = {action for rule in policy.rules for action in rule.actions if action.startswith("admin.")}
    found: dict[str, list[str]] = {}
    for action in ("account.enrol_factor", "account.reset_factor", *sorted(named)):
        rules = tuple(policy.rules_about(action.removesuffix("*")))
        for rule in _too_low(rules, partial(_categories, subject), 2):
            found.setdefault(rule.id, []).append(f"'{action}'")
    for rule in policy.rules:
        if rule.id in found:
            what = wording.listed(found[rule.id], "and")
            yield Hit(rule.where, f"rule '{rule.id}' allows {what} with factors of one category")


def _signing(subject: Subject) -> tuple[Rule, ...]:
    """The rules about signatures, narrowed to keys at SCAL2."""
    return tuple(
        replace(rule, when=replace(rule.when, credential=_scal2(rule.when.credential)))
        for rule in subject.policy.rules_about(SIGN)
        if rule.when.credential is None or "2" in (rule.when.credential.scal or "2")
    )


def _scal2(credential: CredentialCondition | None) -> CredentialCondition:
    return replace(credential or CredentialCondition(), scal=frozenset({"2"}))


def _too_low(rules: tuple[Rule, ...], asks: Asks, least: int) -> Iterator[Rule]:
    """Each rule that may apply with no others but such that all together ask for less than so many different things; of
    a rule and a narrower one, only the wider."""
    asked = {rule.id: asks(rule) for rule in rules}
    asking = tuple(rule for rule in rules if asked[rule.id])
    most = min(MAX_CASES, MAX_COMPARISONS // max(1, len(rules) ** 2))

    def enough(given: Condition) -> bool:
        found: set[str] = set()
        for rule in asking:
            if always(rule.when, given):
                found |= asked[rule.id]
                if len(found) >= least:
                    return True
        return False

    found = [rule for rule in rules if not all(map(enough, cases(rule.when, most)))]
    if len(found) > MAX_FOUND:
        yield from found
        return
    for index, rule in enumerate(found):
        if not any(
            always(other.when, rule.when) and (place < index or not always(rule.when, other.when))
            for place, other in enumerate(found)
            if place != index
        ):
            yield rule


def _per_transaction(subject: Subject, rule: Rule) -> bool:
    if any(need.per_transaction for need in rule.evidence):
        return True
    levels = (subject.policy.by_name[name] for name in rule.require)
    return any(all(map(_made_for_it, subject.ways(level))) for level in levels)


def _made_for_it(way: Quest) -> bool:
    return any(need.per_transaction for need in way.needed.all_of)


def _categories(subject: Subject, rule: Rule) -> frozenset[str]:
    """The categories that meeting the rule is sure to take; all of them where one is not enough."""
    sure: set[str] = set()
    for name in rule.require:
        ways = tuple(subject.ways(subject.policy.by_name[name]))
        if not any(map(subject.one_category_is_enough, ways)):
            return frozenset(CATEGORIES)
        sure |= _always_there(subject, ways)
    quest = subject.policy.rule_quests.get(rule.id)
    if quest is not None:
        if not subject.one_category_is_enough(quest):
            return frozenset(CATEGORIES)
        sure |= _always_there(subject, (quest,))
    return frozenset(sure)


def _always_there(subject: Subject, ways: Iterable[Quest]) -> set[str]:
    """Categories without which none of the ways can be met."""
    found: set[str] = set(CATEGORIES)
    for way in ways:
        found &= {name for name in found if subject.needs(way, of({name}))}
    return found


_SCAL2: Final = "EN 419 241-1:2018, SRA_SAP.1.1 (SCAL2)"

RULES: Final = (
    LintRule(
        id="L21",
        title="A signature without a factor made for it",
        why="At SCAL2 the signer authorises these data. A session that is still open, or a code typed for something "
        "else, authorises nothing in particular.",
        clauses=(_SCAL2, "(EU) No 910/2014, article 26(c)", "CSC API 2.0.0.2, 8"),
        severity="error",
        advice="write under 'evidence' a requirement with 'per_transaction: true', for example category: possession",
        check=unbound_signature,
    ),
    LintRule(
        id="L29",
        title="A signature with factors of one category",
        why="At SCAL2 the signer is authenticated by two factors of different categories; the signature activation "
        "module refuses less, whatever the policy says.",
        clauses=(_SCAL2,),
        severity="error",
        advice="require a level of two factors, or ask under 'evidence' for the category that the level lacks",
        check=one_factor_signature,
    ),
    LintRule(
        id="L30",
        title="One factor opens the way to the others",
        why="Whoever may add or reset a factor may have all that it leads to, and whoever administers may have "
        "everything. A stolen password should not be enough where two factors are to be had.",
        clauses=("NIST SP 800-63B-4, 4.1.2", "NIST SP 800-63B-3, 6.1.2", "(EU) 2015/1502, annex, 2.2.2"),
        severity="warning",
        advice="require a level of two factors",
        check=one_factor_change,
    ),
)
