"""Start, serve, end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from auditlog.chain import Fields
from foundation import log
from foundation.addresses import split_address
from signing.link.doors import SocketSettings, TlsSettings
from signing.link.server import Handler, LinkServer
from signing.link.tls import TlsFiles
from signing.sam import events
from signing.sam.errors import SamError, ScdevUnavailable, StoreUnavailable
from signing.sam.reconcile import reconcile
from signing.sam.store import Record
from signing.sam_app.handlers import admin_handlers, public_handlers, stream_handlers
from signing.sam_app.parts import Sam

PUBLIC_MODE: Final = 0o660
"""The web tier comes in by the group of the socket's directory; the kernel's word on its user is what counts."""
ADMIN_MODE: Final = 0o600
_ADMIN_CONNECTIONS: Final = 4
_ROOT: Final = 0

_log = log.get(__name__)


class SamProcess:
    """Two sockets, a port where the web tier is on another host, the reconciler; who keeps the anchor, and signs."""

    def __init__(self, sam: Sam) -> None:
        settings, own = sam.settings, os.geteuid()
        public, admin = public_handlers(sam), admin_handlers(sam)
        web = {own} if settings.web_uid is None else {own, settings.web_uid}
        self._sam = sam
        public = {**public, "ping": self._watched(public["ping"])}
        doors: list[SocketSettings | TlsSettings] = [
            SocketSettings(settings.socket, frozenset(web), PUBLIC_MODE, settings.max_connections)
        ]
        if settings.tls is not None:
            files = TlsFiles(settings.tls.certificate, settings.tls.key, settings.tls.peers)
            doors.append(TlsSettings(*split_address(settings.tls.listen), files, settings.max_connections))
        self._public = tuple(LinkServer(door, public, stream_handlers(sam)) for door in doors)
        self._admin = LinkServer(
            SocketSettings(settings.admin_socket, frozenset({own, _ROOT}), ADMIN_MODE, _ADMIN_CONNECTIONS),
            {**admin, "ping": self._watched(admin["ping"]), "status": self._with_reconciler(admin["status"])},
        )
        self._stopping = threading.Event()
        self._keeper_ended = threading.Event()
        self._reconciler = threading.Thread(
            target=self._keep, args=(self._reconcile, settings.reconcile_every_seconds), name="reconciler"
        )
        self._anchorer = threading.Thread(
            target=self._keep, args=(self._anchor, settings.anchor_every_seconds), name="anchorer"
        )
        self._checkpointer = threading.Thread(
            target=self._keep, args=(self._checkpoint, settings.checkpoint_every_seconds), name="checkpointer"
        )

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
        try:
            self._sam.anchor.check()
        except ScdevUnavailable:
            _log.error("the anchor cannot be read yet; nothing is signed before")
        self._admin.start()
        try:
            for server in self._public:
                server.start()
        except BaseException:
            for server in (*self._public, self._admin):
                server.stop()
            raise
        self._reconciler.start()
        self._anchorer.start()
        self._checkpointer.start()

    def stop(self, timeout_seconds: float = 15.0) -> None:
        """Let what is being signed finish; then end."""
        self._stopping.set()
        for server in self._public:
            server.stop(timeout_seconds)
        self._admin.stop(1.0)
        self._reconciler.join()
        self._anchorer.join()
        self._checkpointer.join()
        for work in (self._sam.anchor.checkpoint, self._checkpoint):
            try:
                work()
            except SamError as error:
                _log.error("no checkpoint at the end", extra={"fields": {"error": error.code}})

    def _watched(self, ping: Handler) -> Handler:
        """Without reconciler and anchorer the module signs safely, but nobody would close what a crash left open, or
        notice a database that was set back.
        """

        def watched(body: Mapping[str, Any]) -> Mapping[str, Any]:
            if self._keeper_ended.is_set():
                raise StoreUnavailable("the reconciler or the anchorer has ended")
            return ping(body)

        return watched

    def _with_reconciler(self, status: Handler) -> Handler:
        def with_reconciler(body: Mapping[str, Any]) -> Mapping[str, Any]:
            return {**status(body), "reconciler_running": not self._keeper_ended.is_set()}

        return with_reconciler

    def _keep(self, work: Callable[[], None], every_seconds: float) -> None:
        """Do something every so often; should it end otherwise than with the process, say so."""
        try:
            while not self._stopping.wait(every_seconds):
                try:
                    work()
                except SamError as error:
                    # The next round does what this one could not.
                    fields = {"work": threading.current_thread().name, "error": error.code}
                    _log.error("what is done every so often could not be done", extra={"fields": fields})
        finally:
            if not self._stopping.is_set():
                self._keeper_ended.set()
                _log.critical("the %s has ended", threading.current_thread().name)

    def _reconcile(self) -> None:
        self._sam.answers.forget()
        reconcile(self._sam.store, self._sam.clock, self._sam.settings.reservation_deadline_seconds)
        # After what has to be closed: somebody who wrote a row that cannot be read ends the round with it.
        self._sam.revocations.refresh()

    def _checkpoint(self) -> None:
        self._sam.checkpoints.make()

    def _anchor(self) -> None:
        self._sam.anchor.check()
        self._sam.anchor.checkpoint()
        self._sam.orphans.sweep()
