"""Requirements, evidence and times in words for a person.  The words are part of what tests of a policy compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from idp.policy.evidence import CATEGORIES, SELF, Evidence

if TYPE_CHECKING:
    from idp.policy.model import EvidenceSet, Level, Requirement, Rule, UpstreamEvidence

FACTOR_WORDS: Final[Mapping[str, str]] = {
    "password": "password",
    "sms_otp": "SMS code",
    "email_otp": "e-mail code",
    "totp": "authenticator app code",
    "hotp": "hardware token code",
    "recovery_code": "recovery code",
    "certificate": "certificate",
    "passkey": "passkey",
    "mobile_id": "Mobile ID",
    "upstream": "login at another identity provider",
}

_CATEGORY_WORDS: Final[Mapping[str, str]] = {
    "knowledge": "something known",
    "possession": "something held",
    "inherence": "a biometric trait",
}

_FLAG_WORDS: Final[Mapping[str, str]] = {
    "user_verified": "user verification",
    "backup_eligible": "a copyable key",
    "backed_up": "a copied key",
    "attested": "attestation",
    "restricted": "a restricted channel",
    "phishing_resistant": "phishing resistance",
    "transaction_bound": "a binding to its transaction",
}

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: int) -> str:
    """Seconds in the largest unit that expresses them exactly."""
    for size, unit in _UNITS:
        if seconds % size == 0 and seconds:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def count(number: int, noun: str) -> str:
    """``1 rule``, ``2 rules``: the noun, or the words that begin with it, in its number."""
    first, blank, rest = noun.partition(" ")
    return f"{number} {first}{'' if number == 1 else 's'}{blank}{rest}"


def listed(words: Iterable[str], last: str) -> str:
    """``a, b and c``, with ``last`` before the last."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def evidence(item: Evidence) -> str:
    """What was used, when and, if it was not here, where."""
    place = "" if item.issuer == SELF else f" at {item.issuer}"
    words = "login" if place and item.factor == "upstream" else FACTOR_WORDS[item.factor]
    return f"{words}{place} of {item.at:%Y-%m-%d %H:%M:%SZ}"


def requirement(item: Requirement) -> str:
    """What one piece of evidence must be."""
    factors = listed((words for factor, words in FACTOR_WORDS.items() if factor in item.factors), "or")
    categories = listed((_CATEGORY_WORDS[name] for name in CATEGORIES if name in item.categories), "or")
    parts = [f"{factors} as {categories}" if factors and categories else factors or categories]
    if item.flags:
        parts.append(f"with {_flags(item.flags, 'and')}")
    if item.without:
        parts.append(f"without {_flags(item.without, 'or')}")
    if item.issuers != {SELF}:
        parts.append(f"from {listed(sorted(item.issuers), 'or')}")
    if item.channels:
        parts.append(f"by way of {listed(sorted(item.channels), 'or')}")
    if item.attestations:
        parts.append(f"of make {listed(sorted(item.attestations), 'or')}")
    if item.per_transaction:
        parts.append("made for this transaction")
    if item.max_age is not None:
        parts.append(f"not older than {duration(item.max_age)}")
    return " ".join(parts)


def upstream(item: UpstreamEvidence) -> str:
    """What a login elsewhere counts as."""
    words = _CATEGORY_WORDS[item.category]
    if item.factor != "upstream":
        words = f"{FACTOR_WORDS[item.factor]} as {words}"
    return f"{words} with {_flags(item.flags, 'and')}" if item.flags else words


def _flags(flags: frozenset[str], last: str) -> str:
    return listed((words for flag, words in _FLAG_WORDS.items() if flag in flags), last)


def alternative(item: EvidenceSet) -> str:
    """All that a set asks for."""
    words = listed((requirement(part) for part in item.all_of), "and")
    if item.different_categories > 1:
        words += f", of {item.different_categories} different categories"
    return words


def level(item: Level) -> str:
    """A level's name with its title."""
    return f"'{item.name}'" + (f" ({item.title})" if item.title else "")


def rule(item: Rule, levels: Iterable[Level]) -> str:
    """What a rule asks for, and why its author says so."""
    asks = f"Rule '{item.id}' asks for level {listed((level(each) for each in levels), 'and')}"
    if item.evidence_set is not None:
        asks += f", with {alternative(item.evidence_set)}"
    return f"{asks}." + (f" {item.because}" if item.because else "")
