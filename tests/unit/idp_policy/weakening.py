"""A policy made weaker by one step, in every way that its author could slip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from idp.policy.evidence import FACTOR_CATEGORIES
from idp.policy.model import PROOFING, Claim, Condition, EvidenceSet, Level, Policy, Requirement, Rule

Weaker = tuple[str, Policy]
"""What was done to it, and what it is then."""

WEAK_FACTORS = ("email_otp", "sms_otp", "password", "recovery_code")
"""What a list of factors may come to have besides."""


def weakenings(policy: Policy) -> Iterator[Weaker]:
    """Every one of them, by one step each.

    Limits of factors are left out: no decision shows them.
    """
    for index, level in enumerate(policy.levels):
        for what, weaker in _levels(level, policy):
            levels = (*policy.levels[:index], weaker, *policy.levels[index + 1 :])
            yield f"level {level.name}: {what}", replace(policy, levels=levels)
    for lower, upper in pairwise(policy.levels):
        swapped = {lower.name: replace(lower, acr=upper.acr), upper.name: replace(upper, acr=lower.acr)}
        levels = tuple(swapped.get(level.name, level) for level in policy.levels)
        yield f"levels {lower.name} and {upper.name}: acr swapped", replace(policy, levels=levels)
    for index, rule in enumerate(policy.rules):
        before, after = policy.rules[:index], policy.rules[index + 1 :]
        for what, changed in _rules(rule, policy):
            yield f"rule {rule.id}: {what}", replace(policy, rules=(*before, changed, *after))
        if any(other is not rule for action in rule.actions for other in policy.rules_about(action)):
            yield f"rule {rule.id}: left out", replace(policy, rules=(*before, *after))


def _levels(level: Level, policy: Policy) -> Iterator[tuple[str, Level]]:
    if level.freshness is not None:
        yield "no freshness", replace(level, freshness=None)
        yield "a second older", replace(level, freshness=level.freshness + 1)
    if level.proofing != "none":
        lower = PROOFING[PROOFING.index(level.proofing) - 1]
        yield f"proofing {lower}", replace(level, proofing=lower)
    if level.session_limit is not None:
        yield "no session_limit", replace(level, session_limit=None)
        yield "a second more of session", replace(level, session_limit=level.session_limit + 1)
    if level.idle_limit is not None:
        yield "no idle_limit", replace(level, idle_limit=None)
        yield "a second more idle", replace(level, idle_limit=level.idle_limit + 1)
    for claim in level.claims:
        names = policy.frameworks[claim.framework]
        if claim.level != names[-1]:
            higher = Claim(claim.framework, names[names.index(claim.level) + 1])
            claims = tuple(higher if item == claim else item for item in level.claims)
            yield f"claims {higher.framework}/{higher.level}", replace(level, claims=claims)
    for other in policy.levels:
        # The other way round would be a cycle, which the loader refuses.
        if not policy.implies(other.name, level.name) and not policy.implies(level.name, other.name):
            yield f"implies {other.name}", replace(level, implies=(*level.implies, other.name))
    for index, way in enumerate(level.any_of):
        for what, weaker in _sets(way):
            ways = (*level.any_of[:index], weaker, *level.any_of[index + 1 :])
            yield f"alternative {index + 1}, {what}", replace(level, any_of=ways)


def _sets(way: EvidenceSet) -> Iterator[tuple[str, EvidenceSet]]:
    if way.different_categories > 1 and _may_be_of_one_category(way):
        yield "of one category", replace(way, different_categories=1)
    for index, need in enumerate(way.all_of):
        before, after = way.all_of[:index], way.all_of[index + 1 :]
        if before or after:
            yield f"requirement {index + 1} left out", replace(way, all_of=(*before, *after), different_categories=1)
        for what, weaker in _requirements(need):
            if way.different_categories == 1 or _kinds(weaker) == _kinds(need):
                # A factor of a category that the other requirements have would not help to meet the set.
                yield f"requirement {index + 1} {what}", replace(way, all_of=(*before, weaker, *after))


def _may_be_of_one_category(way: EvidenceSet) -> bool:
    """Whether it is ``different_categories`` that keeps it from being met in one; otherwise the number only says what
    the factors say."""
    shared = set.intersection(*map(_kinds, way.all_of))
    return bool(shared) and not all("user_verified" in need.flags for need in way.all_of)


def _kinds(need: Requirement) -> set[str]:
    """Categories that can meet it."""
    return {FACTOR_CATEGORIES[factor] for factor in need.factors} or set(need.categories)


def _requirements(need: Requirement) -> Iterator[tuple[str, Requirement]]:
    for flag in sorted(need.flags):
        yield f"not {flag}", replace(need, flags=need.flags - {flag})
    for flag in sorted(need.without):
        yield f"with {flag}", replace(need, without=need.without - {flag})
    if need.per_transaction and "transaction_bound" not in need.flags:
        # What is bound to a transaction counts for no other one, whatever is asked for.
        yield "for any transaction", replace(need, per_transaction=False)
    if need.max_age is not None:
        yield "of any age", replace(need, max_age=None)
        yield "a second older", replace(need, max_age=need.max_age + 1)
    if need.channels:
        yield "by any channel", replace(need, channels=frozenset())
    if need.attestations:
        yield "of any make", replace(need, attestations=frozenset())
    if need.factors:
        for factor in WEAK_FACTORS:
            if factor not in need.factors and not (need.flags & {"phishing_resistant", "user_verified", "attested"}):
                yield f"or {factor}", replace(need, factors=need.factors | {factor})


def _asked_anyway(rule: Rule, level: str, policy: Policy) -> bool:
    """Whether rules without condition ask for the level whenever this rule does."""
    always = [other for other in policy.rules if other is not rule and other.when == Condition()]
    asking = {other.id for other in always if any(policy.implies(name, level) for name in other.require)}
    return all(any(other.id in asking for other in policy.rules_about(action)) for action in rule.actions)


def _rules(rule: Rule, policy: Policy) -> Iterator[tuple[str, Rule]]:
    for index, name in enumerate(rule.require):
        before, after = rule.require[:index], rule.require[index + 1 :]
        if before or after:
            yield f"{name} not required", replace(rule, require=(*before, *after))
        for lower in () if _asked_anyway(rule, name, policy) else sorted(policy.implied[name] - {name}):
            yield f"requires {lower} for {name}", replace(rule, require=(*before, lower, *after))
    if rule.when != Condition():
        yield "without condition", replace(rule, when=Condition())
    for index, need in enumerate(rule.evidence):
        before_, after_ = rule.evidence[:index], rule.evidence[index + 1 :]
        yield f"evidence {index + 1} left out", replace(rule, evidence=(*before_, *after_))
        for what, weaker in _requirements(need):
            yield f"evidence {index + 1} {what}", replace(rule, evidence=(*before_, weaker, *after_))
