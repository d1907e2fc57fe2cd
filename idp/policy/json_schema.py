"""The language as JSON Schema (draft 2020-12), for editors that complete keys and mark mistakes while one types.

Keys come from the tables that the loader reads by, so the two cannot differ; what needs more than one place of a file
(whether a level exists, whether a class reference is taken) only the loader can say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, get_args

from idp.policy import keys
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS
from idp.policy.model import DAYS, PROOFING, SCALS, Transfer
from idp.policy.schema import DURATION, Keys

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def schema_text() -> str:
    """The policy's schema as it is published in ``docs/policy.schema.json``."""
    return text_of(policy_schema())


def text_of(schema: Schema) -> str:
    """A schema as a file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def policy_schema() -> Schema:
    """The schema of a policy file."""
    return {
        "$schema": DIALECT,
        "$id": "urn:privyseal:policy:1",
        "title": "Privy Seal policy",
        "description": "Which evidence amounts to which level, and which action needs which level.",
        **table(keys.FILE_KEYS, _FILE),
        "$defs": {
            "level": table(keys.LEVEL_KEYS, _LEVEL, dependentRequired={"statement": ["notified"]}, **_NOTIFIED),
            "alternative": table(keys.SET_KEYS, _SET),
            "requirement": table(keys.REQUIREMENT_KEYS, _REQUIREMENT, **one_of_keys("factor", "category")),
            "rule": table(keys.RULE_KEYS, _RULE),
            "condition": table(keys.CONDITION_KEYS, _CONDITION, minProperties=1),
            "upstream": table(keys.UPSTREAM_KEYS, _UPSTREAM),
            "mapping": table(keys.MAPPING_KEYS, _MAPPING),
        },
    }


# Building blocks


def table(known: Keys, values: Mapping[str, Schema], **more: Any) -> Schema:
    """An object with exactly the keys of a table.

    :raises KeyError: a key has no schema.
    """
    required = {"required": list(known.required)} if known.required else {}
    properties = {key: values[key] for key in known.usable}
    return {"type": "object", "additionalProperties": False, **required, "properties": properties, **more}


def said(description: str, schema: Schema) -> Schema:
    """The schema with words for the editor to show."""
    return {"description": description, **schema}


def text(pattern: re.Pattern[str] | None = None) -> Schema:
    """Text that is not empty, of the pattern's form."""
    return {"type": "string", "pattern": r"\S" if pattern is None else f"^(?:{pattern.pattern})$"}


def word(known: Collection[str], *, ordered: bool = True) -> Schema:
    """One of the known words."""
    return {"enum": list(known) if ordered else sorted(known)}


def words(item: Schema) -> Schema:
    """One, or a list of different ones."""
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}]}


def listed(item: Schema, most: int | None = None) -> Schema:
    """A list that is not empty."""
    limit = {} if most is None else {"maxItems": most}
    return {"type": "array", "items": item, "minItems": 1, **limit}


def whole(low: int, high: int) -> Schema:
    """A whole number."""
    return {"type": "integer", "minimum": low, "maximum": high}


def ref(name: str) -> Schema:
    """One of the definitions."""
    return {"$ref": f"#/$defs/{name}"}


def one_of_keys(*names: str) -> Schema:
    """At least one of the keys is there."""
    return {"anyOf": [{"required": [name]} for name in names]}


TRUTH: Final[Schema] = {"type": "boolean"}
SPAN: Final[Schema] = text(DURATION)
NAME: Final[Schema] = text(keys.NAME)
FACTOR: Final[Schema] = word(FACTORS, ordered=False)
FLAG: Final[Schema] = word(FLAGS, ordered=False)
CATEGORY: Final[Schema] = word(CATEGORIES)

_ATTRIBUTES: Final[Schema] = {
    "type": "object",
    "propertyNames": text(keys.ATTRIBUTE),
    "additionalProperties": words(text()),
    "minProperties": 1,
}
_CLOCK: Final = text(keys.CLOCK_TIME)
_FRAMEWORK_LEVEL: Final = text(re.compile(r"[a-z0-9][a-z0-9.-]*(?::[a-z0-9.-]+)?/.+", re.ASCII))

# The values of each table's keys

_FRAMEWORK: Final[Mapping[str, Schema]] = {
    "id": said("with its edition, such as acme:2026", text(keys.FRAMEWORK)),
    "levels": said("weakest first", words(text())),
}
_EDGE: Final[Mapping[str, Schema]] = {
    "from": said("the stronger: framework/level", _FRAMEWORK_LEVEL),
    "to": said("what it includes: framework/level", _FRAMEWORK_LEVEL),
}
_LIMIT: Final[Mapping[str, Schema]] = {
    "min_length": said("characters of a new password", whole(*keys.MIN_LENGTH)),
    "lifetime": said("how long a code lives, such as 5m", SPAN),
    "step": said("one time step, such as 30s", SPAN),
    "max_failures": said("failures in a row that disable the authenticator", whole(*keys.MAX_FAILURES)),
    "reset_on_resend": said("whether a new message clears the count of failures", TRUTH),
    "restricted_notice": said("people are told of the risk of a restricted authenticator", TRUTH),
    "transfer": said("how the phone's request is tied to the browser", word(get_args(Transfer))),
}
_REQUIREMENT: Final[Mapping[str, Schema]] = {
    "factor": said("any of these factors", words(FACTOR)),
    "category": said("any of these categories", words(CATEGORY)),
    "flags": said("all of these must be set", words(FLAG)),
    "without": said("none of these may be set", words(FLAG)),
    "issuer": said("who vouches: self, or other identity providers", words(text())),
    "max_age": said("how old it may be, such as 10m", SPAN),
    "per_transaction": said("only evidence made for the transaction that is decided", TRUTH),
    "channel": said("how the secret travelled, any of these", words(text())),
    "attestation": said("makes or models of authenticators, any of these", words(text())),
}
_SET: Final[Mapping[str, Schema]] = {
    "all_of": said(
        "requirements, each met by another authenticator", listed(ref("requirement"), keys.MAX_REQUIREMENTS)
    ),
    "different_categories": said("how many categories they cover together", whole(1, len(CATEGORIES))),
}
_CLAIMS: Final[Schema] = {
    "type": "object",
    "properties": {name: word(levels) for name, levels in keys.FRAMEWORKS.items()},
    "patternProperties": {f"^(?:{keys.FRAMEWORK.pattern})$": text()},
    "additionalProperties": False,
}
_LEVEL: Final[Mapping[str, Schema]] = {
    "name": said("what rules call it", NAME),
    "any_of": said("alternatives; one is enough", listed(ref("alternative"))),
    "title": said("words for people", text()),
    "claims": said("framework to level", _CLAIMS),
    "acr": said("values of acr that express it, the one to emit first", words(text(keys.CLASS_REF))),
    "saml": said("SAML class references that express it, the one to emit first", words(text(keys.CLASS_REF))),
    "notified": said("the scheme is notified under (EU) No 910/2014; needs a statement", TRUTH),
    "statement": said("what the claim to be notified rests on", text()),
    "implies": said("levels that whoever reaches this one has reached as well", words(text())),
    "proofing": said("how well the person must have been identified", word(PROOFING)),
    "freshness": said("how old its evidence may be, such as 12h", SPAN),
    "session_limit": said("how long a session on this level may last", SPAN),
    "idle_limit": said("how long such a session may be idle", SPAN),
}
_NOTIFIED: Final[Schema] = {
    "if": {"required": ["notified"], "properties": {"notified": {"const": True}}},
    "then": {"required": ["statement"]},
}
_CREDENTIAL: Final[Mapping[str, Schema]] = {
    "id": words(text()),
    "scal": said("sole control assurance level, in quotes", words(word(SCALS))),
    "qualifier": said("such as eu_eidas_qes", words(text())),
}
_TIME: Final[Mapping[str, Schema]] = {
    "days": said("on which the window begins", words(word(DAYS))),
    "from": said('its first minute, such as "08:00"', _CLOCK),
    "to": said("the first minute after it; if not later than from, on the day after", _CLOCK),
    "zone": said("such as Europe/Berlin", text()),
}
_CONDITION: Final[Mapping[str, Schema]] = {
    "client": said("relying parties", words(text())),
    "group": said("groups of the person", words(text())),
    "attribute": said("attributes of the person, each with one of its values", _ATTRIBUTES),
    "credential": said("the signing credential", table(keys.CREDENTIAL_KEYS, _CREDENTIAL, minProperties=1)),
    "network": said("where the request comes from, such as 192.0.2.0/24", words(text())),
    "time": said("a window of the week", table(keys.TIME_KEYS, _TIME, **one_of_keys("days", "from", "to"))),
}
_RULE: Final[Mapping[str, Schema]] = {
    "id": said("what reasons call it", NAME),
    "action": said("actions, or a prefix with .*", words(text(re.compile(rf"{keys.ACTION.pattern}(?:\.\*)?")))),
    "require": said("levels, all of which are needed", words(text())),
    "when": said("when it applies; without it, always", ref("condition")),
    "evidence": said("requirements beyond the levels", listed(ref("requirement"), keys.MAX_REQUIREMENTS)),
    "because": said("your own words, shown with the reason", text()),
}
_MAPPING: Final[Mapping[str, Schema]] = {
    "when": said(
        "of which logins; without it, of all",
        table(
            keys.MAPPING_CONDITION_KEYS,
            {
                "class": said("SAML class references, one of them", words(text())),
                "acr": said("one of them", words(text())),
                "amr": said("all of them", words(text())),
                "attribute": said("each with one of its values", _ATTRIBUTES),
            },
            minProperties=1,
        ),
    ),
    "evidence": said(
        "what such a login counts as",
        listed(
            table(
                keys.UPSTREAM_EVIDENCE_KEYS,
                {
                    "category": CATEGORY,
                    "factor": said("upstream unless given", FACTOR),
                    "flags": words(word(keys.UPSTREAM_FLAGS, ordered=False)),
                },
            )
        ),
    ),
}
_UPSTREAM: Final[Mapping[str, Schema]] = {
    "issuer": said("identity providers", words(text())),
    "cap": said("the level beyond which nothing from there counts", text()),
    "max_age": said("how long ago the login may have been", SPAN),
    "mappings": said("the first that holds wins; none: one factor that is known", listed(ref("mapping"))),
}
_FILE: Final[Mapping[str, Schema]] = {
    "policy": said("the version of the language", {"const": keys.LANGUAGE}),
    "name": said("goes into every decision", NAME),
    "description": said("text for people", text()),
    "frameworks": said("of your own", listed(table(keys.FRAMEWORK_KEYS, _FRAMEWORK), keys.MAX_FRAMEWORKS)),
    "actions": said("of your own", words(text(keys.ACTION))),
    "implies": said(
        "edges between frameworks: who meets one level meets the other",
        listed(table(keys.EDGE_KEYS, _EDGE), keys.MAX_EDGES),
    ),
    "factors": said(
        "limits of factors",
        {
            "type": "object",
            "properties": {factor: table(known, _LIMIT, minProperties=1) for factor, known in keys.LIMIT_KEYS.items()},
            "additionalProperties": False,
            "minProperties": 1,
        },
    ),
    "upstream": said("other identity providers", listed(ref("upstream"), keys.MAX_UPSTREAM)),
    "levels": said("weakest first", listed(ref("level"), keys.MAX_LEVELS)),
    "rules": said("all that apply count together", listed(ref("rule"), keys.MAX_RULES)),
}
