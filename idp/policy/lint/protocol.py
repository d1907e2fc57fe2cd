"""What is said to relying parties: ``acr`` values and SAML class references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from idp.policy import wording
from idp.policy.evaluate import join
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.scope import always
from idp.policy.lint.subject import Subject
from idp.policy.model import EIDAS, Claim, Condition, Level, Policy, Rule

_SHOWN: Final = 3
"""Names in a message; the others are counted."""


def inexpressible_floor(subject: Subject) -> Iterator[Hit]:
    """L18: what the rules make of a sign-in cannot be told to a relying party in the values that it accepts."""
    found: dict[tuple[str, tuple[str, ...]], tuple[Rule, list[str]]] = {}
    for client, allowed in sorted(subject.deployment.clients.items()):
        for rule, floor in _floors(subject.policy, client):
            levels = (subject.policy.by_name[name] for name in floor)
            if allowed and all(allowed.isdisjoint((*level.acr, *level.saml)) for level in levels):
                found.setdefault((rule.id, floor), (rule, []))[1].append(client)
    for (_, floor), (rule, clients) in found.items():
        yield Hit(rule.where, _deaf(rule, floor, clients))


def _floors(policy: Policy, client: str) -> Iterator[tuple[Rule, tuple[str, ...]]]:
    """Each floor of a sign-in there, with the rules that make it so."""
    given = Condition(clients=frozenset({client}))
    rules = [rule for rule in policy.rules_about("sign_in") if not rule.when.clients or client in rule.when.clients]
    certain = [rule for rule in rules if always(rule.when, given)]
    base = join(policy, (name for rule in certain for name in rule.require))
    for rule in rules:
        floor = join(policy, (*base, *rule.require))
        makes_it = not set(base).isdisjoint(rule.require) if rule in certain else floor != base
        if makes_it:
            yield rule, floor


def _deaf(rule: Rule, floor: tuple[str, ...], clients: list[str]) -> str:
    shown = [f"'{client}'" for client in clients[:_SHOWN]]
    if len(clients) > _SHOWN:
        shown.append(f"{len(clients) - _SHOWN} more")
    who = wording.listed(shown, "and")
    what = wording.listed((f"'{name}'" for name in floor), "and")
    return f"rule '{rule.id}' asks for level {what}, which none of the values says that {who} may be given"


@dataclass(frozen=True, slots=True)
class Promise:
    """What a well-known value says beyond the policy that emits it."""

    clause: str
    claim: Claim | None = None
    """The level must claim this."""
    factors: frozenset[str] = frozenset()
    """Each way to the level must have one of these."""
    two_factors: bool = False


_BSI: Final = "BSI TR-03107-1"
_SAML: Final = "SAML 2.0 Authentication Context, 3.4"
_CLASSES: Final = "urn:oasis:names:tc:SAML:2.0:ac:classes:"

PROMISES: Final[Mapping[str, Promise]] = {
    "https://refeds.org/profile/mfa": Promise("REFEDS MFA Profile", two_factors=True),
    "http://bsi.bund.de/eID/LoA/normal": Promise(_BSI, Claim(EIDAS, "low")),
    "http://bsi.bund.de/eID/LoA/substantiell": Promise(_BSI, Claim(EIDAS, "substantial")),
    "http://bsi.bund.de/eID/LoA/hoch": Promise(_BSI, Claim(EIDAS, "high")),
    f"{_CLASSES}MobileTwoFactorUnregistered": Promise(_SAML, two_factors=True),
    f"{_CLASSES}MobileTwoFactorContract": Promise(_SAML, two_factors=True),
    f"{_CLASSES}TimeSyncToken": Promise(_SAML, factors=frozenset({"totp"})),
    f"{_CLASSES}SmartcardPKI": Promise(_SAML, factors=frozenset({"certificate"}), two_factors=True),
    f"{_CLASSES}X509": Promise(_SAML, factors=frozenset({"certificate"})),
    f"{_CLASSES}TLSClient": Promise(_SAML, factors=frozenset({"certificate"})),
}
"""By value.  Those of eIDAS itself are the loader's (L12)."""


def broken_promises(subject: Subject) -> Iterator[Hit]:
    """L26: a well-known value says more than the level that it expresses."""
    for level in subject.policy.levels:
        for uri in (*level.acr, *level.saml):
            promise = PROMISES.get(uri)
            lacking = None if promise is None else _lacking(subject, level, promise)
            if promise is not None and lacking is not None:
                message = f"level '{level.name}' is expressed by '{uri}', but {lacking}"
                yield Hit(level.where, message, promise.clause)


def _lacking(subject: Subject, level: Level, promise: Promise) -> str | None:
    if promise.claim is not None and promise.claim not in subject.claims(level):
        return f"does not claim {promise.claim}"
    if promise.two_factors and any(map(subject.one_category_is_enough, subject.ways(level))):
        return "can be reached with factors of one category"
    if promise.factors and not all(
        subject.needs(way, lambda item: item.offer.factor in promise.factors) for way in subject.ways(level)
    ):
        return f"can be reached without the factor {min(promise.factors)}"
    return None


RULES: Final = (
    LintRule(
        id="L18",
        title="A level that a relying party cannot be told",
        why="The relying party accepts certain values only. If none of them says what the policy asks for, each "
        "sign-in there ends in an error.",
        clauses=("OIDC Core 2 (acr)", "OIDC Core 3.1.2.1", "SAML 2.0 Core, 3.3.2.2.1"),
        severity="error",
        advice="add a value of the level to those of the relying party, or ask for a level that it accepts",
        check=inexpressible_floor,
    ),
    LintRule(
        id="L26",
        title="A well-known value that says more than is true",
        why="Whoever reads it relies on what its authors wrote, not on this policy.",
        clauses=tuple(dict.fromkeys(promise.clause for promise in PROMISES.values())),
        severity="error",
        advice="take the value away from this level, or ask for what it says",
        check=broken_promises,
    ),
)
