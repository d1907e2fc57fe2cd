"""A cases file to :class:`Cases`, or to a list of everything that is wrong with it; see :mod:`idp.policy.cases`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from idp.policy.document import MAX_FAULTS, Node, Scalar, Unreadable, read_document
from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.evidence import (
    CATEGORIES,
    FACTOR_CATEGORIES,
    FACTORS,
    FLAGS,
    PASSWORD,
    SELF,
    Category,
    Evidence,
    assumed_length,
)
from idp.policy.keys import MIN_LENGTH
from idp.policy.loading import one_line
from idp.policy.model import (
    LOAS,
    OUTCOMES,
    PROOFING,
    REFUSALS,
    SCALS,
    CredentialFacts,
    EnrolledFactor,
    Facts,
    Outcome,
    Policy,
    Proofing,
    Refusal,
    Where,
)
from idp.policy.schema import Fields, Keys, Reader
from idp.policy.upstream import UpstreamLogin, evidence_of

FORMAT: Final = 1
"""The version of the format, the value of ``policy-test:``."""

DEFAULT_TIME: Final = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
"""When cases happen that say nothing else: a Monday."""

FILE_KEYS: Final = Keys(required=("policy-test", "cases"), optional=("at", "people"))
PERSON_KEYS: Final = Keys(optional=("proofing", "groups", "attributes", "enrolled"))
CASE_KEYS: Final = Keys(
    required=("name", "action", "expect"),
    optional=(
        "person", "client", "credential", "network", "transaction", "at", "evidence", "logins", "request",
    ),
)  # fmt: skip
CREDENTIAL_KEYS: Final = Keys(required=("id", "scal"), optional=("qualifier",))
ENROLLED_KEYS: Final = Keys(
    required=("factor",),
    optional=("flags", "issuer", "category", "channel", "attestation", "min_length"),
)
EVIDENCE_KEYS: Final = Keys(
    required=("factor",),
    optional=("age", "for", "flags", "issuer", "category", "channel", "attestation", "id", "min_length"),
)
LOGIN_KEYS: Final = Keys(required=("issuer",), optional=("class", "acr", "amr", "attributes", "age", "for"))
REQUEST_KEYS: Final = Keys(optional=("acr_values", "essential_acr", "max_age", "force"))
EXPECT_KEYS: Final = Keys(
    required=("outcome", "reasons"), optional=("refusal", "acr", "loa", "session_limit", "idle_limit", "options")
)

TIME: Final = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
_LONGEST: Final = 10 * 366 * 86400
"""Seconds: ten years, for ages."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come out.  None: the case leaves it open."""

    where: Where
    outcome: Outcome
    reasons: tuple[str, ...]
    """The rules of the decision's reasons in their order, each once."""
    refusal: Refusal | None = None
    """Given exactly when the outcome is ``deny``."""
    acr: str | None = None
    loa: str | None = None
    """``none`` expects that there is none."""
    session_limit: int | None = None
    """Seconds; like ``idle_limit`` only for ``allow``."""
    idle_limit: int | None = None
    options: tuple[tuple[str, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A situation by name."""

    where: Where
    name: str
    facts: Facts
    """Without what logins elsewhere count as: that is for a policy to say."""
    expect: Expectation
    logins: tuple[UpstreamLogin, ...] = ()

    def facts_under(self, policy: Policy) -> Facts:
        """The facts, with what the policy counts the logins elsewhere as."""
        counted = (item for login in self.logins for item in evidence_of(policy, login, self.facts.now))
        return replace(self.facts, evidence=(*self.facts.evidence, *counted))


@dataclass(frozen=True, slots=True)
class Cases:
    """A cases file that has been read and found sound."""

    file: str
    """The path as it was given."""
    sha256: str
    """Hexadecimal, of the file's octets."""
    cases: tuple[Case, ...]

    def named(self, name: str) -> Case | None:
        """The case of that name, if there is one; names are unique."""
        return next((case for case in self.cases if case.name == name), None)


@dataclass(frozen=True, slots=True)
class _Person:
    """Somebody whom cases are about."""

    proofing: Proofing = "none"
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    enrolled: tuple[EnrolledFactor, ...] = ()


_NOBODY: Final = _Person()


def parse_cases(data: bytes, file: str) -> Cases:
    """The cases in a file's octets.  ``file`` is the name to use in reports.

    :raises PolicyLoadError: with all faults, at most :data:`~idp.policy.document.MAX_FAULTS`.
    """
    faults: list[Fault] = []
    try:
        cases = _Loader(faults).cases(read_document(data, file, faults))
    except Unreadable:
        cases = ()
    if faults:
        raise PolicyLoadError(tuple(sorted(set(faults)))[:MAX_FAULTS])
    return Cases(file, hashlib.sha256(data).hexdigest(), cases)


class _Loader:
    """One method a kind of node; each returns a value even when it found faults."""

    def __init__(self, faults: list[Fault]) -> None:
        self._read = Reader(faults)
        self._people: dict[str, _Person] = {}
        self._names: dict[str, Where] = {}

    def cases(self, node: Node) -> tuple[Case, ...]:
        """The whole file."""
        read = self._read
        top = read.fields(node, "a cases file", FILE_KEYS)
        read.integer(top.get("policy-test"), "'policy-test', the version of the format,", FORMAT, FORMAT, FORMAT)
        at = self._time(top.get("at"), DEFAULT_TIME)
        for key, value in read.entries(top.get("people"), "people"):
            self._people[key.text] = self._described(value)
        return tuple(self._case(item, at) for item in read.items(top.get("cases"), "cases"))

    def _time(self, node: Node | None, default: datetime) -> datetime:
        if node is None:
            return default
        text = self._read.text(node, "at")
        try:
            if not TIME.fullmatch(text):
                raise ValueError
            return datetime.fromisoformat(text)
        except ValueError:
            self._read.fault(node.where, 'at is a time in UTC from the year 2000 on, such as "2026-03-02T10:00:00Z"')
            return default

    # People

    def _person(self, node: Node | None) -> _Person:
        """By name, or described on the spot."""
        if node is None:
            return _NOBODY
        if not isinstance(node, Scalar):
            return self._described(node)
        found = self._people.get(node.text)
        if found is None:
            known = f"known are {', '.join(sorted(self._people))}" if self._people else "there are no 'people'"
            self._read.fault(node.where, f"unknown person '{node.text}'; {known}")
        return found or _NOBODY

    def _described(self, node: Node) -> _Person:
        read = self._read
        fields = read.fields(node, "a person", PERSON_KEYS)
        return _Person(
            proofing=read.choice(fields.get("proofing"), "proofing", PROOFING) or "none",
            groups=frozenset(self._texts(fields, "groups")),
            attributes=self._attributes(fields),
            enrolled=tuple(self._enrolled(item) for item in read.items(fields.get("enrolled"), "enrolled")),
        )

    def _enrolled(self, node: Node) -> EnrolledFactor:
        fields = self._factor_fields(node, "an enrolled factor", ENROLLED_KEYS)
        factor, category = self._factor(fields)
        return EnrolledFactor(
            factor,
            category,
            self._flags(fields),
            self._read.text(fields.get("issuer"), "issuer") or SELF,
            self._read.text(fields.get("channel"), "channel") or None,
            self._read.text(fields.get("attestation"), "attestation") or None,
            self._min_length(factor, fields),
        )

    # A case

    def _case(self, node: Node, at: datetime) -> Case:
        read = self._read
        fields = read.fields(node, "a case", CASE_KEYS)
        name = one_line(read.text(fields.get("name"), "name"))
        first = self._names.setdefault(name, fields.where)
        if name and first is not fields.where:
            read.fault(fields.where, f"case '{name}' is given twice, first in line {first.line}")
        facts = self._facts(fields, self._time(fields.get("at"), at))
        logins = tuple(self._login(item, facts.now) for item in read.items(fields.get("logins"), "logins"))
        return Case(fields.where, name, facts, self._expect(fields), logins)

    def _facts(self, case: Fields, now: datetime) -> Facts:
        read = self._read
        person = self._person(case.get("person"))
        request = (
            read.fields(case.values["request"], "a request", REQUEST_KEYS) if "request" in case.values else Fields()
        )
        asked_age = request.get("max_age")
        return Facts(
            action=read.text(case.get("action"), "action"),
            evidence=tuple(self._evidence(item, now) for item in read.items(case.get("evidence"), "evidence")),
            now=now,
            client_id=read.text(case.get("client"), "client") or None,
            groups=person.groups,
            attributes=person.attributes,
            proofing=person.proofing,
            credential=self._credential(case.get("credential")),
            network=self._network(case.get("network")),
            transaction=read.text(case.get("transaction"), "transaction") or None,
            acr_values=self._texts(request, "acr_values"),
            essential_acr=self._texts(request, "essential_acr"),
            max_age=None if asked_age is None else read.integer(asked_age, "max_age", 0, _LONGEST, 0),
            force_reauthentication=read.boolean(request.get("force"), "force"),
            enrolled=person.enrolled,
        )

    def _credential(self, node: Node | None) -> CredentialFacts | None:
        if node is None:
            return None
        fields = self._read.fields(node, "credential", CREDENTIAL_KEYS)
        return CredentialFacts(
            id=self._read.text(fields.get("id"), "id"),
            scal=self._read.choice(fields.get("scal"), "scal", SCALS) or "1",
            qualifier=self._read.text(fields.get("qualifier"), "qualifier") or None,
        )

    def _network(self, node: Node | None) -> str | None:
        text = self._read.text(node, "network")
        if node is None or not text:
            return None
        try:
            ip_address(text)
        except ValueError:
            self._read.fault(node.where, f"network '{text}' is not the address of one machine, such as 192.0.2.7")
        return text

    def _evidence(self, node: Node, now: datetime) -> Evidence:
        read = self._read
        fields = self._factor_fields(node, "evidence", EVIDENCE_KEYS)
        factor, category = self._factor(fields)
        return Evidence(
            factor=factor,
            authenticator_id=read.text(fields.get("id"), "id") or factor,
            category=category,
            at=self._before(now, fields.get("age")),
            issuer=read.text(fields.get("issuer"), "issuer") or SELF,
            flags=self._flags(fields),
            channel=read.text(fields.get("channel"), "channel") or None,
            transaction=read.text(fields.get("for"), "for") or None,
            attestation=read.text(fields.get("attestation"), "attestation") or None,
            min_length=assumed_length(factor, self._min_length(factor, fields)),
        )

    def _min_length(self, factor: str, fields: Fields) -> int | None:
        """What a password was found to reach; None: the file does not say."""
        node = fields.get("min_length")
        if node is None:
            return None
        if factor != PASSWORD:
            self._read.fault(node.where, "min_length is of a password")
            return None
        return self._read.integer(node, "min_length", 0, MIN_LENGTH[1], 0)

    def _login(self, node: Node, now: datetime) -> UpstreamLogin:
        read = self._read
        fields = read.fields(node, "a login", LOGIN_KEYS)
        issuer = read.text(fields.get("issuer"), "issuer")
        if issuer == SELF:
            read.fault(fields.where, "a login elsewhere has another issuer than 'self'")
        return UpstreamLogin(
            issuer="?" if issuer in {"", SELF} else issuer,
            subject="case",
            auth_time=self._before(now, fields.get("age")),
            class_ref=read.text(fields.get("class"), "class") or None,
            acr=read.text(fields.get("acr"), "acr") or None,
            amr=frozenset(self._texts(fields, "amr")),
            attributes=self._attributes(fields),
            transaction=read.text(fields.get("for"), "for") or None,
        )

    def _before(self, now: datetime, age: Node | None) -> datetime:
        seconds = self._read.duration(age, "age") or 0
        if age is not None and seconds > _LONGEST:
            self._read.fault(age.where, "age is at most ten years")
        return now - timedelta(seconds=min(seconds, _LONGEST))

    def _factor_fields(self, node: Node, what: str, keys: Keys) -> Fields:
        """A factor with its details, or its name alone."""
        if isinstance(node, Scalar):
            return Fields(node.where, {"factor": node})
        return self._read.fields(node, what, keys)

    def _factor(self, fields: Fields) -> tuple[str, Category]:
        """A factor and the category in which it counts here: its own unless the file says otherwise."""
        named = self._read.choice(fields.get("category"), "category", CATEGORIES)
        factor = self._read.choice(fields.get("factor"), "factor", tuple(sorted(FACTORS)))
        if factor is None:
            return "password", "knowledge"
        own = FACTOR_CATEGORIES.get(factor)
        if named is None and own is None:
            self._read.fault(fields.where, f"'{factor}' has no category of its own: say which, with 'category'")
        return factor, named or own or "knowledge"

    def _flags(self, fields: Fields) -> frozenset[str]:
        return frozenset(text.value for text in self._read.texts(fields.get("flags"), "flags", FLAGS))

    # What is expected

    def _expect(self, case: Fields) -> Expectation:
        read = self._read
        if "expect" not in case.values:
            return Expectation(case.where, "deny", ())
        fields = read.fields(case.values["expect"], "expect", EXPECT_KEYS)
        outcome: Outcome | None = read.choice(fields.get("outcome"), "outcome", OUTCOMES)
        refusal: Refusal | None = read.choice(fields.get("refusal"), "refusal", REFUSALS)
        if outcome == "deny" and "refusal" not in fields.values:
            read.fault(fields.where, f"a case that expects deny says why: refusal is {', '.join(REFUSALS)}")
        if outcome in {"allow", "step_up"} and "refusal" in fields.values:
            read.fault(fields.values["refusal"].where, "refusal goes with the outcome deny, and only with it")
        if outcome in {"allow", "deny"} and "options" in fields.values:
            read.fault(fields.values["options"].where, "options go with the outcome step_up, and only with it")
        for key in ("session_limit", "idle_limit"):
            if outcome in {"step_up", "deny"} and key in fields.values:
                read.fault(fields.values[key].where, f"{key} goes with the outcome allow, and only with it")
        return Expectation(
            where=fields.where,
            outcome=outcome or "deny",
            reasons=self._texts(fields, "reasons"),
            refusal=refusal,
            acr=read.text(fields.get("acr"), "acr") or None,
            loa=read.choice(fields.get("loa"), "loa", (*LOAS, "none")),
            session_limit=read.duration(fields.get("session_limit"), "session_limit"),
            idle_limit=read.duration(fields.get("idle_limit"), "idle_limit"),
            options=self._options(fields.get("options")),
        )

    def _options(self, node: Node | None) -> tuple[tuple[str, ...], ...] | None:
        if node is None:
            return None
        return tuple(
            tuple(text.value for text in self._read.texts(item, "factor", FACTORS))
            for item in self._read.items(node, "options")
        )

    # Words

    def _attributes(self, fields: Fields) -> Mapping[str, tuple[str, ...]]:
        return {
            key.text: tuple(text.value for text in self._read.texts(value, f"attribute {key.text}"))
            for key, value in self._read.entries(fields.get("attributes"), "attributes")
        }

    def _texts(self, fields: Fields, key: str) -> tuple[str, ...]:
        return tuple(text.value for text in self._read.texts(fields.get(key), key))
