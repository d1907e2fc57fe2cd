"""``privyseal idp account``, and the same in ``privyseal account``: people and what they sign in with."""

from __future__ import annotations

import argparse
import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idp.authn import numbers
from idp.authn.password import KEY, Passwords
from idp.cli.common import account_of, add, database, desk_of, group, new_id, secret_text, transaction
from idp.errors import InputRefused
from idp.policy.model import PROOFING
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from idp.storage.seal import Sealer


def add_commands(commands: Any) -> None:
    """Add ``account ...``."""
    add_actions(group(commands, "account", "people; more is in `privyseal account`"))


def add_actions(account: Any) -> None:
    """Add what can be done with accounts."""
    _account_options(add(account, "create", _create_account, "add a person"))
    for name, status in (("disable", "disabled"), ("enable", "active")):
        command = add(account, name, set_status, f"{name} a person's account")
        command.add_argument("--username", required=True)
        command.set_defaults(status=status, reason="")
    groups = add(account, "set-groups", _set_groups, "replace a person's groups, which the policy's conditions look at")
    groups.add_argument("--username", required=True)
    some = groups.add_mutually_exclusive_group(required=True)
    some.add_argument("--group", action="append", default=[], help="may be repeated")
    some.add_argument("--none", action="store_true", help="the person is in no group")
    traits = add(
        account,
        "set-attributes",
        _set_attributes,
        "replace a person's attributes, which the policy's conditions look at",
    )
    traits.add_argument("--username", required=True)
    either_or = traits.add_mutually_exclusive_group(required=True)
    _attribute_option(either_or)
    either_or.add_argument("--none", action="store_true", help="the person has no attributes")
    secret = add(account, "set-password", _set_password, "bind another password; ends the person's sessions")
    secret.add_argument("--username", required=True)
    secret.add_argument("--password-file", type=Path, required=True, metavar="FILE", help="owner-only file")
    address = add(account, "set-address", _set_address, "bind another phone or mail address; ends the sessions")
    address.add_argument("--username", required=True)
    either = address.add_mutually_exclusive_group(required=True)
    either.add_argument("--phone", help="E.164 (+34...)")
    either.add_argument("--email")
    address.add_argument(
        "--wait-hours",
        type=int,
        choices=range(721),
        metavar="HOURS",
        help="before the new address counts, so that whoever took the account over has to wait "
        "(default: otp.address_wait_hours of the settings)",
    )


def _account_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--username", required=True)
    command.add_argument("--name", required=True, help="as a certificate's common name is to read")
    command.add_argument("--given-name")
    command.add_argument("--surname")
    command.add_argument("--country", help="two capital letters (ISO 3166-1)")
    command.add_argument("--serial-number", help="identifier for the certificate (ETSI EN 319 412-1 5.1.3)")
    command.add_argument("--locale")
    command.add_argument("--phone", help="for codes by text message, E.164 (+34...)")
    command.add_argument("--email", help="for codes by e-mail")
    command.add_argument(
        "--proofing", choices=PROOFING, default="none", help="how well the person was identified (default: %(default)s)"
    )
    command.add_argument("--group", action="append", default=[], help="for the policy's conditions; may be repeated")
    _attribute_option(command)
    command.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="owner-only file; without it the person sets one, with a code of `privyseal account activate`",
    )


def _attribute_option(command: Any, **more: Any) -> None:
    command.add_argument(
        "--attribute",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for the policy's conditions; may be repeated, also with the same name",
        **more,
    )


def _attributes(given: list[str]) -> dict[str, tuple[str, ...]]:
    """Each name with its values, in the order given.

    :raises InputRefused: one is not ``NAME=VALUE``.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise InputRefused(f"'{text}' is not NAME=VALUE")
        found[name] = (*found.get(name, ()), value)
    return found


# Commands


def _create_account(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import accounts, authenticators
    from idp.storage.audit import DatabaseAudit

    check_number(settings, options.phone)
    encoded = None if options.password_file is None else _hashed(settings, options)
    new = accounts.NewAccount(
        username=options.username,
        name=options.name,
        given_name=options.given_name,
        surname=options.surname,
        country=options.country,
        serial_number=options.serial_number,
        locale=options.locale,
        proofing=options.proofing,
        groups=tuple(options.group),
        attributes=_attributes(options.attribute),
    )
    now = options.clock.now()
    with transaction(settings) as (connection, seals):
        account = accounts.create(connection, new_id(), new, now)
        added = []
        for kind, address, secret in (
            ("password", None, encoded),
            ("sms_otp", options.phone, None),
            ("email_otp", options.email, None),
        ):
            if address is not None or secret is not None:
                authenticators.add(
                    connection,
                    seals,
                    authenticator_id=new_id(),
                    account_id=account.id,
                    kind=kind,
                    now=now,
                    address=address,
                    secret_hash=secret,
                )
                added.append(kind)
        DatabaseAudit(options.clock).record(
            connection, "account.created", account_id=account.id, proofing=account.proofing, authenticators=added
        )
    return {"account_id": account.id, "username": account.username, "authenticators": added}


def _hashed(settings: IdpSettings, options: argparse.Namespace) -> str:
    """A new password's hash; the policy may ask for a longer one than the settings."""
    from idp.policy.limits import password_limits
    from idp.policy.load import load_policy
    from idp.storage.keys import KeyStore

    limits = password_limits(settings.password, load_policy(settings.policy_file))
    with database(settings) as engine:
        key = KeyStore(engine, settings.key_dir).secret(KEY)
    person = (getattr(options, field, None) or "" for field in ("username", "name", "email"))
    about = (settings.service_name, *person)
    return Passwords(limits, key=key).hash(secret_text(options.password_file), about=about)


def _set_password(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    encoded = _hashed(settings, options)
    return _replace(settings, options, "password", secret_hash=encoded)


def _set_address(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    kind = "sms_otp" if options.phone is not None else "email_otp"
    check_number(settings, options.phone)
    hours = settings.otp.address_wait_hours if options.wait_hours is None else options.wait_hours
    return _replace(settings, options, kind, address=options.phone or options.email, wait_hours=hours)


def check_number(settings: IdpSettings, phone: str | None) -> None:
    """Refuse a number to which no message would ever be sent: somebody would find out who cannot sign in (OTP-07).

    :raises InputRefused: by ``otp.allowed_prefixes`` or ``otp.denied_prefixes``.
    """
    limits = settings.otp
    if phone is not None and numbers.refused(phone, allowed=limits.allowed_prefixes, denied=limits.denied_prefixes):
        raise InputRefused("no messages go to numbers that begin like this one (otp.allowed_prefixes, denied_prefixes)")


def _replace(
    settings: IdpSettings,
    options: argparse.Namespace,
    kind: str,
    *,
    address: str | None = None,
    secret_hash: str | None = None,
    wait_hours: int = 0,
) -> dict[str, Any]:
    from idp.desk import replace_factor
    from idp.storage.authenticators import NewAuthenticator

    not_before = options.clock.now() + timedelta(hours=wait_hours)
    with transaction(settings) as (connection, seals):
        account = account_of(connection, options.username)
        new = NewAuthenticator(
            new_id(), account.id, kind, address=address, secret_hash=secret_hash, not_before=not_before
        )
        ended, told = replace_factor(connection, desk_of(settings, seals, connection, options.clock), new)
    return {
        "account_id": account.id,
        "factor": kind,
        "not_before": not_before.isoformat(),
        "sessions_ended": ended,
        "notices": told,
    }


def _set_groups(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    return _describe(settings, options, groups=tuple(options.group))


def _set_attributes(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    return _describe(settings, options, attributes=_attributes(options.attribute))


def _describe(settings: IdpSettings, options: argparse.Namespace, **changes: Any) -> dict[str, Any]:
    """Replace what a policy's conditions look at; decisions from now on see it, sessions go on."""
    from idp.storage import accounts
    from idp.storage.audit import DatabaseAudit

    with transaction(settings) as (connection, _seals):
        account = account_of(connection, options.username)
        changed = accounts.describe(connection, account, **changes)
        # Names only: the values are about the person, and nothing is ever removed from the chain.
        DatabaseAudit(options.clock).record(
            connection,
            "account.described",
            account_id=account.id,
            groups=sorted(changed.groups),
            attributes=sorted(changed.attributes),
        )
    shown = {name: list(values) for name, values in changed.attributes.items()}
    return {"account_id": account.id, "groups": sorted(changed.groups), "attributes": shown}


def _revoke_code(connection: Connection, seals: Sealer, options: argparse.Namespace, account_id: str) -> None:
    """Whoever has the code of a locked account does not wait with it until the account is unlocked (ENR-01)."""
    from idp.storage import activations
    from idp.storage.audit import DatabaseAudit

    found = activations.waiting(connection, seals, account_id, options.clock.now())
    if activations.revoke(connection, account_id) and found is not None:
        DatabaseAudit(options.clock).record(
            connection,
            "activation.revoked",
            account_id=account_id,
            activation_id=found.id,
            purpose=found.purpose,
            cause="disabled",
        )


def set_status(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    """Lock or unlock a person; what they signed in with stays as it was, disabled or not."""
    from idp.desk import end_all_sessions
    from idp.storage import accounts, authenticators, grants
    from idp.storage.audit import DatabaseAudit
    from idp.storage.outbox import Outbox

    with transaction(settings) as (connection, seals):
        account = account_of(connection, options.username)
        # Before its sessions, as with whoever binds a factor.
        accounts.lock(connection, account.id)
        disabled, ended, outbox = options.status == "disabled", 0, Outbox(seals, options.clock, secrets.token_bytes)
        if disabled or not account.active:
            # Once more with the unlocking: what began in the moment of the lock would come back with it.
            ended = end_all_sessions(connection, outbox, account.id, options.clock.now())
            # What was granted in no session has none that ends: unlocking would bring it back.
            grants.revoke_subject(connection, account.id, options.clock.now())
        if disabled:
            outbox.account_disabled(connection, account.id)
            _revoke_code(connection, seals, options, account.id)
        accounts.set_status(connection, account.id, options.status)
        DatabaseAudit(options.clock).record(
            connection,
            "account.status_changed",
            account_id=account.id,
            status=options.status,
            sessions_ended=ended,
            **({"reason": options.reason} if options.reason else {}),
        )
        owned = authenticators.of_account(connection, seals, account.id)
    usable = {item.kind for item in owned if not item.disabled}
    return {
        "account_id": account.id,
        "status": options.status,
        "sessions_ended": ended,
        # Unlocking enables none of them again (NIST SP 800-63B r4 3.2.2).
        "to_be_bound_anew": sorted({item.kind for item in owned} - usable),
    }
