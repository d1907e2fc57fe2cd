"""What this browser was in the middle of: a tab that was lost is found again."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    minutes: int
    """How many are left, begun ones included."""


def unfinished(besides: Interaction | None = None) -> tuple[Unfinished, ...]:
    """The latest ones, in which more is to be done than signing in; of those of the person who is signed in alone.

    Where only pages are opened there is nothing to go back to: the application asks again.

    :param besides: the one that is on this page.
    """
    session = browser.current()
    if session is None or (besides is not None and besides.stored.alone):
        return ()
    now = services().clock.now()
    with reading(services().engine) as connection:
        rows = interactions.of_session(connection, services().seals, session.id, now)
    found = [
        Unfinished(row.id, asked, math.ceil((row.expires_at - now).total_seconds() / 60))
        for row in rows
        if (besides is None or row.id != besides.id) and row.account_id in {None, session.account_id}
        if not (asked := BeginInteraction.from_json(row.request)).opens_pages and not asked.silent
    ]
    return tuple(found[:_SHOWN])
