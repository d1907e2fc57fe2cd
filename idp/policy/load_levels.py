"""Levels and the evidence that they ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from idp.policy.closure import closed
from idp.policy.document import Node, Scalar
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS, SELF
from idp.policy.keys import (
    CLASS_REF,
    LEVEL_KEYS,
    MAX_LEVELS,
    MAX_REQUIREMENTS,
    NAME,
    NAME_FORM,
    REQUIREMENT_KEYS,
    SET_KEYS,
)
from idp.policy.load_frameworks import known_levels
from idp.policy.loading import Loading, one_line, values
from idp.policy.model import (
    EIDAS,
    LOAS,
    NO_ACR,
    PROOFING,
    Claim,
    Edge,
    EvidenceSet,
    Level,
    Requirement,
    Where,
    implied_names,
)
from idp.policy.schema import Fields, Text

_EIDAS_URI: Final = re.compile(r"http://eidas\.europa\.eu/(NotNotified/)?LoA/(.*)", re.ASCII)
"""eIDAS SAML Message Format 1.2, 3.2."""


class LevelLoader:
    """Reads levels; what can only be judged with all of them at hand is judged by :meth:`check`."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._read = loading.read
        self._implied: dict[str, tuple[Text, ...]] = {}
        self._uris: dict[str, list[tuple[str, Text]]] = {}
        self._notified: dict[str, Where] = {}
        self._class_refs: dict[str, tuple[str, Where]] = {}

    def levels(self, node: Node | None) -> tuple[Level, ...]:
        """All of them, in the order of the file."""
        return tuple(self._level(item) for item in self._read.items(node, "levels", most=MAX_LEVELS))

    def _level(self, node: Node) -> Level:
        read = self._read
        fields = read.fields(node, "a level", LEVEL_KEYS)
        name = read.name(fields.get("name"), "name", NAME, NAME_FORM)
        self._loading.once("level", name, fields.where)
        implied = read.texts(fields.get("implies"), "implies")
        self._implied[name] = implied
        notified = self._is_notified(name, fields)
        return Level(
            where=fields.where,
            name=name,
            any_of=tuple(self._set(item) for item in read.items(fields.get("any_of"), "any_of")),
            title=one_line(read.text(fields.get("title"), "title")),
            claims=self._claims(fields),
            acr=self._class_references(name, fields, "acr", notified=notified),
            implies=self._loading.uses_levels(implied),
            proofing=read.choice(fields.get("proofing"), "proofing", PROOFING) or "none",
            freshness=read.duration(fields.get("freshness"), "freshness"),
            session_limit=read.duration(fields.get("session_limit"), "session_limit"),
            idle_limit=read.duration(fields.get("idle_limit"), "idle_limit"),
            saml=self._class_references(name, fields, "saml", notified=notified),
            notified=notified,
            statement=one_line(read.text(fields.get("statement"), "statement")),
        )

    def _claims(self, level: Fields) -> tuple[Claim, ...]:
        """Framework and level, each framework once (the tree refuses a key twice)."""
        claims = []
        for key, value in self._read.entries(level.get("claims"), "claims"):
            levels = known_levels(self._loading, key.text, key.where)
            if levels:
                claimed = self._read.choice(value, f"level of {key.text}", levels)
                claims.append(Claim(key.text, claimed or ""))
        return tuple(claims)

    def _is_notified(self, name: str, level: Fields) -> bool:
        """The claim to be notified under (EU) No 910/2014, article 9, and what it rests on: both or neither."""
        node, statement = level.get("notified"), level.get("statement")
        notified = self._read.boolean(node, "notified")
        if notified and node is not None:
            self._notified[name] = node.where
            if statement is None:
                self._read.fault(node.where, "notified needs a statement: what the claim rests on", rule="L12")
        if statement is not None and not notified:
            self._read.fault(statement.where, "statement is there for 'notified: true' only", rule="L12")
        return notified

    def _class_references(self, name: str, level: Fields, key: str, *, notified: bool) -> tuple[str, ...]:
        """Values of ``acr`` or SAML class references: what one says must be true, and of one level only."""
        found = self._read.texts(level.get(key), key)
        for text in found:
            if not CLASS_REF.fullmatch(text.value) or text.value == NO_ACR:
                self._read.fault(text.where, f"{key} '{text.value}' is not a URI or a registered name")
            self._check_eidas_uri(name, key, text, notified=notified)
            holder, first = self._class_refs.setdefault(text.value, (name, text.where))
            if holder != name or first.line < level.where.line:
                message = f"{key} '{text.value}' is given twice, first in line {first.line}; it expresses one level"
                self._read.fault(text.where, message, rule="L15")
        return tuple(text.value for text in found)

    def _check_eidas_uri(self, name: str, key: str, text: Text, *, notified: bool) -> None:
        match = _EIDAS_URI.fullmatch(text.value)
        if match is None:
            return
        if match[2] not in LOAS:
            self._read.fault(
                text.where, f"{key} '{text.value}' names no level of eIDAS ({', '.join(LOAS)})", rule="L12"
            )
            return
        self._uris.setdefault(name, []).append((match[2], text))
        if match[1] is None and not notified:
            self._read.fault(
                text.where,
                f"{key} '{text.value}' says that the scheme is notified under eIDAS; that needs 'notified: true' and a "
                "statement, otherwise use http://eidas.europa.eu/NotNotified/LoA/...",
                rule="L12",
            )

    # Evidence

    def _set(self, node: Node) -> EvidenceSet:
        read = self._read
        fields = read.fields(node, "an alternative", SET_KEYS)
        needed = read.items(fields.get("all_of"), "all_of", most=MAX_REQUIREMENTS)
        requirements = tuple(self.requirement(item) for item in needed)
        categories = read.integer(
            fields.get("different_categories"), "different_categories", 1, len(CATEGORIES), default=1
        )
        return EvidenceSet(fields.where, requirements, categories)

    def requirement(self, node: Node) -> Requirement:
        """What one piece of evidence must be."""
        read = self._read
        fields = read.fields(node, "a requirement", REQUIREMENT_KEYS)
        if not {"factor", "category"} & set(fields.values):
            read.fault(fields.where, "a requirement names a factor or a category")
        flags = values(read.texts(fields.get("flags"), "flags", FLAGS))
        without = values(read.texts(fields.get("without"), "without", FLAGS))
        for flag in sorted(flags & without):
            read.fault(fields.where, f"'{flag}' is both asked for and excluded")
        categories = values(read.texts(fields.get("category"), "category", CATEGORIES))
        return Requirement(
            where=fields.where,
            factors=values(read.texts(fields.get("factor"), "factor", FACTORS)),
            categories=frozenset(category for category in CATEGORIES if category in categories),
            flags=flags,
            without=without,
            issuers=values(read.texts(fields.get("issuer"), "issuer")) or frozenset({SELF}),
            max_age=self._max_age(fields.get("max_age")),
            per_transaction=read.boolean(fields.get("per_transaction"), "per_transaction"),
            channels=values(read.texts(fields.get("channel"), "channel")),
            attestations=values(read.texts(fields.get("attestation"), "attestation")),
        )

    def _max_age(self, node: Node | None) -> int | None:
        if isinstance(node, Scalar) and node.text == "0":
            self._read.fault(node.where, "max_age 0 is written as 'per_transaction: true'")
            return None
        return self._read.duration(node, "max_age")

    # What can only be judged with all levels at hand

    def check(self, levels: Mapping[str, Level], edges: tuple[Edge, ...]) -> None:
        """Their order, and whether each says of itself only what it claims."""
        implied = {name: implied_names(name, levels) for name in levels}
        for level in levels.values():
            for weaker in self._implied[level.name]:
                if weaker.value in levels:
                    self._check_order(level, levels[weaker.value], weaker.where, implied[weaker.value])
            claims = (claim for name in implied[level.name] for claim in levels[name].claims)
            included = closed(claims, self._loading.frameworks, edges)
            for loa, uri in self._uris.get(level.name, ()):
                if Claim(EIDAS, loa) not in included:
                    message = f"'{uri.value}' says more than level '{level.name}' claims; claims needs {EIDAS}: {loa}"
                    self._read.fault(uri.where, message, rule="L12")
            if level.name in self._notified and not any(claim.framework == EIDAS for claim in included):
                message = f"level '{level.name}' claims no level of {EIDAS} that could be notified"
                self._read.fault(self._notified[level.name], message, rule="L12")

    def _check_order(self, strong: Level, weak: Level, where: Where, weaker: frozenset[str]) -> None:
        """Reaching ``strong`` will count as reaching ``weak``, so it may ask for no less where the two compare.

        :param weaker: what ``weak`` implies in its turn.
        """
        if strong.name in weaker:
            self._read.fault(where, f"level '{strong.name}' implies itself by way of '{weak.name}'", rule="L16")
        if PROOFING.index(strong.proofing) < PROOFING.index(weak.proofing):
            self._read.fault(
                where,
                f"level '{strong.name}' may not imply '{weak.name}': it needs proofing '{strong.proofing}', "
                f"'{weak.name}' needs '{weak.proofing}'",
                rule="L16",
            )
        if weak.freshness is not None and (strong.freshness is None or strong.freshness > weak.freshness):
            self._read.fault(
                where,
                f"level '{strong.name}' may not imply '{weak.name}': its evidence may be older "
                f"than the {weak.freshness} seconds of '{weak.name}'",
                rule="L16",
            )
        if _per_transaction(weak) and not _per_transaction(strong):
            self._read.fault(
                where,
                f"level '{strong.name}' may not imply '{weak.name}', which needs a factor for each transaction",
                rule="L16",
            )


def _per_transaction(level: Level) -> bool:
    """Whether it cannot be reached without evidence made for the transaction."""
    return all(any(item.per_transaction for item in alternative.all_of) for alternative in level.any_of)
