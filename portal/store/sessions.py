"""Sessions of people who signed in, and authorization requests on their way.

The cookie holds a random token; rows hold its mark.  A browser of somebody who has not signed in has a cookie and no
row: a GET writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from portal.settings import KeepingSettings
from portal.store.seal import Sealer
from portal.store.tables import pending, sessions

_TOUCH_SECONDS = 30
"""How old the time of the last use may be: not every request writes."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which somebody is signed in."""

    browser: str
    owner: str
    """Mark of the subject: in rows it stands for the person."""
    owners: tuple[str, ...]
    """That, and those by former keys."""
    subject: str
    service_token: str = field(repr=False)
    used: int


def browser_mark(seal: Sealer, token: str) -> str:
    """What stands for a browser's cookie in rows."""
    return seal.mark("browser", token)


def owner_marks(seal: Sealer, subject: str) -> tuple[str, ...]:
    """What stands for a person in rows, and stood there under former keys."""
    return seal.marks("owner", subject)


def begin(
    connection: Connection,
    seal: Sealer,
    token: str,
    *,
    subject: str,
    service_token: str,
    now: int,
    keep: KeepingSettings,
) -> None:
    """Somebody signed in in the browser with this token."""
    browser = browser_mark(seal, token)
    value = {"subject": subject, "service_token": service_token}
    connection.execute(
        insert(sessions).values(
            browser=browser,
            owner=owner_marks(seal, subject)[0],
            sealed=seal.seal_json(value, "session", browser),
            began=now,
            used=now,
            until=now + keep.session_seconds,
        )
    )


def find(connection: Connection, seal: Sealer, token: str, now: int, keep: KeepingSettings) -> Session | None:
    """The live session of a browser."""
    browser = browser_mark(seal, token)
    row = connection.execute(select(sessions).where(sessions.c.browser == browser)).first()
    if row is None or now >= row.until or now - row.used >= keep.idle_seconds:
        return None
    value = seal.open_json(row.sealed, "session", browser)
    owners = owner_marks(seal, value["subject"])
    return Session(browser, row.owner, owners, value["subject"], value["service_token"], row.used)


def needs_touch(session: Session, now: int) -> bool:
    """Whether the time of the last use is to be written."""
    return now - session.used >= _TOUCH_SECONDS


def touch(connection: Connection, session: Session, now: int) -> None:
    """It was used."""
    connection.execute(update(sessions).where(sessions.c.browser == session.browser).values(used=now))


def hold(connection: Connection, session: Session) -> None:
    """Until the transaction ends nobody else gets past here for this person: what is counted then, stays."""
    # Nothing is changed: the person's other sessions, and those that are over, were not used by it.
    connection.execute(update(sessions).where(sessions.c.owner == session.owner).values(owner=session.owner))


def end(connection: Connection, seal: Sealer, token: str) -> None:
    """The session of a browser, if there is one, and what it had begun, are over."""
    browser = browser_mark(seal, token)
    connection.execute(delete(sessions).where(sessions.c.browser == browser))
    connection.execute(delete(pending).where(pending.c.browser == browser))


def remember(
    connection: Connection, seal: Sealer, token: str, state: str, value: dict[str, Any], *, until: int
) -> None:
    """Keep what belongs to an authorization request, for the answer with this state."""
    mark, browser = seal.mark("state", state), browser_mark(seal, token)
    sealed = seal.seal_json(value, "pending", mark, browser)
    connection.execute(insert(pending).values(state=mark, browser=browser, sealed=sealed, until=until))


def take(connection: Connection, seal: Sealer, token: str, state: str, now: int) -> dict[str, Any] | None:
    """What was kept for this state in this browser; a second answer finds nothing."""
    mark, browser = seal.mark("state", state), browser_mark(seal, token)
    where = (pending.c.state == mark, pending.c.browser == browser)
    row = connection.execute(select(pending).where(*where)).first()
    if row is None or not connection.execute(delete(pending).where(*where)).rowcount or now >= row.until:
        return None
    found: dict[str, Any] = seal.open_json(row.sealed, "pending", mark, browser)
    return found


def purge(connection: Connection, now: int, keep: KeepingSettings) -> int:
    """Delete what is over; how many rows."""
    over = connection.execute(delete(pending).where(pending.c.until <= now)).rowcount
    stale = (sessions.c.until <= now) | (sessions.c.used <= now - keep.idle_seconds)
    return over + connection.execute(delete(sessions).where(stale)).rowcount
