"""What this browser was in the middle of: a tab that was lost is found again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from idp.storage import interactions
from idp.storage.engine import reading
from idp.web import browser
from idp.web.interaction import BeginInteraction, Interaction
from idp.web.services import services

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An open interaction of this browser's session."""

    id: str
    asked: BeginInteraction
    until: datetime


def unfinished(besides: Interaction | None = None) -> tuple[Unfinished, ...]:
    """The latest ones, in which more is to be done than signing in; of those of the person who is signed in alone.

    Where only pages are opened there is nothing to go back to: the application asks again.

    :param besides: the one that is on this page.
    """
    session = browser.current()
    if session is None or (besides is not None and besides.stored.alone):
        return ()
    with reading(services().engine) as connection:
        rows = interactions.of_session(connection, services().seals, session.id, services().clock.now())
    found = [
        Unfinished(row.id, asked, row.expires_at)
        for row in rows
        if (besides is None or row.id != besides.id) and row.account_id in {None, session.account_id}
        if not (asked := BeginInteraction.from_json(row.request)).opens_pages and not asked.silent
    ]
    return tuple(found[:_SHOWN])
