"""The situation that ``privyseal policy explain`` is asked about: from options, from a case, or from the database."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from idp.cli.policy.common import Usage, load_cases
from idp.policy.evidence import CATEGORIES, FACTOR_CATEGORIES, SELF, Category, Evidence, assumed_length
from idp.policy.explain import reason_line
from idp.policy.loading import one_line
from idp.policy.model import PROOFING, CredentialFacts, EnrolledFactor, Facts, Policy, Proofing
from idp.policy.upstream import UpstreamLogin, counted

FORM: Final = """FACTOR is a factor's name, followed by details after commas:
  age=SECONDS        how long ago (evidence only; 0 unless given)
  flags=A+B          properties, such as phishing_resistant+user_verified
  issuer=NAME        who vouches (self unless given)
  category=NAME      only for 'upstream', which has none of its own
  channel=NAME       how the secret travels
  attestation=NAME   the authenticator's make or model
  for=TRANSACTION    the transaction it was made for (evidence only)
  min_length=NUMBER  characters that a password was found to reach: below 15 it does not stand alone at a level of
                     NIST SP 800-63B r4 (evidence: 15 unless given; enrolled: not known unless given)

LOGIN is the issuer of a login at another identity provider, followed by what it says after commas: class=URI, acr=URI,
amr=A+B, age=SECONDS, for=TRANSACTION, and NAME=VALUE for attributes. The policy decides what it counts as.
"""

_NUMBER: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
_OF_BOTH: Final = frozenset({"flags", "issuer", "category", "channel", "attestation", "min_length"})
_OPTIONS: Final = (
    "evidence", "enrolled", "upstream", "client", "group", "attribute", "proofing", "network", "at", "credential",
    "scal", "qualifier", "transaction", "acr", "essential_acr", "max_age", "force", "config", "person",
)  # fmt: skip


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options that describe the situation."""
    many: dict[str, Any] = {"action": "append", "default": []}
    command.add_argument("--action", help="for example signature.activate; required unless there is --case")
    command.add_argument("--case", metavar="FILE#NAME", help="the situation of a case, and no other option of these")
    command.add_argument("--evidence", **many, metavar="FACTOR", help="what was used; repeatable")
    command.add_argument("--enrolled", **many, metavar="FACTOR", help="what the person could use; repeatable")
    command.add_argument("--upstream", **many, metavar="LOGIN", help="a login elsewhere; repeatable")
    command.add_argument("--client", metavar="ID", help="the relying party")
    command.add_argument("--group", **many, help="a group of the person; repeatable")
    command.add_argument("--attribute", **many, metavar="NAME=VALUE", help="of the person; repeatable")
    command.add_argument("--proofing", choices=PROOFING, help="of the person's identity; none unless given")
    command.add_argument("--network", metavar="ADDRESS", help="where the request comes from")
    command.add_argument("--at", metavar="TIME", help="when, with its zone: 2026-03-02T10:00:00Z; now unless given")
    command.add_argument("--credential", metavar="ID", help="the signing credential; needs --scal")
    command.add_argument("--scal", choices=("1", "2"), help="the credential's sole control assurance level")
    command.add_argument("--qualifier", help="the credential's qualifier, such as eu_eidas_qes")
    command.add_argument("--transaction", metavar="ID", help="the transaction to decide")
    command.add_argument("--acr", **many, metavar="URI", help="asked for; repeatable, in order")
    command.add_argument("--essential-acr", **many, metavar="URI", help="insisted on; repeatable, in order")
    command.add_argument("--max-age", type=int, metavar="SECONDS", help="as in an OpenID Connect request")
    command.add_argument("--force", action="store_true", help="a new authentication is asked for (prompt=login)")
    command.add_argument("--config", type=Path, metavar="FILE", help="idp.toml; goes with --person")
    command.add_argument(
        "--person", metavar="USERNAME", help="take groups, attributes, proofing and enrolled factors from the database"
    )


@dataclass(frozen=True, slots=True)
class _Person:
    """Whom the situation is about."""

    groups: frozenset[str]
    proofing: Proofing
    enrolled: tuple[EnrolledFactor, ...]
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts, and what became of logins elsewhere on the way to them."""

    facts: Facts
    logins: tuple[str, ...] = ()
    """For each, what it counts as and the line of the policy that says so."""


def situation(options: argparse.Namespace, policy: Policy) -> Situation:
    """What the options state.

    :raises Usage: they contradict one another, or one is not of its form.
    :raises PolicyLoadError: the cases file cannot be used.
    :raises PrivySealError: the database cannot be used, or does not know the person.
    """
    if options.case is not None:
        return Situation(_of_case(options, policy))
    if options.action is None:
        raise Usage("--action is required unless there is --case")
    now = _time(options.at) if options.at is not None else options.clock.now()
    used = tuple(_evidence(text, position, now) for position, text in enumerate(options.evidence, 1))
    logins = [_login(text, now) for text in options.upstream]
    found = [counted(policy, login, now) for login in logins]
    person = _known(options, now) if options.person is not None or options.config is not None else _described(options)
    facts = Facts(
        action=options.action,
        evidence=(*used, *(item for login in found for item in login.evidence)),
        now=now,
        client_id=options.client,
        groups=person.groups,
        attributes=person.attributes,
        proofing=person.proofing,
        credential=_credential(options),
        network=_network(options.network),
        transaction=options.transaction,
        acr_values=tuple(options.acr),
        essential_acr=tuple(options.essential_acr),
        max_age=options.max_age,
        force_reauthentication=options.force,
        enrolled=person.enrolled,
    )
    unknown = "{} is no identity provider of this policy: its login counts for nothing."
    words = (
        unknown.format(login.issuer) if item.reason is None else reason_line(item.reason)
        for login, item in zip(logins, found, strict=True)
    )
    return Situation(facts, tuple(words))


def _of_case(options: argparse.Namespace, policy: Policy) -> Facts:
    if options.action is not None or any(_given(getattr(options, name)) for name in _OPTIONS):
        raise Usage("--case states the whole situation: no other option of it goes with it")
    file, sign, name = options.case.partition("#")
    if not sign or not name:
        raise Usage("--case is a cases file and the name of a case: FILE#NAME")
    found = load_cases(Path(file)).named(one_line(name))
    if found is None:
        raise Usage(f"{file} has no case '{name}'")
    return found.facts_under(policy)


def _given(value: Any) -> bool:
    return value is not None and value is not False and value != []


def _described(options: argparse.Namespace) -> _Person:
    attributes: dict[str, tuple[str, ...]] = {}
    for text in options.attribute:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise Usage(f"'{text}': an attribute is NAME=VALUE")
        attributes[name] = (*attributes.get(name, ()), value)
    return _Person(
        frozenset(options.group),
        options.proofing or "none",
        tuple(_enrolled(text) for text in options.enrolled),
        attributes,
    )


def _known(options: argparse.Namespace, now: datetime) -> _Person:
    """As the database has them; nothing of it is printed but what the decision rests on."""
    if options.person is None or options.config is None:
        raise Usage("--config and --person go together")
    if options.group or options.attribute or options.enrolled or options.proofing:
        raise Usage("--person states groups, attributes, proofing and enrolled factors: they are not given beside it")
    from idp.authn import methods
    from idp.authn.roles import VISITS
    from idp.cli.people_view import proved_in
    from idp.cli.policy.database import enabled_factors, opened
    from idp.errors import UnknownAccount
    from idp.storage import accounts, authenticators, sessions
    from idp.storage.keys import KeyStore
    from idp.storage.seal import Sealer

    with opened(options.config) as (settings, connection):
        account = accounts.find_by_username(connection, options.person)
        if account is None:
            raise UnknownAccount("there is no account of that user name")
        seals = Sealer(KeyStore(connection.engine, settings.key_dir).secret)
        owned = authenticators.of_account(connection, seals, account.id)
        usable = [item for item in owned if item.usable(now)]
        bound = options.action != "sign_in" and options.action not in VISITS
        live = sessions.of_account(connection, seals, account.id, now, settings.session)
        enrolled = methods.enrolled(usable, enabled_factors(settings), bound=bound, proved=proved_in(live))
        return _Person(account.groups, account.proofing, enrolled, account.attributes)


def _credential(options: argparse.Namespace) -> CredentialFacts | None:
    if options.credential is None:
        if options.scal is not None or options.qualifier is not None:
            raise Usage("--scal and --qualifier need --credential")
        return None
    if options.scal is None:
        raise Usage("--credential needs --scal")
    return CredentialFacts(options.credential, options.scal, options.qualifier)


def _network(text: str | None) -> str | None:
    try:
        return None if text is None else str(ip_address(text))
    except ValueError as error:
        raise Usage(f"'{text}' is not the address of one machine") from error


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Usage(f"--at {text}: not a time, such as 2026-03-02T10:00:00Z") from error
    if found.tzinfo is None:
        raise Usage(f"--at {text}: a time needs its zone, such as Z for UTC")
    return found.astimezone(UTC)


def _login(text: str, now: datetime) -> UpstreamLogin:
    issuer, *parts = text.split(",")
    said: dict[str, tuple[str, ...]] = {}
    for part in parts:
        key, sign, value = part.partition("=")
        if not (key and sign and value):
            raise Usage(f"'{text}': '{part}' is not NAME=VALUE")
        said[key] = (*said.get(key, ()), value)
    known = {name: said.pop(name, ("",))[-1] for name in ("class", "acr", "amr", "age", "for")}
    return UpstreamLogin(
        issuer=issuer,
        subject="argument",
        auth_time=_ago(text, known["age"] or "0", now),
        class_ref=known["class"] or None,
        acr=known["acr"] or None,
        amr=frozenset(known["amr"].split("+")) - {""},
        attributes=said,
        transaction=known["for"] or None,
    )


def _ago(text: str, age: str, now: datetime) -> datetime:
    try:
        return now - timedelta(seconds=int(age))
    except (ValueError, OverflowError) as error:
        raise Usage(f"'{text}': age is a number of seconds") from error


def _evidence(text: str, position: int, now: datetime) -> Evidence:
    factor, details = _details(text, {*_OF_BOTH, "age", "for"})
    return Evidence(
        factor=factor,
        authenticator_id=f"argument-{position}",
        category=_category(factor, details),
        at=_ago(text, details.get("age", "0"), now),
        issuer=details.get("issuer", SELF),
        flags=_flags(details),
        channel=details.get("channel"),
        transaction=details.get("for"),
        attestation=details.get("attestation"),
        min_length=assumed_length(factor, _min_length(text, details)),
    )


def _enrolled(text: str) -> EnrolledFactor:
    factor, details = _details(text, _OF_BOTH)
    return EnrolledFactor(
        factor,
        _category(factor, details),
        _flags(details),
        details.get("issuer", SELF),
        details.get("channel"),
        details.get("attestation"),
        _min_length(text, details),
    )


def _min_length(text: str, details: dict[str, str]) -> int | None:
    stated = details.get("min_length")
    if stated is None:
        return None
    if not _NUMBER.fullmatch(stated):
        raise Usage(f"'{text}': min_length is a number of characters")
    return int(stated)


def _details(text: str, known: Set[str]) -> tuple[str, dict[str, str]]:
    factor, *parts = text.split(",")
    details: dict[str, str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key not in known or not value or key in details:
            raise Usage(f"'{text}': '{part}' is not one of {', '.join(sorted(known))} with a value, each once")
        details[key] = value
    return factor, details


def _category(factor: str, details: dict[str, str]) -> Category:
    named = details.get("category")
    for category in CATEGORIES:
        if category == named:
            return category
    own = FACTOR_CATEGORIES.get(factor)
    if named is not None or own is None:
        raise Usage(f"'{factor}' needs category={'|'.join(CATEGORIES)}, or is unknown")
    return own


def _flags(details: dict[str, str]) -> frozenset[str]:
    return frozenset(details["flags"].split("+")) if "flags" in details else frozenset()
