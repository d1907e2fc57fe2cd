"""Who the processes run as: a system user for each trust domain when root starts them, else the one user there is."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import Literal

from launcher.errors import StateRefusedError

Role = Literal["idp", "web", "sam", "portal", "dev"]
ROLES: tuple[Role, ...] = ("idp", "web", "sam", "portal", "dev")
USERADD = "/usr/sbin/useradd"


@dataclass(frozen=True, slots=True)
class Account:
    """An operating-system user."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """The user of each role; ``separate`` says whether they differ."""

    by_role: dict[Role, Account]
    separate: bool

    def of(self, role: Role) -> Account:
        """The user of a role."""
        return self.by_role[role]


def system_user(role: Role) -> str:
    """Name of a role's system user."""
    return f"privyseal-{role}"


def resolve() -> Accounts:
    """The users to run as; makes the system users when root.

    :raises StateRefusedError: a user cannot be made.
    """
    if os.geteuid() == 0:
        return Accounts({role: _ensure(system_user(role)) for role in ROLES}, separate=True)
    entry = pwd.getpwuid(os.geteuid())
    own = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    return Accounts(dict.fromkeys(ROLES, own), separate=False)


def _ensure(name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        _create(name)
        entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise StateRefusedError(f"the system user {name} has user id 0: that separates nothing")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create(name: str) -> None:
    done = subprocess.run(
        [USERADD, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
         "--shell", "/usr/sbin/nologin", name],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise StateRefusedError(f"the system user {name} cannot be made: {done.stderr.strip()}")
