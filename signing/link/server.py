"""The module's half of the link: accepts, checks who is there, reads a frame, calls a handler, answers.

It knows operations by name only and imports neither client nor module: it is given a table of handlers.  A thread a
connection, and a cap on both: where it is reached, a newcomer takes the place of the connection that has been without a
request for longest, and is turned away only where all are busy (DOS-08).
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from foundation import claims as read
from foundation import log
from foundation.errors import JoseError, PrivySealError
from signing.link.codes import BAD_REQUEST, BUSY, DETAILS, INDETERMINATE
from signing.link.doors import SocketSettings, TlsSettings, door_of, shut
from signing.link.errors import LinkUnavailable, MessageInvalid, PeerRefused
from signing.link.frames import MAX_FOLLOWING_OCTETS, Following, Incoming, message_of, send_frame

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]
StreamHandler = Callable[[Mapping[str, Any], Iterable[bytes]], Mapping[str, Any]]
"""Takes what follows the request too, as it comes."""


class Handed(dict[str, Any]):
    """An answer whose maker is told what became of it."""

    def __init__(self, answer: Mapping[str, Any], become: Callable[[bool], None]) -> None:
        """:param become: called once: True where all of the answer went out, and the peer was there for it."""
        super().__init__(answer)
        self.become = become


_PLACE_SECONDS: Final = 0.5
"""How long a newcomer waits for the place of an idle connection that was told to end."""
_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class FollowingLimits:
    """Bounds of what follows requests."""

    seconds: float = 60.0
    """For all of it to arrive."""
    at_once: int = 16
    """Requests at a time; what one of them holds in memory is its handler's to bound."""


@dataclass(slots=True)
class _Connection:
    """A connection that is being served."""

    thread: threading.Thread
    idle_since: float | None
    """Value of ``time.monotonic``; ``None`` while a request is in progress, and once it was told to end."""
    known: bool = False
    """Whether it was found out who is there; before that, it is the first to make room."""
    told: bool = False
    """Whether it was told to end, from this side."""


class LinkServer:
    """Serves one socket, or one port, until stopped."""

    def __init__(
        self,
        settings: SocketSettings | TlsSettings,
        handlers: Mapping[str, Handler],
        stream_handlers: Mapping[str, StreamHandler] | None = None,
        following: FollowingLimits | None = None,
    ) -> None:
        """:raises SettingsError: the files of TLS cannot be used."""
        self._settings = settings
        self._door = door_of(settings)
        self._handlers = dict(handlers)
        self._stream_handlers = dict(stream_handlers or {})
        self._limits = following or FollowingLimits()
        self._following = threading.BoundedSemaphore(self._limits.at_once)
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._connections: dict[socket.socket, _Connection] = {}
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._stopping = threading.Event()
        self._told = -math.inf
        self._untold = 0

    def start(self) -> None:
        """Bind and serve from threads of its own.

        :raises SocketInUse: another process serves this socket or port, or the path is something else.
        """
        self._listener = self._door.open()
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), name="link-accept")
        self._acceptor.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Accept no more, let requests that are being answered finish, close."""
        self._stopping.set()
        if self._listener is None or self._acceptor is None:
            return
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self._door.close()
        deadline = time.monotonic() + timeout_seconds
        with self._lock:
            open_ones = dict(self._connections)
        for connection in open_ones:
            shut(connection)
        for served in open_ones.values():
            served.thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _address = listener.accept()
            except OSError:
                if self._stopping.is_set():
                    return
                # Out of descriptors, most likely: what is open will be closed; do not spin.
                _log.error("a connection could not be accepted")
                self._stopping.wait(0.1)
                continue
            try:
                link = self._door.receive(connection)
            except OSError:
                connection.close()
                continue
            if not self._admit(link):
                self._turn_away(link)

    def _admit(self, connection: socket.socket) -> bool:
        """Serve a connection; False where there is no place for it, or no thread to be had."""
        thread = threading.Thread(target=self._serve, args=(connection,), name="link-connection", daemon=True)
        with self._lock:
            if self._full() and self._end_longest_idle():
                self._left.wait_for(lambda: not self._full(), _PLACE_SECONDS)
            if self._full():
                return False
            self._connections[connection] = _Connection(thread, time.monotonic())
        try:
            thread.start()
        except RuntimeError:
            # Out of threads: what is open will be closed, and the next one may have more luck.
            _log.error("no thread could be started for a connection")
            self._forget(connection)
            return False
        return True

    def _full(self) -> bool:
        return len(self._connections) >= self._settings.max_connections

    def _end_longest_idle(self) -> bool:
        """Under the lock; False where all are busy.

        A request that has arrived meanwhile is still answered; then the connection ends.
        """
        idle = {
            link: (served.known, served.idle_since)
            for link, served in self._connections.items()
            if served.idle_since is not None
        }
        if not idle:
            return False
        link = min(idle, key=lambda each: idle[each])
        self._connections[link].idle_since = None
        self._connections[link].told = True
        shut(link)
        return True

    def _mark(self, connection: socket.socket, idle_since: float | None) -> None:
        with self._lock:
            self._connections[connection].idle_since = idle_since

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)
            self._left.notify_all()

    def _turn_away(self, connection: socket.socket) -> None:
        with contextlib.suppress(LinkUnavailable), contextlib.closing(connection):
            if self._door.tells_strangers():
                send_frame(connection, _refusal(BUSY), time.monotonic() + 0.1)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.closing(connection):
                self._door.check(connection, time.monotonic() + self._settings.frame_seconds)
                self._know(connection)
                incoming = Incoming(connection)
                while self._request(incoming):
                    pass
        except PeerRefused as refused:
            self._log_stranger(str(refused))
        except LinkUnavailable:
            # The peer is gone, or too slow: nobody is there to be told.
            _log.info("a connection of the link ended early")
        finally:
            self._forget(connection)

    def _know(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections[connection].known = True

    def _log_stranger(self, why: str) -> None:
        """A line a second: whoever can reach the door could fill the disk otherwise (DOS-05)."""
        now = time.monotonic()
        with self._lock:
            told, self._told = self._told, max(self._told, now)
            if now < told + 1.0:
                self._untold += 1
                self._told = told
                return
            more, self._untold = self._untold, 0
        _log.warning("somebody was turned away", extra={"fields": {"why": why, "unreported": more}})

    def _request(self, incoming: Incoming) -> bool:
        """Answer one request; False where there is no further one."""
        if not incoming.arrives(self._settings.idle_seconds):
            return False
        connection = incoming.link
        self._mark(connection, None)
        try:
            body = incoming.frame(time.monotonic() + self._settings.frame_seconds)
            message = None if body is None else message_of(body)
        except MessageInvalid:
            # Where the next frame would begin is not known: answer, and close.
            send_frame(connection, _refusal(BAD_REQUEST), time.monotonic() + self._settings.frame_seconds)
            return False
        if message is None:
            return False
        try:
            following = self._what_follows(incoming, message)
        except JoseError:
            send_frame(connection, _refusal(BAD_REQUEST), time.monotonic() + self._settings.frame_seconds)
            return False
        answer = self._answer(message, following)
        handed = answer.get("ok")
        written = False
        try:
            if following is None:
                # Before the answer goes out: whoever has it may expect that the connection counts as idle.
                self._mark(connection, time.monotonic())
            if isinstance(handed, Handed) and self._is_left(connection):
                # What is sent to one that has gone may still be taken by this side of the connection.
                raise LinkUnavailable("the peer did not wait for its answer")
            written = self._send(connection, answer)
        finally:
            if isinstance(handed, Handed):
                handed.become(written)
        if following is not None:
            following.drain()
            self._mark(connection, time.monotonic())
        return not self._stopping.is_set()

    def _is_left(self, connection: socket.socket) -> bool:
        """Whether the peer has closed its side; not known of one that was told to end.

        On a Unix socket sending tells: what the peer cannot receive any more, the system does not take.
        """
        if connection.family == socket.AF_UNIX:
            return False
        with self._lock:
            told = self._stopping.is_set() or self._connections[connection].told
        return not told and _is_half_closed(connection)

    def _send(self, connection: socket.socket, answer: Mapping[str, Any]) -> bool:
        """False where it was not the answer that was sent."""
        try:
            send_frame(connection, answer, time.monotonic() + self._settings.frame_seconds)
        except MessageInvalid:
            _log.error("an answer is larger than a frame may be")
            send_frame(connection, _refusal(BAD_REQUEST), time.monotonic() + self._settings.frame_seconds)
            return False
        return True

    def _what_follows(self, incoming: Incoming, message: Mapping[str, Any]) -> Following | None:
        """:raises JoseError: it is not said how many octets those are."""
        if "octets" not in message:
            return None
        octets = read.integer(message, "octets", low=1, high=MAX_FOLLOWING_OCTETS)
        return Following(incoming, octets, time.monotonic() + self._limits.seconds)

    def _answer(self, message: Mapping[str, Any], following: Following | None) -> dict[str, Any]:
        try:
            read.check_members(message, {"op", "body"}, {"octets"})
            operation = read.text(message, "op", max_length=64)
            body = read.mapping(message, "body")
        except JoseError:
            return _refusal(BAD_REQUEST)
        if following is not None:
            return self._answer_stream(operation, body, following)
        handler = self._handlers.get(operation)
        return _refusal(BAD_REQUEST) if handler is None else _answered(operation, lambda: handler(body))

    def _answer_stream(self, operation: str, body: Mapping[str, Any], following: Following) -> dict[str, Any]:
        handler = self._stream_handlers.get(operation)
        if handler is None:
            return _refusal(BAD_REQUEST)
        if not self._following.acquire(blocking=False):
            return _refusal(BUSY)
        try:
            return _answered(operation, lambda: handler(body, following))
        finally:
            self._following.release()


def _answered(operation: str, call: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    try:
        return {"ok": call()}
    except LinkUnavailable:
        # The peer's own connection: there is nobody to answer.
        raise
    except PrivySealError as error:
        return _refusal(_code_of(error, operation))


def _code_of(error: PrivySealError, operation: str) -> str:
    if error.code in DETAILS:
        return error.code
    # No code of the link: what became of the request is not known here.
    _log.error("a request failed", extra={"fields": {"op": operation, "error": type(error).__name__}})
    return INDETERMINATE


def _refusal(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "detail": DETAILS[code]}}


def _is_half_closed(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))
