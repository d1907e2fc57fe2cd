"""``privyseal idp role``: who administers.

Whoever can run these commands has the machine, the keys and the database of the identity provider: no second person
is asked for here.  In the pages, one operator proposes and another one confirms.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from idp.authn.roles import ROLES
from idp.cli.common import account_of, add, group, new_id, transaction
from idp.errors import InputRefused
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from idp.storage.accounts import Account


def add_commands(commands: Any) -> None:
    """Add ``role ...``."""
    role = group(commands, "role", "administrators")
    for name, run, text in (
        ("grant", _grant, "make a person an administrator of one kind"),
        ("revoke", _revoke, "take a role away, from the person's next request on"),
    ):
        command = add(role, name, run, text)
        command.add_argument("--username", required=True)
        command.add_argument("--role", required=True, choices=ROLES)
    add(role, "list", _list, "print who holds which role, since when and by whom")


def _grant(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import roles
    from idp.storage.audit import DatabaseAudit

    now = options.clock.now()
    with transaction(settings) as (connection, seals):
        account = account_of(connection, options.username)
        if not account.active:
            raise InputRefused("the account is disabled")
        given = roles.grant(
            connection,
            seals,
            grant_id=new_id(),
            account_id=account.id,
            role=options.role,
            by=roles.COMMAND_LINE,
            now=now,
        )
        if not given:
            raise InputRefused(f"{account.username} holds the role {options.role} already")
        DatabaseAudit(options.clock).record(
            connection, "role.granted", account_id=account.id, role=options.role, by=roles.COMMAND_LINE
        )
    return {"account_id": account.id, "username": account.username, "role": options.role, "status": "granted"}


def _revoke(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import roles
    from idp.storage.audit import DatabaseAudit

    with transaction(settings) as (connection, _seals):
        account = account_of(connection, options.username)
        if not roles.revoke(connection, account.id, options.role, options.clock.now()):
            raise InputRefused(f"{account.username} does not hold the role {options.role}")
        DatabaseAudit(options.clock).record(
            connection, "role.revoked", account_id=account.id, role=options.role, by=roles.COMMAND_LINE
        )
    return {"account_id": account.id, "username": account.username, "role": options.role, "status": "revoked"}


def _list(settings: IdpSettings, _options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import accounts, roles

    with transaction(settings) as (connection, seals):
        found = roles.everyone(connection, seals)
        names = {item.account_id: accounts.find(connection, item.account_id) for item in found}
    return {
        "roles": [
            {
                "username": _name(names[item.account_id], item.account_id),
                "role": item.role,
                "since": f"{item.since:%Y-%m-%dT%H:%M:%SZ}",
                "granted_by": item.granted_by,
            }
            for item in found
        ]
    }


def _name(account: Account | None, account_id: str) -> str:
    return account_id if account is None else account.username
