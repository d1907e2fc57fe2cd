"""``privyseal account``: people, what they sign in with, and how those begin who have nothing yet.

``privyseal idp account`` has those of these commands that were there first.  Whoever can run either has the machine,
the keys and the database: no second person is asked for here.  In the pages, two of the help desk reset somebody's
factors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from foundation.clock import Clock
from foundation.files import write_secret
from idp.authn.activation import Purpose
from idp.authn.resets import check_reason
from idp.cli import accounts, people_import, people_view
from idp.cli.common import EXIT_CODES, account_of, add, desk_of, run_command, transaction
from idp.errors import InputRefused, UnknownAccount
from idp.settings import IdpSettings

_MOST_HOURS: Final = 720


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run ``privyseal account <argv>``; returns the exit code."""
    return run_command(parser(), argv, clock)


def parser() -> argparse.ArgumentParser:
    """All commands."""
    made = argparse.ArgumentParser(
        prog="privyseal account",
        description="add people, see what they sign in with, activate, lock and unlock them",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    accounts.add_actions(commands)
    people_import.add_command(commands)
    people_view.add_commands(commands)
    activate = add(
        commands,
        "activate",
        _activate,
        "make a code with which a person sets a password and one further factor, once; the one before it ends",
    )
    activate.add_argument("--username", required=True)
    activate.add_argument(
        "--hours",
        type=int,
        choices=range(1, _MOST_HOURS + 1),
        metavar="HOURS",
        help="until it expires (default: activation.life_hours of the settings)",
    )
    activate.add_argument(
        "--code-file", type=Path, metavar="FILE", help="write the code to a new owner-only file, and do not print it"
    )
    _lock_commands(commands)
    factors = add(
        commands,
        "factors",
        _factors,
        "list what a person signs in with, masked, or disable some of it for good; that ends the sessions",
    )
    factors.add_argument("--username", required=True)
    factors.add_argument("--remove", action="append", default=[], metavar="ID", help="may be repeated")
    return made


def _lock_commands(commands: Any) -> None:
    lock = add(commands, "lock", accounts.set_status, "let a person do nothing any more; ends the person's sessions")
    unlock = add(
        commands,
        "unlock",
        accounts.set_status,
        "let a person sign in again; a factor that met too many wrong tries stays disabled, and has to be bound anew",
    )
    for command, status in ((lock, "disabled"), (unlock, "active")):
        command.add_argument("--username", required=True)
        command.add_argument("--reason", required=True, type=_reason, help="for the audit chain; nothing secret")
        command.set_defaults(status=status)


def _reason(text: str) -> str:
    try:
        return check_reason(text)
    except InputRefused as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _activate(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.desk import issue_code
    from idp.storage import authenticators
    from idp.storage.roles import COMMAND_LINE

    hours = options.hours or settings.activation.life_hours
    with transaction(settings) as (connection, seals):
        account = account_of(connection, options.username)
        if not account.active:
            raise InputRefused("the account is locked: unlock it first")
        had = authenticators.of_account(connection, seals, account.id)
        purpose: Purpose = "reset" if any(item.kind == "password" for item in had) else "bootstrap"
        desk = desk_of(settings, seals, connection, options.clock)
        life = timedelta(hours=hours)
        issued = issue_code(connection, desk, account.id, purpose=purpose, by=COMMAND_LINE, life=life)
        if options.code_file is not None:
            # Before it counts: a code that could not be written anywhere is not issued.
            write_secret(options.code_file, f"{issued.code.shown}\n".encode())
    shown = {"code": issued.code.shown} if options.code_file is None else {"code_file": str(options.code_file)}
    return {
        "account_id": account.id,
        "username": account.username,
        "purpose": purpose,
        "expires_at": issued.activation.expires_at.isoformat(),
        "address": f"{settings.issuer}/activate",
        **shown,
    }


def _factors(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.desk import disable_factors
    from idp.storage import authenticators, sessions
    from idp.storage.roles import COMMAND_LINE

    with transaction(settings) as (connection, seals):
        account = account_of(connection, options.username)
        owned = authenticators.of_account(connection, seals, account.id)
        if not options.remove:
            now = options.clock.now()
            proved = people_view.proved_in(sessions.of_account(connection, seals, account.id, now, settings.session))
            return {"username": account.username, "factors": people_view.factor_list(owned, now, proved)}
        enabled = {item.id: item for item in owned if not item.disabled}
        unknown = [given for given in options.remove if given not in enabled]
        if unknown:
            raise UnknownAccount(f"{account.username} has no enabled factor {', '.join(unknown)}")
        desk = desk_of(settings, seals, connection, options.clock)
        chosen = [enabled[given] for given in dict.fromkeys(options.remove)]
        ended = disable_factors(connection, desk, account.id, chosen, by=COMMAND_LINE, change="removed")
    return {
        "account_id": account.id,
        "username": account.username,
        "removed": [item.id for item in chosen],
        "sessions_ended": ended,
    }
