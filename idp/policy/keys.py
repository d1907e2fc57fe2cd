"""The words of the language: its keys, and the frameworks, actions and limits that it knows.

The loader reads by these tables, and the JSON Schema for editors is made from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from idp.policy.evidence import FLAGS
from idp.policy.schema import Keys

LANGUAGE: Final = 1
"""The version of the language, the value of ``policy:``."""

FRAMEWORKS: Final[Mapping[str, tuple[str, ...]]] = {
    "eidas-2015-1502": ("low", "substantial", "high"),
    "nist-800-63b:r3": ("aal1", "aal2", "aal3"),
    "nist-800-63b:r4": ("aal1", "aal2", "aal3"),
    "x1254:2012": ("loa1", "loa2", "loa3", "loa4"),
    "x1254:2020": ("aal1", "aal2", "aal3"),
    "iso29115:2013": ("loa1", "loa2", "loa3", "loa4"),
}
"""Levels of each edition, weakest first."""

SIGN: Final = "signature.activate"
SIGN_IN_BAND: Final = "signature.activate_in_band"
"""A signature for which secrets are typed into another's application.  Only rules that name it permit it, and all rules
about :data:`SIGN` apply to it as well."""

ACTIONS: Final = frozenset(
    {
        "sign_in",
        SIGN,
        SIGN_IN_BAND,
        "credential.create",
        "credential.suspend",
        "credential.resume",
        "credential.revoke",
        "credential.delete",
        "account.enrol_factor",
        "account.reset_factor",
    }
)
"""Actions of the product.  ``admin.`` and anything after it is known too; others are declared under ``actions``."""

FACTOR_CHANGES: Final = frozenset({"account.enrol_factor", "account.reset_factor"})
"""Actions that change what a person can prove themselves with: see :mod:`idp.policy.strength`."""

FILE_KEYS: Final = Keys(
    required=("policy", "name", "levels", "rules"),
    optional=("description", "frameworks", "actions", "implies", "factors", "upstream"),
)
FRAMEWORK_KEYS: Final = Keys(required=("id", "levels"))
EDGE_KEYS: Final = Keys(required=("from", "to"))
LEVEL_KEYS: Final = Keys(
    required=("name", "any_of"),
    optional=(
        "title", "claims", "acr", "saml", "notified", "statement", "implies", "proofing", "freshness",
        "session_limit", "idle_limit",
    ),
)  # fmt: skip
SET_KEYS: Final = Keys(required=("all_of",), optional=("different_categories",))
REQUIREMENT_KEYS: Final = Keys(
    optional=(
        "factor", "category", "flags", "without", "issuer", "max_age", "per_transaction", "channel", "attestation",
    ),
)  # fmt: skip
RULE_KEYS: Final = Keys(required=("id", "action", "require"), optional=("when", "evidence", "because"))
CONDITION_KEYS: Final = Keys(optional=("client", "group", "attribute", "credential", "network", "time"))
CREDENTIAL_KEYS: Final = Keys(optional=("id", "scal", "qualifier"))
TIME_KEYS: Final = Keys(optional=("days", "from", "to", "zone"))
UPSTREAM_KEYS: Final = Keys(required=("issuer", "cap"), optional=("max_age", "mappings"))
MAPPING_KEYS: Final = Keys(required=("evidence",), optional=("when",))
MAPPING_CONDITION_KEYS: Final = Keys(optional=("class", "acr", "amr", "attribute"))
UPSTREAM_EVIDENCE_KEYS: Final = Keys(required=("category",), optional=("factor", "flags"))

LIMIT_KEYS: Final[Mapping[str, Keys]] = {
    "password": Keys(optional=("min_length", "max_failures")),
    "sms_otp": Keys(optional=("lifetime", "max_failures", "reset_on_resend", "restricted_notice")),
    "email_otp": Keys(optional=("lifetime", "max_failures", "reset_on_resend")),
    "totp": Keys(optional=("step", "max_failures")),
    "hotp": Keys(optional=("max_failures",)),
    "recovery_code": Keys(optional=("max_failures",)),
    "mobile_id": Keys(optional=("lifetime", "max_failures", "transfer")),
}
"""The limits that a file may set for each factor.  The others have none: what guards a passkey's or a card's key is
the authenticator itself, and what guards a login elsewhere is whoever made it."""

UPSTREAM_FLAGS: Final = FLAGS - {"transaction_bound"}
"""Nobody else knows our transactions."""

MIN_LENGTH: Final = (1, 1000)
"""Of a password, in characters."""
MAX_FAILURES: Final = (1, 1_000_000)
"""What the frameworks allow is less; the linter says so."""

MAX_LEVELS: Final = 200
MAX_RULES: Final = 1000
MAX_REQUIREMENTS: Final = 32
MAX_FRAMEWORKS: Final = 50
MAX_FRAMEWORK_LEVELS: Final = 16
MAX_EDGES: Final = 500
MAX_UPSTREAM: Final = 500
"""More than any policy needs, few enough that a file made to be slow is not."""

NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?", re.ASCII)
NAME_FORM: Final = "a name of lower-case letters, digits, '-', '_' and '.'"
FRAMEWORK: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}:[a-z0-9][a-z0-9.-]{0,20}", re.ASCII)
ACTION: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*", re.ASCII)
CLASS_REF: Final = re.compile(r"[!-~]{1,255}", re.ASCII)
"""A value of ``acr`` or a SAML class reference."""
ATTRIBUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,127}", re.ASCII)
ATTRIBUTE_FORM: Final = "a name of letters, digits, '_', '.', ':', '/' and '-' that begins with a letter"
CLOCK_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
