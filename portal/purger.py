"""Deletes what has expired, every so often, for as long as the process lives."""

from __future__ import annotations

import threading

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from foundation import log
from portal.settings import KeepingSettings
from portal.store import documents, sessions
from portal.web.parts import Parts

_logger = log.get(__name__)


def purge(engine: Engine, now: int, keep: KeepingSettings) -> tuple[int, int]:
    """Delete what has expired: how many documents, how many sessions and requests."""
    with engine.begin() as connection:
        return documents.purge(connection, now), sessions.purge(connection, now, keep)


class Purger:
    """A thread that purges."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="purger", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until it has."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        keep = self._parts.settings.keeping
        while not self._over.is_set():
            try:
                purge(self._parts.engine, self._parts.now, keep)
            except SQLAlchemyError as error:
                _logger.warning("the purge failed", extra={"fields": {"code": type(error).__name__}})
            self._over.wait(keep.purge_seconds)
