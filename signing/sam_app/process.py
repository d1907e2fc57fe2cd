"""Start, serve, end."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Final

from auditlog.chain import Fields
from foundation import log
from signing.link.server import Handler, LinkServer, SocketSettings
from signing.sam import events
from signing.sam.errors import SamError, StoreUnavailable
from signing.sam.reconcile import reconcile
from signing.sam.store import Record
from signing.sam_app.handlers import admin_handlers, public_handlers
from signing.sam_app.parts import Sam

PUBLIC_MODE: Final = 0o660
"""The web tier comes in by the group of the socket's directory; the kernel's word on its user is what counts."""
ADMIN_MODE: Final = 0o600
_ADMIN_CONNECTIONS: Final = 4
_ROOT: Final = 0

_log = log.get(__name__)


class SamProcess:
    """Two sockets and the reconciler."""

    def __init__(self, sam: Sam) -> None:
        settings, own = sam.settings, os.geteuid()
        public, admin = public_handlers(sam), admin_handlers(sam)
        web = {own} if settings.web_uid is None else {own, settings.web_uid}
        self._sam = sam
        self._public = LinkServer(
            SocketSettings(settings.socket, frozenset(web), PUBLIC_MODE, settings.max_connections),
            {**public, "ping": self._watched(public["ping"])},
        )
        self._admin = LinkServer(
            SocketSettings(settings.admin_socket, frozenset({own, _ROOT}), ADMIN_MODE, _ADMIN_CONNECTIONS),
            {**admin, "ping": self._watched(admin["ping"]), "status": self._with_reconciler(admin["status"])},
        )
        self._stopping = threading.Event()
        self._reconciler_ended = threading.Event()
        self._reconciler = threading.Thread(target=self._reconcile, name="reconciler")

    def start(self) -> None:
        """Write the start into the chain, then serve.

        :raises SamError: the chain cannot be written: nothing would be signed anyway.
        :raises SocketInUse: another process serves one of the sockets.
        """
        settings = self._sam.settings
        fields: Fields = {
            "sam_id": settings.sam_id,
            "realm": settings.realm,
            "epoch": self._sam.store.epoch().number,
            "mode": settings.mode,
        }
        self._sam.store.note(Record(events.SAM_STARTED, fields, self._sam.clock.now()))
        self._admin.start()
        try:
            self._public.start()
        except BaseException:
            self._admin.stop()
            raise
        self._reconciler.start()

    def stop(self, timeout_seconds: float = 15.0) -> None:
        """Let what is being signed finish; then end."""
        self._stopping.set()
        self._public.stop(timeout_seconds)
        self._admin.stop(1.0)
        self._reconciler.join()

    def _watched(self, ping: Handler) -> Handler:
        """Without its reconciler the module signs safely, but nobody would close what a crash left open."""

        def watched(body: Mapping[str, Any]) -> Mapping[str, Any]:
            if self._reconciler_ended.is_set():
                raise StoreUnavailable("the reconciler has ended")
            return ping(body)

        return watched

    def _with_reconciler(self, status: Handler) -> Handler:
        def with_reconciler(body: Mapping[str, Any]) -> Mapping[str, Any]:
            return {**status(body), "reconciler_running": not self._reconciler_ended.is_set()}

        return with_reconciler

    def _reconcile(self) -> None:
        try:
            self._reconcile_until_stopped()
        finally:
            if not self._stopping.is_set():
                self._reconciler_ended.set()
                _log.critical("the reconciler has ended")

    def _reconcile_until_stopped(self) -> None:
        settings = self._sam.settings
        while not self._stopping.wait(settings.reconcile_every_seconds):
            try:
                self._sam.revocations.refresh()
                reconcile(self._sam.store, self._sam.clock, settings.reservation_deadline_seconds)
            except SamError as error:
                # The next round finds what this one could not close.
                _log.error("the reconciler could not finish", extra={"fields": {"error": error.code}})
