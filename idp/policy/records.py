"""What is kept of a decision: the complete facts that led to it, and what came out, as JSON values.

From a record the facts come back exactly, so that any policy can be asked about them (:mod:`idp.policy.replay`).  Of
the person's attributes only those are kept that a rule of the policy in force names; the others are nobody's business.
Times are whole seconds: evidence has no finer ones, and rules count minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from foundation.clock import epoch, from_epoch
from foundation.json_text import encoder
from idp.policy.errors import EvidenceInvalid, FactsInvalid, RecordInvalid
from idp.policy.evidence import CATEGORIES, Evidence
from idp.policy.explain import decision_json, reason_rules
from idp.policy.model import (
    LOAS,
    OUTCOMES,
    PROOFING,
    REFUSALS,
    SCALS,
    CredentialFacts,
    Decision,
    EnrolledFactor,
    Facts,
    Loa,
    Outcome,
    Policy,
    Refusal,
)

FORMAT: Final = 1
"""The version of a record's form."""
_CANONICAL: Final = encoder(sort_keys=True, separators=(",", ":"))

_RECORD_KEYS: Final = frozenset(
    {"format", "decision_id", "txn", "account_id", "policy", "policy_sha256", "facts", "decision"}
)
_FACTS_KEYS: Final = frozenset(
    {
        "action", "evidence", "now", "client_id", "groups", "attributes", "proofing", "credential", "network",
        "transaction", "acr_values", "essential_acr", "max_age", "force_reauthentication", "enrolled",
    }
)  # fmt: skip
_ENROLLED_KEYS: Final = frozenset({"factor", "category", "flags", "issuer", "channel", "attestation"})
_CREDENTIAL_KEYS: Final = frozenset({"id", "scal", "qualifier"})

_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What of a decision can be compared with another one on the same facts."""

    outcome: Outcome
    refusal: Refusal | None
    required: tuple[str, ...]
    acr: str
    loa: Loa | None
    options: tuple[tuple[str, ...], ...]
    session_limit: int | None
    idle_limit: int | None
    rules: tuple[str, ...]
    """The rules that its reasons name, each once."""


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision that was made, and all that led to it."""

    decision_id: str
    txn: str
    account_id: str
    policy_name: str
    policy_sha256: str
    facts: Facts
    verdict: Verdict


def to_json(
    *, decision_id: str, txn: str, account_id: str, policy: Policy, facts: Facts, decision: Decision
) -> dict[str, Any]:
    """The record of a decision as JSON values."""
    return {
        "format": FORMAT,
        "decision_id": decision_id,
        "txn": txn,
        "account_id": account_id,
        "policy": policy.name,
        "policy_sha256": policy.sha256,
        "facts": _facts_json(facts, named_attributes(policy)),
        "decision": decision_json(decision),
    }


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256, hexadecimal, of a record; the audit chain keeps it, so that a record that was changed is found out."""
    return hashlib.sha256(_CANONICAL(record).encode()).hexdigest()


def named_attributes(policy: Policy) -> frozenset[str]:
    """The attributes of a person that the policy's rules ask about."""
    return frozenset(name for rule in policy.rules for name in rule.when.attributes)


def verdict_of(decision: Decision) -> Verdict:
    """What of the decision can be compared."""
    return Verdict(
        outcome=decision.outcome,
        refusal=decision.refusal,
        required=decision.required,
        acr=decision.acr,
        loa=decision.loa,
        options=tuple(option.missing for option in decision.options),
        session_limit=decision.session_limit,
        idle_limit=decision.idle_limit,
        rules=reason_rules(decision),
    )


def _facts_json(facts: Facts, attributes: frozenset[str]) -> dict[str, Any]:
    credential = facts.credential
    return {
        "action": facts.action,
        "evidence": [item.to_json() for item in facts.evidence],
        "now": epoch(facts.now),
        "client_id": facts.client_id,
        "groups": sorted(facts.groups),
        # An attribute that the person does not have is kept as empty: that is known, the others are not.
        "attributes": {name: list(facts.attributes.get(name, ())) for name in sorted(attributes)},
        "proofing": facts.proofing,
        "credential": None
        if credential is None
        else {"id": credential.id, "scal": credential.scal, "qualifier": credential.qualifier},
        "network": facts.network,
        "transaction": facts.transaction,
        "acr_values": list(facts.acr_values),
        "essential_acr": list(facts.essential_acr),
        "max_age": facts.max_age,
        "force_reauthentication": facts.force_reauthentication,
        "enrolled": [_enrolled_json(item) for item in facts.enrolled],
        **({} if facts.replaces is None else {"replaces": facts.replaces}),
    }


def _enrolled_json(item: EnrolledFactor) -> dict[str, Any]:
    return {
        "factor": item.factor,
        "category": item.category,
        "flags": sorted(item.flags),
        "issuer": item.issuer,
        "channel": item.channel,
        "attestation": item.attestation,
        **({} if item.min_length is None else {"min_length": item.min_length}),
    }


# And back


def record_from_json(value: object) -> DecisionRecord:
    """Read what :func:`to_json` wrote.

    :raises RecordInvalid: anything else.
    """
    record = _object(value, _RECORD_KEYS, "a record of a decision")
    if record["format"] != FORMAT:
        raise RecordInvalid(f"format {record['format']!r} is not {FORMAT}")
    return DecisionRecord(
        decision_id=_text(record, "decision_id"),
        txn=_text(record, "txn"),
        account_id=_text(record, "account_id"),
        policy_name=_text(record, "policy"),
        policy_sha256=_text(record, "policy_sha256"),
        facts=facts_from_json(record["facts"]),
        verdict=_verdict(record["decision"]),
    )


def facts_from_json(value: object) -> Facts:
    """The facts of a record.

    :raises RecordInvalid: they do not have the form of facts.
    """
    facts = _object(value, _FACTS_KEYS, "'facts'", frozenset({"replaces"}))
    attributes = facts["attributes"]
    if not isinstance(attributes, Mapping):
        raise RecordInvalid("'attributes' is an object")
    max_age = facts["max_age"]
    if max_age is not None and not _whole(max_age):
        raise RecordInvalid("'max_age' is a whole number or null")
    if not isinstance(facts["force_reauthentication"], bool):
        raise RecordInvalid("'force_reauthentication' is true or false")
    try:
        return Facts(
            action=_text(facts, "action"),
            evidence=tuple(Evidence.from_json(item) for item in _list(facts, "evidence")),
            now=_time(facts["now"]),
            client_id=_optional(facts, "client_id"),
            groups=frozenset(_texts(facts, "groups")),
            attributes={str(name): _texts(attributes, name) for name in attributes},
            proofing=_word(facts, "proofing", PROOFING),
            credential=_credential(facts["credential"]),
            network=_optional(facts, "network"),
            transaction=_optional(facts, "transaction"),
            acr_values=_texts(facts, "acr_values"),
            essential_acr=_texts(facts, "essential_acr"),
            max_age=max_age,
            force_reauthentication=facts["force_reauthentication"],
            enrolled=tuple(_enrolled(item) for item in _list(facts, "enrolled")),
            replaces=_text(facts, "replaces") if "replaces" in facts else None,
        )
    except (EvidenceInvalid, FactsInvalid) as error:
        raise RecordInvalid(str(error)) from error


def _enrolled(value: object) -> EnrolledFactor:
    item = _object(value, _ENROLLED_KEYS, "an enrolled factor", frozenset({"min_length"}))
    if "min_length" in item and not _whole(item["min_length"]):
        raise RecordInvalid("'min_length' is a whole number")
    return EnrolledFactor(
        _text(item, "factor"),
        _word(item, "category", CATEGORIES),
        frozenset(_texts(item, "flags")),
        _text(item, "issuer"),
        _optional(item, "channel"),
        _optional(item, "attestation"),
        item.get("min_length"),
    )


def _credential(value: object) -> CredentialFacts | None:
    if value is None:
        return None
    item = _object(value, _CREDENTIAL_KEYS, "'credential'")
    return CredentialFacts(_text(item, "id"), _word(item, "scal", SCALS), _optional(item, "qualifier"))


def _verdict(value: object) -> Verdict:
    """What :func:`~idp.policy.explain.decision_json` says of it; it may say more."""
    if not isinstance(value, Mapping):
        raise RecordInvalid("'decision' is an object")
    try:
        limits = [value["session_limit"], value["idle_limit"]]
        if any(limit is not None and not _whole(limit) for limit in limits):
            raise RecordInvalid("limits are whole numbers of seconds or null")
        return Verdict(
            outcome=_word(value, "outcome", OUTCOMES),
            refusal=None if value["refusal"] is None else _word(value, "refusal", REFUSALS),
            required=_texts(value, "required"),
            acr=_text(value, "acr"),
            loa=None if value["loa"] is None else _word(value, "loa", LOAS),
            options=tuple(_texts(option, "missing") for option in _list(value, "options")),
            session_limit=limits[0],
            idle_limit=limits[1],
            rules=tuple(dict.fromkeys(_text(reason, "rule") for reason in _list(value, "reasons"))),
        )
    except (KeyError, TypeError) as error:
        raise RecordInvalid("'decision' does not have the form of a decision") from error


def _object(
    value: object, keys: frozenset[str], what: str, left_out: frozenset[str] = frozenset()
) -> Mapping[str, Any]:
    """:param left_out: keys that may be there too: where there is nothing to say, they are left out."""
    if not isinstance(value, Mapping) or set(value) - left_out != keys:
        raise RecordInvalid(f"{what} is an object with exactly the keys {', '.join(sorted(keys))}")
    return value


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(value[key], list):
        raise RecordInvalid(f"'{key}' is a list")
    found: list[Any] = value[key]
    return found


def _text(value: Mapping[str, Any], key: str) -> str:
    if not isinstance(value[key], str):
        raise RecordInvalid(f"'{key}' is a text")
    found: str = value[key]
    return found


def _optional(value: Mapping[str, Any], key: str) -> str | None:
    return None if value[key] is None else _text(value, key)


def _texts(value: Mapping[str, Any], key: str) -> tuple[str, ...]:
    items = _list(value, key)
    if not all(isinstance(item, str) for item in items):
        raise RecordInvalid(f"'{key}' is a list of texts")
    return tuple(items)


def _word(value: Mapping[str, Any], key: str, known: tuple[_Word, ...]) -> _Word:
    text = _text(value, key)
    for word in known:
        if word == text:
            return word
    raise RecordInvalid(f"'{key}' is {', '.join(known)}")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _time(value: object) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecordInvalid("'now' is a whole number of seconds")
    try:
        return from_epoch(value)
    except (ValueError, OverflowError, OSError) as error:
        raise RecordInvalid("'now' is out of range") from error
