"""The state directory of a development installation: recognised by its marker, laid out by owner, removed with care.

Each trust domain has a folder that only its user can enter. What crosses between them (public keys, trust anchors)
lies in ``public``; the signature activation module's socket lies in ``run/link``, which the web tier's group may enter.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from launcher.accounts import ROLES, Account, Accounts, Role
from launcher.errors import StateRefusedError

MARKER = ".privyseal-development.json"
FORMAT = 1
MAX_SOCKET_PATH = 107
"""A Unix socket's path has 108 octets with its final NUL (unix(7))."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a state directory was made for; another run must agree, because ports and owners are in its files."""

    base_port: int
    separate_users: bool
    prepared: bool
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class State:
    """Paths below one state directory."""

    root: Path
    accounts: Accounts

    def home(self, role: Role) -> Path:
        """The folder that only a role's user can enter."""
        return self.root / role

    @property
    def public(self) -> Path:
        """Public keys and trust anchors, readable by all."""
        return self.root / "public"

    @property
    def signed(self) -> Path:
        """Where the walkthrough leaves signed documents."""
        return self.root / "signed"

    @property
    def logs(self) -> Path:
        """One log a service."""
        return self.root / "log"

    @property
    def link_socket(self) -> Path:
        """Where the web tier meets the signature activation module."""
        return self.root / "run" / "link" / "sam.sock"

    @property
    def admin_socket(self) -> Path:
        """The signature activation module's own socket for its operator."""
        return self.root / "run" / "admin" / "admin.sock"

    def log(self, service: str) -> Path:
        """A service's log."""
        return self.logs / f"{service}.log"

    def stamp(self) -> Stamp | None:
        """What the marker says; None where there is no state yet.

        :raises StateRefusedError: something else is there.
        """
        if not self.root.exists() or not any(self.root.iterdir()):
            return None
        marker = self.root / MARKER
        if self.root.is_symlink() or not marker.is_file() or marker.is_symlink():
            raise StateRefusedError(f"{self.root} is not empty and not of our making: choose another --state")
        try:
            return Stamp(**json.loads(marker.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise StateRefusedError(f"{marker} is damaged or of another version: remove {self.root} by hand") from error

    def mark(self, stamp: Stamp) -> None:
        """Write the marker, all or nothing."""
        draft = self.root / f"{MARKER}.new"
        draft.write_text(json.dumps(asdict(stamp)), encoding="utf-8")
        draft.replace(self.root / MARKER)

    def remove(self) -> None:
        """Remove the directory if it is ours; nothing happens where there is none.

        :raises StateRefusedError: it is not one of ours.
        """
        if self.stamp() is not None:
            shutil.rmtree(self.root)

    def make_folders(self) -> None:
        """Make the folders with their owners and modes.

        :raises StateRefusedError: a socket's path would be too long for the system, or the service users could not
            get to their folders.
        """
        self._check_reachable()
        for socket in (self.link_socket, self.admin_socket):
            if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
                raise StateRefusedError(f"{socket} is too long for a socket: choose a shorter --state")
        for folder in (self.root, self.public, self.logs, self.root / "run"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        for role in ROLES:
            self._folder(self.home(role), self.accounts.of(role), 0o700)
        self._folder(self.signed, self.accounts.of("dev"), 0o700)
        sam = self.accounts.of("sam")
        self._folder(self.admin_socket.parent, sam, 0o700)
        # The group's bit and the inherited group let the web tier, and nobody else, reach the socket.
        self._folder(self.link_socket.parent, Account(sam.name, sam.uid, self.accounts.of("web").gid), 0o2750)

    def _check_reachable(self) -> None:
        closed = [parent for parent in self.root.parents if parent.exists() and not parent.stat().st_mode & 0o001]
        if self.accounts.separate and closed:
            raise StateRefusedError(f"the service users cannot enter {closed[-1]}: choose another --state")

    def folder(self, path: Path, owner: Role) -> None:
        """Make a folder that only a role's user can enter."""
        self._folder(path, self.accounts.of(owner), 0o700)

    def _folder(self, folder: Path, owner: Account, mode: int) -> None:
        folder.mkdir(exist_ok=True)
        self._own(folder, owner)
        folder.chmod(mode)

    def _own(self, path: Path, owner: Account) -> None:
        if self.accounts.separate:
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)

    def write(self, path: Path, data: bytes, owner: Role, mode: int = 0o600) -> Path:
        """Write a file of a role's, replacing one that is there; owner and mode are right before it holds anything."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            self._own(path, self.accounts.of(owner))
            os.fchmod(descriptor, mode)
            handle.write(data)
        return path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory, so that no two supervisors run on it.

        :raises StateRefusedError: another one does.
        """
        self.root.parent.mkdir(parents=True, exist_ok=True)
        lock = self.root.with_name(f".{self.root.name}.lock")
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(lock, flags, 0o600), "wb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateRefusedError(f"another privyseal dev is running on {self.root}") from error
            yield
