"""What the policy decides about assumed facts: ``privyseal policy explain`` as a page.  Asking changes nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final

from flask import request
from sqlalchemy import Connection
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from foundation.clock import epoch
from idp.authn.methods import MESSAGES, flags_of
from idp.authn.roles import MATRIX, VISITS
from idp.errors import InputRefused
from idp.policy.evaluate import evaluate
from idp.policy.evidence import FACTOR_CATEGORIES, Evidence, assumed_length
from idp.policy.explain import explain_json
from idp.policy.load import ACTIONS
from idp.policy.model import PROOFING, CredentialFacts, Decision, EnrolledFactor, Facts, Policy
from idp.settings import ACCOUNT_CLIENT_ID, ADMIN_CLIENT_ID
from idp.storage import accounts, authenticators, clients
from idp.storage.accounts import Account
from idp.storage.engine import reading
from idp.web.admin import source
from idp.web.admin.guard import blueprint, page, record_view
from idp.web.admin.policy import in_force
from idp.web.admin.source import Line, Note, Run
from idp.web.language import gettext as _
from idp.web.progress import enrolled
from idp.web.services import services

TRANSACTION: Final = "explored"
"""What evidence of "this transaction" was made for."""
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "totp": ("restricted",),
    "passkey": ("user_verified", "phishing_resistant", "attested", "backup_eligible", "backed_up"),
    "certificate": ("user_verified", "phishing_resistant", "attested"),
    "mobile_id": ("user_verified", "phishing_resistant", "transaction_bound"),
}
"""Properties that evidence of a kind may or may not have; what codes have, they have always."""
_MOST_TEXT: Final = 512
_YEARS: Final = range(2000, 3000)
"""As in a file of cases: far from where reckoning with times ends."""
_MOST_MINUTES: Final = 525_600
_MOST_SECONDS: Final = 31_536_000


@dataclass(frozen=True, slots=True)
class Question:
    """The form as it was filled in, so that it can be shown again; times are minutes."""

    username: str = ""
    action: str = "sign_in"
    client: str = ""
    credential: str = ""
    scal: str = "2"
    qualifier: str = ""
    network: str = ""
    at: str = ""
    """``YYYY-MM-DDTHH:MM`` in UTC; empty: now."""
    groups: str = ""
    attributes: str = ""
    proofing: str = "substantial"
    acr_values: str = ""
    essential_acr: str = ""
    max_age: str = ""
    force: bool = False
    used: frozenset[str] = frozenset()
    bound: frozenset[str] = frozenset()
    has: frozenset[str] = frozenset()
    ages: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, frozenset[str]] = field(default_factory=dict)


_TEXTS: Final = (
    "username",
    "action",
    "client",
    "credential",
    "scal",
    "qualifier",
    "network",
    "at",
    "groups",
    "attributes",
    "proofing",
    "acr_values",
    "essential_acr",
    "max_age",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one policy says about the facts, and where in its file it says so."""

    policy: Policy
    decision: Decision
    explained: Mapping[str, Any]
    lines: tuple[Line, ...] | None
    """None: the file's text is not to be had."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """The lines, folded where nothing is said of them."""
        levels = self.explained["levels"]
        named = {level["line"] for level in levels}
        named |= {need["line"] for level in levels for way in level["any_of"] for need in way["all_of"]}
        return source.runs(self.lines or (), named)


def question_of(form: MultiDict[str, str]) -> Question:
    """What a form says; nothing of it is judged yet.

    :raises InputRefused: a field is longer than any that is meant.
    """
    if any(len(form.get(name, "")) > _MOST_TEXT for name in _TEXTS):
        raise InputRefused(_("One of the fields is too long."))
    blank = Question()
    texts = {name: form.get(name, getattr(blank, name)).strip() for name in _TEXTS}
    return Question(
        **texts,
        force="force" in form,
        used=_known(form, "used"),
        bound=_known(form, "bound"),
        has=_known(form, "has"),
        ages={factor: form.get(f"age_{factor}", "").strip() for factor in FACTOR_CATEGORIES},
        flags={factor: frozenset(form.getlist(f"flag_{factor}")) & set(known) for factor, known in CHOICES.items()},
    )


def _known(form: MultiDict[str, str], name: str) -> frozenset[str]:
    return frozenset(form.getlist(name)) & FACTOR_CATEGORIES.keys()


def facts_of(asked: Question, account: Account | None, now: datetime) -> Facts:
    """The facts that a question assumes.

    :param account: the person who was chosen; None: what the form says of groups, attributes and proofing counts.
    :raises InputRefused: a field is not of its form; the text is for the person.
    """
    at = _time(asked.at, now)
    bound = asked.action not in {"sign_in", *VISITS}
    factors = [] if account is None else list(_enrolled(account, bound=bound))
    present = {item.factor for item in factors}
    factors += [_assumed(asked, factor, bound=bound) for factor in FACTOR_CATEGORIES if factor in asked.has - present]
    return Facts(
        action=asked.action,
        evidence=tuple(_evidence(asked, at)),
        now=at,
        client_id=asked.client or None,
        groups=frozenset(_words(asked.groups)) if account is None else account.groups,
        attributes=_attributes(asked.attributes) if account is None else account.attributes,
        proofing=next((name for name in PROOFING if name == asked.proofing), "none")
        if account is None
        else account.proofing,
        credential=_credential(asked),
        network=_network(asked.network),
        transaction=TRANSACTION,
        acr_values=_words(asked.acr_values),
        essential_acr=_words(asked.essential_acr),
        max_age=_number(asked.max_age, _MOST_SECONDS),
        force_reauthentication=asked.force,
        enrolled=tuple(factors),
    )


def _enrolled(account: Account, *, bound: bool) -> tuple[EnrolledFactor, ...]:
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, account.id)
    return enrolled(owned, bound=bound)


def _assumed(asked: Question, factor: str, *, bound: bool) -> EnrolledFactor:
    flags = _flags(asked, factor, bound=bound)
    return EnrolledFactor(factor, FACTOR_CATEGORIES[factor], flags, channel=MESSAGES.get(factor))


def _flags(asked: Question, factor: str, *, bound: bool) -> frozenset[str]:
    return flags_of(factor, {}, bound=bound) if factor in MESSAGES else asked.flags.get(factor, frozenset())


def _evidence(asked: Question, at: datetime) -> Iterator[Evidence]:
    for factor, category in FACTOR_CATEGORIES.items():
        if factor in asked.used:
            bound = factor in asked.bound
            yield Evidence(
                factor=factor,
                authenticator_id=f"assumed-{factor}",
                category=category,
                at=at - timedelta(minutes=_number(asked.ages.get(factor, ""), _MOST_MINUTES) or 0),
                flags=_flags(asked, factor, bound=bound),
                channel=MESSAGES.get(factor),
                transaction=TRANSACTION if bound else None,
                min_length=assumed_length(factor),
            )


def _time(text: str, now: datetime) -> datetime:
    if not text:
        return now
    try:
        found = datetime.strptime(text[:16], "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
        if found.year not in _YEARS:
            raise ValueError("out of range")
        return found
    except ValueError as error:
        raise InputRefused(_("The time is written as 2026-03-02T10:00.")) from error


def _number(text: str, most: int) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > most:
        raise InputRefused(_("Ages and times are whole numbers, of at most a year."))
    return int(text)


def _network(text: str) -> str | None:
    if not text:
        return None
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise InputRefused(_("A network address is written as 192.0.2.7 or 2001:db8::7.")) from error


def _credential(asked: Question) -> CredentialFacts | None:
    if not asked.credential:
        return None
    return CredentialFacts(asked.credential, "1" if asked.scal == "1" else "2", asked.qualifier or None)


def _attributes(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for word in _words(text):
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise InputRefused(_("Attributes are written as name=value, with blanks between them."))
        found[name] = (*found.get(name, ()), value)
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


# The answer


def answer(policy: Policy, facts: Facts, text: str | None) -> Answer:
    """What a policy decides; each reason is noted at the line that it rests on."""
    decision = evaluate(policy, facts)
    notes: dict[int, list[Note]] = {}
    for reason in decision.reasons:
        notes.setdefault(reason.line, []).append(Note("reason", reason.text, reason.rule))
    lines = None if text is None else source.lines(text, notes)
    return Answer(policy, decision, explain_json(policy, facts, decision), lines)


def command(policy: Policy, facts: Facts) -> str:
    """The command that says the same (``privyseal policy explain``), as one types it into a shell."""
    words = ["privyseal", "policy", "explain", policy.file, "--action", facts.action]
    for item in facts.evidence:
        age = epoch(facts.now) - epoch(item.at)
        words += ["--evidence", _spelled(item.factor, item.flags, item.channel, age, item.transaction)]
    for factor in facts.enrolled:
        words += ["--enrolled", _spelled(factor.factor, factor.flags, factor.channel)]
    words += [part for group in sorted(facts.groups) for part in ("--group", group)]
    pairs = [f"{name}={value}" for name, values in sorted(facts.attributes.items()) for value in values]
    words += [part for pair in pairs for part in ("--attribute", pair)]
    words += ["--proofing", facts.proofing]
    if facts.client_id is not None:
        words += ["--client", facts.client_id]
    if facts.credential is not None:
        words += ["--credential", facts.credential.id, "--scal", facts.credential.scal]
        words += ["--qualifier", facts.credential.qualifier] if facts.credential.qualifier else []
    words += [] if facts.network is None else ["--network", facts.network]
    words += ["--at", f"{facts.now:%Y-%m-%dT%H:%M:%SZ}"]
    words += [part for uri in facts.acr_values for part in ("--acr", uri)]
    words += [part for uri in facts.essential_acr for part in ("--essential-acr", uri)]
    words += [] if facts.max_age is None else ["--max-age", str(facts.max_age)]
    words += ["--force"] if facts.force_reauthentication else []
    return shlex.join([*words, "--transaction", TRANSACTION])


def _spelled(
    factor: str, flags: frozenset[str], channel: str | None, age: int = 0, transaction: str | None = None
) -> str:
    parts = [factor]
    parts += [f"age={age}"] if age else []
    parts += [f"flags={'+'.join(sorted(flags))}"] if flags else []
    parts += [f"channel={channel}"] if channel else []
    parts += [f"for={transaction}"] if transaction else []
    return ",".join(parts)


# The page


@blueprint.get("/policy/explore")
def explore() -> Response:
    """The form; with a question in the address, its answer as well."""
    asked, notice, found, facts, account = Question(), "", None, None, None
    try:
        asked = question_of(request.args)
        account = person(asked.username)
        if request.args:
            facts = facts_of(asked, account, services().clock.now())
            found = answer(services().policy, facts, in_force().text)
    except InputRefused as error:
        notice = str(error)
    if account is not None:
        record_view("admin.policy.explore", subject=account.id)
    return page(
        "admin_explore.html",
        400 if notice else 200,
        asked=asked,
        notice=notice,
        facts=facts,
        found=found,
        person=account,
        command="" if facts is None else command(services().policy, facts),
        **choices(),
    )


def person(username: str) -> Account | None:
    """The person of a user name; None for nobody in particular.

    :raises InputRefused: there is nobody of that name.
    """
    if not username:
        return None
    found = by_username(username)
    if found is None:
        raise InputRefused(_("There is nobody of that user name."))
    return found


def by_username(username: str) -> Account | None:
    """The person of a user name as it was typed; PostgreSQL does not even look one up that has a NUL."""
    if "\0" in username or len(username) > _MOST_TEXT:
        return None
    with reading(services().engine) as connection:
        return accounts.find_by_username(connection, username)


def username_of(connection: Connection, account_id: str) -> str:
    """How somebody is called, for the pages."""
    found = accounts.find(connection, account_id)
    return account_id if found is None else found.username


def choices() -> dict[str, Any]:
    """What the form offers."""
    with reading(services().engine) as connection:
        known = clients.everyone(connection)
    policy = services().policy
    administration = {access.action for access in MATRIX.values()}
    return {
        "actions": sorted(ACTIONS | policy.actions | administration),
        "clients": [*(item.client_id for item in known), ACCOUNT_CLIENT_ID, ADMIN_CLIENT_ID],
        "factors": tuple(FACTOR_CATEGORIES),
        "factor_flags": CHOICES,
        "proofings": PROOFING,
        "uris": [uri for level in policy.levels for uri in level.acr],
    }
