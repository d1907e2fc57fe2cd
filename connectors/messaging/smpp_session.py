"""One bound connection to an SMS centre: one thread owns the socket, any number wait for answers, each with a deadline.

One thread, because a TLS connection must not be read and written by two at one time.  It answers ``enquire_link``,
asks it when the line is quiet, and takes the receipts.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.messaging.smpp_wire import BadPdu, Pdu, encode, frames, receipt_in, refusal
from connectors.ports.messaging import GatewayUnavailable, MessagingError, OutcomeUnknown, Receipt
from foundation import log

_MOST_RECEIPTS: Final = 10_000
_CHUNK: Final = 64 * 1024
_LAST_SEQUENCE: Final = 0x7FFFFFFF
_log = log.get(__name__)

Monotonic = Callable[[], float]


@dataclass(eq=False)
class _Asked:
    """A request that waits for its answer."""

    octets: bytes = field(repr=False)
    sequence: int
    done: threading.Event = field(default_factory=threading.Event)
    written: bool = False
    answer: Pdu | None = None


def bind(
    connection: socket.socket, command: str, parameters: Mapping[str, Any], monotonic: Monotonic, until: float
) -> bytearray:
    """Bind; returns what was read beyond the answer.

    :param command: ``bind_transceiver`` or ``bind_transmitter``.
    :param until: of the same clock as ``monotonic``: the whole dialogue ends by then.
    :raises OSError: no answer in time.  :raises BadPdu: no SMPP.  :raises MessagingError: refused.
    """
    buffer = bytearray()
    connection.settimeout(max(0.001, until - monotonic()))
    connection.sendall(encode(command, 1, **parameters))
    answer = _next(connection, buffer, monotonic, until)
    while answer.sequence != 1:
        answer = _next(connection, buffer, monotonic, until)
    error = refused(answer)
    if error is not None:
        raise error
    return buffer


def _next(connection: socket.socket, buffer: bytearray, monotonic: Monotonic, until: float) -> Pdu:
    while True:
        for pdu in frames(buffer):
            return pdu
        left = until - monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        received = connection.recv(_CHUNK)
        if not received:
            raise ConnectionResetError
        buffer += received


class Session:
    """A bound connection.  It is used until it breaks, and never mended: whoever needs one makes another."""

    def __init__(
        self,
        connection: socket.socket,
        buffer: bytearray,
        *,
        monotonic: Monotonic,
        timeout_seconds: float,
        quiet_seconds: float,
    ) -> None:
        """:param connection: bound; it belongs to this session from now on.

        :param buffer: what was read beyond the answer to the bind.
        :param timeout_seconds: for the centre's answer to ``enquire_link``, and for one write.
        :param quiet_seconds: after so long without a PDU the centre is asked whether it is there.
        """
        self._socket = connection
        self._buffer = buffer
        self._monotonic = monotonic
        self._timeout = timeout_seconds
        self._quiet = quiet_seconds
        self._lock = threading.Lock()
        self._sequence = 16
        self._outgoing: deque[_Asked] = deque()
        self._waiting: dict[int, _Asked] = {}
        self._receipts: deque[Receipt] = deque(maxlen=_MOST_RECEIPTS)
        self._alive = True
        self._enquired_at: float | None = None
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="smpp", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it can be used."""
        return self._alive

    def ask(self, command: str, until: float, **parameters: Any) -> Pdu:
        """Send a request and wait for its answer.

        :raises GatewayUnavailable: it was not sent.
        :raises OutcomeUnknown: it was, or may have been, and there was no answer in time.
        """
        with self._lock:
            if not self._alive:
                raise GatewayUnavailable("the connection to the SMS centre is closed")
            self._sequence = self._sequence % _LAST_SEQUENCE + 1
            asked = _Asked(encode(command, self._sequence, **parameters), self._sequence)
            self._waiting[asked.sequence] = asked
            self._outgoing.append(asked)
            os.write(self._wake, b"\0")
        asked.done.wait(max(0.0, until - self._monotonic()))
        with self._lock:
            self._waiting.pop(asked.sequence, None)
            if asked in self._outgoing:
                self._outgoing.remove(asked)
            if asked.answer is not None:
                return asked.answer
        if asked.written:
            raise OutcomeUnknown("the SMS centre did not answer")
        raise GatewayUnavailable("the message could not be sent to the SMS centre in time")

    def take_receipts(self) -> tuple[Receipt, ...]:
        """Those that came since."""
        found = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._receipts.popleft())
        return tuple(found)

    def close(self) -> None:
        """Unbind without waiting for the answer, and let go of the socket."""
        with self._lock:
            if self._alive:
                self._outgoing.append(_Asked(encode("unbind", 15), 15))
                self._alive = False
                os.write(self._wake, b"\0")
        self._thread.join(self._timeout + 1)

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                selector.register(self._woken, selectors.EVENT_READ)
                self._take_pdus()
                while self._alive:
                    self._round(selector)
                self._write_outgoing()  # the good-bye
        except (OSError, BadPdu) as error:
            _log.warning("the connection to the SMS centre ended", extra={"fields": {"cause": type(error).__name__}})
        finally:
            self._end()

    def _round(self, selector: selectors.BaseSelector) -> None:
        pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        heard = self._enquired_at is None
        ready = [] if pending else selector.select(self._quiet if heard else self._timeout)
        if not pending and not ready:
            self._enquire()
        if any(key.fd == self._woken for key, _ in ready):
            os.read(self._woken, 4096)
        if pending or any(key.fileobj is self._socket for key, _ in ready):
            self._read()
        elif self._enquired_at is not None and self._monotonic() - self._enquired_at > self._timeout:
            raise TimeoutError
        self._write_outgoing()

    def _enquire(self) -> None:
        if self._enquired_at is not None:
            raise TimeoutError
        self._enquired_at = self._monotonic()
        self._write(encode("enquire_link", 14))

    def _read(self) -> None:
        # Without waiting: TLS has records of its own, behind which nothing of ours need follow.
        self._socket.settimeout(0)
        try:
            received = self._socket.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not received:
            raise ConnectionResetError
        self._enquired_at = None
        self._buffer += received
        self._take_pdus()

    def _take_pdus(self) -> None:
        for pdu in frames(self._buffer):
            if pdu.command in {"submit_sm_resp", "generic_nack", "query_sm_resp"}:
                self._answered(pdu)
            elif pdu.command == "enquire_link":
                self._write(encode("enquire_link_resp", pdu.sequence))
            elif pdu.command == "deliver_sm":
                receipt = receipt_in(pdu)
                if receipt is not None:
                    self._receipts.append(receipt)
                self._write(encode("deliver_sm_resp", pdu.sequence))
            elif pdu.command == "unbind":
                self._write(encode("unbind_resp", pdu.sequence))
                raise ConnectionResetError

    def _answered(self, pdu: Pdu) -> None:
        with self._lock:
            asked = self._waiting.get(pdu.sequence)
        # One that came too late, or that nobody asked for, is nobody's: its number is not used again for long.
        if asked is not None:
            asked.answer = pdu
            asked.done.set()

    def _write_outgoing(self) -> None:
        while True:
            with self._lock:
                if not self._outgoing:
                    return
                asked = self._outgoing.popleft()
                asked.written = True
            self._write(asked.octets)

    def _write(self, octets: bytes) -> None:
        self._socket.settimeout(self._timeout)
        self._socket.sendall(octets)

    def _end(self) -> None:
        with self._lock:
            self._alive = False
            waiting = list(self._waiting.values())
            os.close(self._woken)
            os.close(self._wake)
        with contextlib.suppress(OSError):
            self._socket.close()
        for asked in waiting:
            asked.done.set()


def refused(pdu: Pdu) -> MessagingError | None:
    """Why a request was refused; None: it was not."""
    return None if pdu.status == 0 and pdu.command != "generic_nack" else refusal(pdu.status)
