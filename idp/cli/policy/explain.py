"""``privyseal policy explain``: what a policy decides and why."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from idp.cli.policy.common import EXIT_DENY, EXIT_FOUND, EXIT_OK, Usage, add, unusable
from idp.policy.errors import PolicyLoadError
from idp.policy.evaluate import evaluate
from idp.policy.evidence import CATEGORIES, FACTOR_CATEGORIES, SELF, Category, Evidence
from idp.policy.explain import explain, explain_json
from idp.policy.load import load_policy
from idp.policy.model import PROOFING, CredentialFacts, EnrolledFactor, Facts

_OUTCOMES: Final = {"allow": EXIT_OK, "step_up": EXIT_FOUND, "deny": EXIT_DENY}

_FACTOR_FORM: Final = """FACTOR is a factor's name, followed by details after commas:
  age=SECONDS        how long ago (evidence only; 0 unless given)
  flags=A+B          properties, such as phishing_resistant+user_verified
  issuer=NAME        who vouches (self unless given)
  category=NAME      only for 'upstream', which has none of its own
  for=TRANSACTION    the transaction it was made for (evidence only)
"""


def add_command(commands: Any) -> None:
    """Add ``explain``."""
    command = add(
        commands,
        "explain",
        "show what a policy decides and why",
        description="Show what a policy decides for an action, and the lines that it rests on.",
        epilog=_FACTOR_FORM,
    )
    _explain_arguments(command)
    command.set_defaults(run=_explain)


def _explain_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--action", required=True, help="for example signature.activate")
    command.add_argument("--evidence", action="append", default=[], metavar="FACTOR", help="what was used; repeatable")
    command.add_argument(
        "--enrolled", action="append", default=[], metavar="FACTOR", help="what the person could use; repeatable"
    )
    command.add_argument("--client", metavar="ID", help="the relying party")
    command.add_argument("--group", action="append", default=[], help="a group of the person; repeatable")
    command.add_argument("--proofing", choices=PROOFING, default="none", help="of the person's identity")
    command.add_argument("--credential", metavar="ID", help="the signing credential; needs --scal")
    command.add_argument("--scal", choices=("1", "2"), help="the credential's sole control assurance level")
    command.add_argument("--qualifier", help="the credential's qualifier, such as eu_eidas_qes")
    command.add_argument("--transaction", metavar="ID", help="the transaction to decide")
    command.add_argument("--acr", action="append", default=[], metavar="URI", help="asked for; repeatable, in order")
    command.add_argument(
        "--essential-acr", action="append", default=[], metavar="URI", help="insisted on; repeatable, in order"
    )
    command.add_argument("--max-age", type=int, metavar="SECONDS", help="as in an OpenID Connect request")
    command.add_argument("--force", action="store_true", help="a new authentication is asked for (prompt=login)")


def _explain(options: argparse.Namespace) -> int:
    try:
        policy = load_policy(options.file)
    except PolicyLoadError as error:
        return unusable(error, as_json=options.json)
    facts = _facts(options, options.clock.now())
    decision = evaluate(policy, facts)
    if options.json:
        print(json.dumps(explain_json(policy, facts, decision), indent=2))
    else:
        print(explain(policy, facts, decision))
    return _OUTCOMES[decision.outcome]


def _facts(options: argparse.Namespace, now: datetime) -> Facts:
    credential = None
    if options.credential is not None:
        if options.scal is None:
            raise Usage("--credential needs --scal")
        credential = CredentialFacts(options.credential, options.scal, options.qualifier)
    elif options.scal is not None or options.qualifier is not None:
        raise Usage("--scal and --qualifier need --credential")
    return Facts(
        action=options.action,
        evidence=tuple(_evidence(text, position, now) for position, text in enumerate(options.evidence, 1)),
        now=now,
        client_id=options.client,
        groups=frozenset(options.group),
        proofing=options.proofing,
        credential=credential,
        transaction=options.transaction,
        acr_values=tuple(options.acr),
        essential_acr=tuple(options.essential_acr),
        max_age=options.max_age,
        force_reauthentication=options.force,
        enrolled=tuple(_enrolled(text) for text in options.enrolled),
    )


def _evidence(text: str, position: int, now: datetime) -> Evidence:
    factor, details = _details(text, {"age", "flags", "issuer", "category", "for"})
    try:
        at = now - timedelta(seconds=int(details.get("age", "0")))
    except (ValueError, OverflowError) as error:
        raise Usage(f"'{text}': age is a number of seconds") from error
    return Evidence(
        factor=factor,
        authenticator_id=f"argument-{position}",
        category=_category(factor, details),
        at=at,
        issuer=details.get("issuer", SELF),
        flags=_flags(details),
        transaction=details.get("for"),
    )


def _enrolled(text: str) -> EnrolledFactor:
    factor, details = _details(text, {"flags", "issuer", "category"})
    return EnrolledFactor(factor, _category(factor, details), _flags(details), details.get("issuer", SELF))


def _details(text: str, known: set[str]) -> tuple[str, dict[str, str]]:
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
