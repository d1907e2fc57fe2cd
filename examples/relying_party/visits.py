"""What the site remembers of a visitor: in memory, found by the hash of a cookie; documents are files."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from examples.csc_client import Credential
from examples.errors import StepUpRequiredError
from examples.oauth_client import Pending, Tokens
from examples.pdf_signing import Verdict
from examples.ways import Order

IDLE_SECONDS = 3600.0
MAX_VISITS = 200
"""The oldest visit makes room; with 20 MB a document this bounds what the state folder holds."""


@dataclass(slots=True)
class Document:
    """The file a visitor handed in, and what became of it."""

    name: str
    """As shown to the signer; cleaned, without a path."""
    size: int
    path: Path
    shown_as: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """Under which name the identity provider fetches it."""
    signed_path: Path | None = None
    verdict: Verdict | None = None

    @property
    def signed_name(self) -> str:
        return f"{self.name.removesuffix('.pdf').removesuffix('.PDF')}-signed.pdf"


@dataclass(slots=True)
class Visit:
    """One browser's stay. Tokens and pending requests never leave the memory of this process."""

    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    tokens: Tokens | None = field(default=None, repr=False)
    pending: Pending | None = field(default=None, repr=False)
    document: Document | None = None
    credentials: tuple[Credential, ...] = ()
    credential_id: str | None = None
    order: Order | None = field(default=None, repr=False)
    step_up: StepUpRequiredError | None = None
    """What the signing service asked for, until a sign-in has met it."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    last_seen: float = 0.0

    @property
    def person(self) -> str:
        """A name to greet with, from the id_token; empty if it has none. `sub` is no name."""
        claims = self.tokens.claims if self.tokens else {}
        return str(claims.get("name") or claims.get("preferred_username") or "")

    @property
    def credential(self) -> Credential | None:
        return next((each for each in self.credentials if each.credential_id == self.credential_id), None)

    def take_pending(self) -> Pending | None:
        """The request whose answer has come; a second answer finds nothing."""
        with self.lock:
            pending, self.pending = self.pending, None
        return pending

    def drop_document(self) -> None:
        """Forget the document and delete its files."""
        if self.document is not None:
            self.document.path.unlink(missing_ok=True)
            if self.document.signed_path is not None:
                self.document.signed_path.unlink(missing_ok=True)
        self.document = self.order = None

    def forget_person(self) -> None:
        self.tokens, self.pending, self.order, self.credential_id, self.credentials = None, None, None, None, ()


class Visits:
    """All visits, and the folder with their documents."""

    def __init__(self, folder: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._visits: OrderedDict[str, Visit] = OrderedDict()
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Visits do not outlive the process, so neither do their documents.
        for left in folder.glob("*.pdf"):
            left.unlink()

    def find(self, cookie: str) -> Visit | None:
        """The visit of this cookie, if it is known and was not idle for too long."""
        now = self._monotonic()
        with self._lock:
            self._expire(now)
            visit = self._visits.get(_key(cookie))
            if visit is not None:
                visit.last_seen = now
                self._visits.move_to_end(_key(cookie))
        return visit

    def with_document(self, shown_as: str) -> Visit | None:
        """The visit whose document has this name for the identity provider, while it waits for an approval."""
        with self._lock:
            self._expire(self._monotonic())
            waiting = [each for each in self._visits.values() if each.document is not None and each.order is not None]
        return next((each for each in waiting if each.document and each.document.shown_as == shown_as), None)

    def add(self, visit: Visit) -> str:
        """Keep a visit; returns the cookie value under which it is found."""
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            visit.last_seen = self._monotonic()
            self._visits[_key(cookie)] = visit
            while len(self._visits) > MAX_VISITS:
                self._visits.popitem(last=False)[1].drop_document()
        return cookie

    def renew(self, cookie: str, visit: Visit) -> str:
        """A new cookie for the same visit; the old one is worth nothing any more."""
        with self._lock:
            self._visits.pop(_key(cookie), None)
        return self.add(visit)

    def new_path(self) -> Path:
        """An empty file of a name that nobody can guess, readable by this process's user only."""
        path = self._folder / f"{secrets.token_hex(16)}.pdf"
        path.touch(mode=0o600)
        return path

    def _expire(self, now: float) -> None:
        while self._visits:
            key, oldest = next(iter(self._visits.items()))
            if now - oldest.last_seen < IDLE_SECONDS:
                return
            del self._visits[key]
            oldest.drop_document()


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
