"""The format of cases files as JSON Schema, as :mod:`idp.policy.json_schema` does for policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from idp.policy import cases_load as tables
from idp.policy.evidence import FACTOR_CATEGORIES, SELF
from idp.policy.json_schema import (
    CATEGORY,
    DIALECT,
    FACTOR,
    FLAG,
    SPAN,
    TRUTH,
    Schema,
    listed,
    ref,
    said,
    table,
    text,
    text_of,
    whole,
    word,
    words,
)
from idp.policy.keys import MIN_LENGTH
from idp.policy.model import LOAS, OUTCOMES, PROOFING, REFUSALS, SCALS
from idp.policy.schema import Keys


def cases_schema_text() -> str:
    """The schema as it is published in ``docs/policy-cases.schema.json``."""
    return text_of(cases_schema())


def cases_schema() -> Schema:
    """The schema of a cases file."""
    return {
        "$schema": DIALECT,
        "$id": "urn:privyseal:policy-test:1",
        "title": "Privy Seal policy cases",
        "description": "Situations with the decision that a policy must come to.",
        **table(tables.FILE_KEYS, _FILE),
        "$defs": {
            "person": table(tables.PERSON_KEYS, _PERSON),
            "case": table(tables.CASE_KEYS, _CASE),
            "enrolled": _used(tables.ENROLLED_KEYS),
            "evidence": _used(tables.EVIDENCE_KEYS),
            "login": table(tables.LOGIN_KEYS, _LOGIN),
        },
    }


_DETAILS: Final[Mapping[str, Schema]] = {
    "factor": FACTOR,
    "age": said("how long before the case, such as 5m", SPAN),
    "for": said("the transaction that it was made for", text()),
    "flags": words(FLAG),
    "issuer": said("who vouches; self unless given", text()),
    "category": said("the factor's own unless given", CATEGORY),
    "channel": said("how the secret travelled", text()),
    "attestation": said("make or model", text()),
    "id": said("of the authenticator", text()),
    "min_length": said(
        "characters that a password was found to reach; unless given, as many as a new one has where it stands alone",
        whole(0, MIN_LENGTH[1]),
    ),
}


def _used(known: Keys) -> Schema:
    """A factor's name, or the factor with details; what has no category of its own needs one."""
    without = {"not": {"properties": {"factor": word(FACTOR_CATEGORIES, ordered=False)}, "required": ["factor"]}}
    details: dict[str, Any] = {"if": without, "then": {"required": ["category"]}}
    return {"anyOf": [word(FACTOR_CATEGORIES, ordered=False), table(known, _DETAILS, **details)]}


_AT: Final = said('in UTC, such as "2026-03-02T10:00:00Z"', text(tables.TIME))
_PERSON: Final[Mapping[str, Schema]] = {
    "proofing": said("how well the person was identified", word(PROOFING)),
    "groups": words(text()),
    "attributes": {"type": "object", "additionalProperties": words(text())},
    "enrolled": said("what the person could use", listed(ref("enrolled"))),
}
_LOGIN: Final[Mapping[str, Schema]] = {
    "issuer": said("the identity provider, as it names itself", {**text(), "not": {"const": SELF}}),
    "class": said("SAML class reference", text()),
    "acr": text(),
    "amr": said("all that it says", words(text())),
    "attributes": {"type": "object", "additionalProperties": words(text())},
    "age": _DETAILS["age"],
    "for": _DETAILS["for"],
}
_CREDENTIAL: Final[Mapping[str, Schema]] = {"id": text(), "scal": word(SCALS), "qualifier": text()}
_REQUEST: Final[Mapping[str, Schema]] = {
    "acr_values": words(text()),
    "essential_acr": words(text()),
    "max_age": said("seconds", {"type": "integer", "minimum": 0}),
    "force": said("prompt=login, ForceAuthn", TRUTH),
}
_EXPECT: Final[Mapping[str, Schema]] = {
    "outcome": word(OUTCOMES),
    "reasons": said("the rule of each reason, each once, in order", words(text())),
    "refusal": said("why, for deny", word(REFUSALS)),
    "acr": text(),
    "loa": word((*LOAS, "none")),
    "session_limit": said("for allow: how long the session may last", SPAN),
    "idle_limit": said("for allow: how long it may be idle", SPAN),
    "options": said("for step_up: each way on, best first", listed(words(FACTOR))),
}
_CASE: Final[Mapping[str, Schema]] = {
    "name": said("a sentence", text()),
    "action": text(),
    "person": said("one of people, or described here", {"anyOf": [text(), ref("person")]}),
    "client": said("the relying party", text()),
    "credential": table(tables.CREDENTIAL_KEYS, _CREDENTIAL),
    "network": said("the address that the request comes from", text()),
    "transaction": said("the transaction that is decided", text()),
    "at": _AT,
    "evidence": said("what was used", listed(ref("evidence"))),
    "logins": said("at other identity providers; the policy says what they count as", listed(ref("login"))),
    "request": table(tables.REQUEST_KEYS, _REQUEST),
    "expect": table(
        tables.EXPECT_KEYS,
        _EXPECT,
        **{
            "if": {"properties": {"outcome": {"const": "deny"}}},
            "then": {"required": ["refusal"]},
            "else": {"not": {"required": ["refusal"]}},
        },
    ),
}
_FILE: Final[Mapping[str, Schema]] = {
    "policy-test": said("the version of the format", {"const": tables.FORMAT}),
    "cases": listed(ref("case")),
    "at": _AT,
    "people": {"type": "object", "additionalProperties": ref("person")},
}
