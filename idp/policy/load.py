"""A policy file to a :class:`~idp.policy.model.Policy`, or to a list of everything that is wrong with it.

Nothing in a file is ever passed over: a key that this version does not evaluate is refused by name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from idp.policy.document import MAX_FAULTS, MAX_OCTETS, Node, Scalar, Unreadable, read_document
from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS, SELF
from idp.policy.model import (
    NO_ACR,
    PROOFING,
    Claim,
    Condition,
    CredentialCondition,
    EvidenceSet,
    Level,
    Policy,
    Requirement,
    Rule,
    Where,
    implied_names,
)
from idp.policy.schema import Fields, Keys, Reader, Text

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

ACTIONS: Final = frozenset(
    {
        "sign_in",
        "signature.activate",
        "credential.create",
        "credential.suspend",
        "credential.resume",
        "credential.delete",
        "account.enrol_factor",
        "account.reset_factor",
    }
)
"""Actions of the product.  ``admin.`` and anything after it is known too; others are declared under ``actions``."""

FILE_KEYS: Final = Keys(
    required=("policy", "name", "levels", "rules"),
    optional=("description", "frameworks", "actions"),
    reserved=("implies", "upstream", "factors"),
)
FRAMEWORK_KEYS: Final = Keys(required=("id", "levels"))
LEVEL_KEYS: Final = Keys(
    required=("name", "any_of"),
    optional=(
        "title", "claims", "acr", "implies", "proofing", "freshness", "session_limit", "idle_limit",
    ),
    reserved=("saml", "notified", "statement"),
)  # fmt: skip
SET_KEYS: Final = Keys(required=("all_of",), optional=("different_categories",))
REQUIREMENT_KEYS: Final = Keys(
    optional=("factor", "category", "flags", "without", "issuer", "max_age", "per_transaction"),
    reserved=("channel", "attestation"),
)
RULE_KEYS: Final = Keys(required=("id", "action", "require"), optional=("when", "evidence", "because"))
CONDITION_KEYS: Final = Keys(optional=("client", "group", "credential"), reserved=("attribute", "network", "time"))
CREDENTIAL_KEYS: Final = Keys(optional=("id", "scal", "qualifier"))

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?", re.ASCII)
_NAME_FORM: Final = "a name of lower-case letters, digits, '-', '_' and '.'"
_FRAMEWORK: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}:[a-z0-9][a-z0-9.-]{0,20}", re.ASCII)
_ACTION: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*", re.ASCII)
_ACR: Final = re.compile(r"[!-~]{1,255}", re.ASCII)
_NOTIFIED: Final = "http://eidas.europa.eu/LoA/"


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    :raises PolicyLoadError: it cannot be read, or has faults.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise PolicyLoadError((Fault(str(path), 1, 1, f"cannot be read: {error.strerror}"),)) from error
    return parse_policy(data, str(path))


def parse_policy(data: bytes, file: str) -> Policy:
    """The policy in a file's octets.  ``file`` is the name to use in reasons.

    :raises PolicyLoadError: with all faults, at most :data:`~idp.policy.document.MAX_FAULTS`.
    """
    faults: list[Fault] = []
    try:
        policy = _Loader(faults).policy(read_document(data, file, faults), hashlib.sha256(data).hexdigest())
    except Unreadable:
        policy = None
    if policy is None or faults:
        raise PolicyLoadError(tuple(sorted(set(faults)))[:MAX_FAULTS])
    return policy


class _Loader:
    """One method a kind of node; each returns a value even when it found faults."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._read = Reader(faults)
        self._frameworks: dict[str, tuple[str, ...]] = dict(FRAMEWORKS)
        self._actions: set[str] = set(ACTIONS)
        self._names: dict[tuple[str, str], Where] = {}
        self._implied: dict[str, tuple[Text, ...]] = {}
        self._required: list[Text] = []

    def policy(self, node: Node, sha256: str) -> Policy | None:
        """The whole file; None if it has faults, since an index over half a policy would mislead."""
        read = self._read
        top = read.fields(node, "a policy", FILE_KEYS)
        read.integer(top.get("policy"), "'policy', the version of the language,", LANGUAGE, LANGUAGE, LANGUAGE)
        name = read.name(top.get("name"), "name", _NAME, _NAME_FORM)
        read.text(top.get("description"), "description")
        for item in read.items(top.get("frameworks"), "frameworks"):
            self._declare_framework(item)
        for action in read.texts(top.get("actions"), "actions"):
            self._declare_action(action)
        levels = tuple(self._level(item) for item in read.items(top.get("levels"), "levels"))
        rules = tuple(self._rule(item) for item in read.items(top.get("rules"), "rules"))
        self._check_references({level.name: level for level in levels})
        if self._faults:
            return None
        rules_at = top.values["rules"].where
        return Policy(name, rules_at.file, sha256, rules_at, levels, rules)

    # Declarations

    def _once(self, kind: str, text: str, where: Where) -> None:
        """Two things of one kind may not have one name."""
        first = self._names.setdefault((kind, text), where)
        if text and first is not where:
            self._read.fault(where, f"{kind} '{text}' is given twice, first in line {first.line}")

    def _declare_framework(self, node: Node) -> None:
        """A framework of the operator's own: an id with its edition, and its levels, weakest first."""
        fields = self._read.fields(node, "a framework", FRAMEWORK_KEYS)
        name = self._read.name(fields.get("id"), "id", _FRAMEWORK, "a framework with its edition, such as acme:2026")
        levels = self._read.texts(fields.get("levels"), "levels")
        if name in FRAMEWORKS:
            self._read.fault(fields.where, f"framework '{name}' is built in")
            return
        self._once("framework", name, fields.where)
        self._frameworks[name] = tuple(level.value for level in levels)

    def _declare_action(self, action: Text) -> None:
        if not _ACTION.fullmatch(action.value):
            self._read.fault(action.where, f"action '{action.value}' is not words of a-z, 0-9 and '_' joined by '.'")
        elif self._known_action(action.value):
            self._read.fault(action.where, f"action '{action.value}' is built in")
        self._actions.add(action.value)

    def _known_action(self, name: str) -> bool:
        return name in self._actions or (name.startswith("admin.") and _ACTION.fullmatch(name) is not None)

    # Levels

    def _level(self, node: Node) -> Level:
        read = self._read
        fields = read.fields(node, "a level", LEVEL_KEYS)
        name = read.name(fields.get("name"), "name", _NAME, _NAME_FORM)
        self._once("level", name, fields.where)
        implied = read.texts(fields.get("implies"), "implies")
        self._implied[name] = implied
        proofing = read.choice(fields.get("proofing"), "proofing", PROOFING)
        return Level(
            where=fields.where,
            name=name,
            any_of=tuple(self._set(item) for item in read.items(fields.get("any_of"), "any_of")),
            title=_one_line(read.text(fields.get("title"), "title")),
            claims=self._claims(fields),
            acr=tuple(self._acr(text) for text in read.texts(fields.get("acr"), "acr")),
            implies=tuple(text.value for text in implied),
            proofing=next((known for known in PROOFING if known == proofing), "none"),
            freshness=read.duration(fields.get("freshness"), "freshness"),
            session_limit=read.duration(fields.get("session_limit"), "session_limit"),
            idle_limit=read.duration(fields.get("idle_limit"), "idle_limit"),
        )

    def _claims(self, level: Fields) -> tuple[Claim, ...]:
        """Framework and level, each framework once (the tree refuses a key twice)."""
        claims = []
        for key, value in self._read.entries(level.get("claims"), "claims"):
            levels = self._frameworks.get(key.text)
            if levels is None:
                editions = sorted(name for name in self._frameworks if name.split(":")[0] == key.text)
                advice = (
                    f"say which edition: {', '.join(editions)}"
                    if editions
                    else (f"known are {', '.join(sorted(self._frameworks))}")
                )
                self._read.fault(key.where, f"unknown framework '{key.text}'; {advice}")
            else:
                claimed = self._read.choice(value, f"level of {key.text}", levels)
                claims.append(Claim(key.text, claimed or ""))
        return tuple(claims)

    def _acr(self, text: Text) -> str:
        """A value of ``acr``: what it says must be true, and it must say it for one level only."""
        if not _ACR.fullmatch(text.value) or text.value == NO_ACR:
            self._read.fault(text.where, f"acr '{text.value}' is not a URI or a registered name")
        if text.value.startswith(_NOTIFIED):
            self._read.fault(
                text.where,
                f"acr '{text.value}' says that the scheme is notified under eIDAS; claiming that is not available in "
                "this version, use http://eidas.europa.eu/NotNotified/LoA/...",
            )
        self._once("acr", text.value, text.where)
        return text.value

    # Evidence

    def _set(self, node: Node) -> EvidenceSet:
        read = self._read
        fields = read.fields(node, "an alternative", SET_KEYS)
        requirements = tuple(self._requirement(item) for item in read.items(fields.get("all_of"), "all_of"))
        categories = read.integer(
            fields.get("different_categories"), "different_categories", 1, len(CATEGORIES), default=1
        )
        return EvidenceSet(fields.where, requirements, categories)

    def _requirement(self, node: Node) -> Requirement:
        read = self._read
        fields = read.fields(node, "a requirement", REQUIREMENT_KEYS)
        if not {"factor", "category"} & set(fields.values):
            read.fault(fields.where, "a requirement names a factor or a category")
        flags = _values(read.texts(fields.get("flags"), "flags", FLAGS))
        without = _values(read.texts(fields.get("without"), "without", FLAGS))
        for flag in sorted(flags & without):
            read.fault(fields.where, f"'{flag}' is both asked for and excluded")
        categories = _values(read.texts(fields.get("category"), "category", CATEGORIES))
        return Requirement(
            where=fields.where,
            factors=_values(read.texts(fields.get("factor"), "factor", FACTORS)),
            categories=frozenset(category for category in CATEGORIES if category in categories),
            flags=flags,
            without=without,
            issuers=_values(read.texts(fields.get("issuer"), "issuer")) or frozenset({SELF}),
            max_age=self._max_age(fields.get("max_age")),
            per_transaction=read.boolean(fields.get("per_transaction"), "per_transaction"),
        )

    def _max_age(self, node: Node | None) -> int | None:
        if isinstance(node, Scalar) and node.text == "0":
            self._read.fault(node.where, "max_age 0 is written as 'per_transaction: true'")
            return None
        return self._read.duration(node, "max_age")

    # Rules

    def _rule(self, node: Node) -> Rule:
        read = self._read
        fields = read.fields(node, "a rule", RULE_KEYS)
        name = read.name(fields.get("id"), "id", _NAME, _NAME_FORM)
        self._once("rule", name, fields.where)
        actions = read.texts(fields.get("action"), "action")
        for action in actions:
            self._check_action(action)
        required = read.texts(fields.get("require"), "require")
        self._required.extend(required)
        when = fields.get("when")
        return Rule(
            where=fields.where,
            id=name,
            actions=tuple(action.value for action in actions),
            require=tuple(level.value for level in required),
            when=Condition() if when is None else self._condition(when),
            evidence=tuple(self._requirement(item) for item in read.items(fields.get("evidence"), "evidence")),
            because=_one_line(read.text(fields.get("because"), "because")),
        )

    def _check_action(self, action: Text) -> None:
        """A name that is known, or ``<prefix>.*`` over at least one that is."""
        prefix = action.value[:-1] if action.value.endswith(".*") else None
        if prefix is None:
            known = self._known_action(action.value)
        else:
            known = prefix == "admin." or any(name.startswith(prefix) for name in self._actions)
        if not known:
            names = ", ".join(sorted(self._actions))
            self._read.fault(
                action.where,
                f"unknown action '{action.value}'; known are {names}, admin.<name>; declare others under 'actions'",
            )

    def _condition(self, node: Node) -> Condition:
        read = self._read
        fields = read.fields(node, "when", CONDITION_KEYS)
        if not fields.values:
            read.fault(fields.where, "when has no condition")
        credential = fields.get("credential")
        return Condition(
            clients=_values(read.texts(fields.get("client"), "client")),
            groups=_values(read.texts(fields.get("group"), "group")),
            credential=None if credential is None else self._credential(credential),
        )

    def _credential(self, node: Node) -> CredentialCondition:
        read = self._read
        fields = read.fields(node, "credential", CREDENTIAL_KEYS)
        if not fields.values:
            read.fault(fields.where, "credential has no condition")
        return CredentialCondition(
            ids=_values(read.texts(fields.get("id"), "id")),
            scal=_values(read.texts(fields.get("scal"), "scal", ("1", "2"))),
            qualifiers=_values(read.texts(fields.get("qualifier"), "qualifier")),
        )

    # What can only be judged with all levels at hand

    def _check_references(self, levels: Mapping[str, Level]) -> None:
        for name in self._required:
            self._check_level_known(name, levels)
        for level in levels.values():
            for implied in self._implied[level.name]:
                self._check_level_known(implied, levels)
                if implied.value in levels:
                    self._check_edge(level, levels[implied.value], implied.where, levels)

    def _check_level_known(self, name: Text, levels: Mapping[str, Level]) -> None:
        if name.value not in levels:
            self._read.fault(name.where, f"unknown level '{name.value}'; known are {', '.join(sorted(levels))}")

    def _check_edge(self, strong: Level, weak: Level, where: Where, levels: Mapping[str, Level]) -> None:
        """Reaching ``strong`` will count as reaching ``weak``, so it may ask for no less where the two compare."""
        if strong.name in implied_names(weak.name, levels):
            self._read.fault(where, f"level '{strong.name}' implies itself by way of '{weak.name}'")
        if PROOFING.index(strong.proofing) < PROOFING.index(weak.proofing):
            self._read.fault(
                where,
                f"level '{strong.name}' may not imply '{weak.name}': it needs proofing '{strong.proofing}', "
                f"'{weak.name}' needs '{weak.proofing}'",
            )
        if weak.freshness is not None and (strong.freshness is None or strong.freshness > weak.freshness):
            self._read.fault(
                where,
                f"level '{strong.name}' may not imply '{weak.name}': its evidence may be older "
                f"than the {weak.freshness} seconds of '{weak.name}'",
            )
        if _per_transaction(weak) and not _per_transaction(strong):
            self._read.fault(
                where,
                f"level '{strong.name}' may not imply '{weak.name}', which needs a factor for each transaction",
            )


def _per_transaction(level: Level) -> bool:
    """Whether it cannot be reached without evidence made for the transaction."""
    return all(any(item.per_transaction for item in alternative.all_of) for alternative in level.any_of)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _values(texts: tuple[Text, ...]) -> frozenset[str]:
    return frozenset(text.value for text in texts)
