"""Wrong passwords of browsers in which the password was right before.  Who made none has no row here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from foundation.clock import epoch, from_epoch
from idp.authn.device import LIFETIME, BrowserStanding, after_failure
from idp.storage.models import device_failures
from idp.storage.statements import Statement

_C = device_failures.c
_BY_ID: Final = Statement(select(device_failures).where(_C.device_id == bindparam("browser")))


def standing(connection: Connection, device_id: str | None) -> BrowserStanding | None:
    """How a browser stands whose cookie was read; None for None, after the same question to the database (OTP-11)."""
    return standing_later(connection, device_id or "")(device_id)


def standing_later(connection: Connection, named: str) -> Callable[[str | None], BrowserStanding | None]:
    """The same, asked for with what comes next.

    :param named: the identifier that the cookie names.
    :returns: gives it for that identifier, once the cookie is believed, and None for None.
    """
    asked = _BY_ID.put_off(connection, {"browser": named})

    def found(device_id: str | None) -> BrowserStanding | None:
        row = asked().one_or_none()
        if device_id is None:
            return None
        if row is None or row.device_id != device_id:
            return BrowserStanding(device_id, 0, from_epoch(0))
        return BrowserStanding(row.device_id, row.failures, from_epoch(row.blocked_until))

    return found


def failed(connection: Connection, before: BrowserStanding, authenticator_id: str, now: datetime) -> None:
    """Count a wrong password.  The caller has locked the authenticator, so that no two count at one time."""
    after = after_failure(before, now)
    values = {"failures": after.failures, "blocked_until": epoch(after.blocked_until), "changed_at": epoch(now)}
    if before.failures:
        connection.execute(update(device_failures).where(_C.device_id == before.device_id).values(**values))
        return
    # No cookie lives longer than a failure that it made is remembered.
    connection.execute(delete(device_failures).where(_C.changed_at < epoch(now - LIFETIME)))
    connection.execute(
        insert(device_failures).values(device_id=before.device_id, authenticator_id=authenticator_id, **values)
    )
