"""What has ended is forgotten once a minute by each process, beside a request that comes anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from foundation.log import get
from idp.web.services import Services

EVERY: Final = timedelta(minutes=1)
Purge = Callable[[Connection, datetime], object]

_log = get(__name__)


def tidy_sometimes(services: Services, what: str, purges: Iterable[Purge]) -> None:
    """Forget what has ended, where this process has not done so for a minute; nobody's request fails because of it.

    :param what: it is, as in the log: each has its own minute.
    """
    now, last = services.clock.now(), services.tidied.get(what)
    # A clock that was set back does not keep what has ended.
    if last is not None and timedelta() <= now - last < EVERY:
        return
    services.tidied[what] = now
    try:
        with services.engine.begin() as connection:
            for purge in purges:
                purge(connection, now)
    except OperationalError as error:
        # Two nodes that do so at once may get in each other's way: then one leaves it.
        _log.warning("ended %s were not purged", what, exc_info=error)
