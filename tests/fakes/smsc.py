"""An SMS centre on loopback that does as it is told, faults too: SMPP 3.4 read and written by hand.

It shares no code with the client.  ``tests/integration/test_kannel.py`` binds a real gateway's client to it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field

BIND_RECEIVER, BIND_TRANSMITTER, SUBMIT, DELIVER, UNBIND, BIND_TRANSCEIVER, ENQUIRE = 1, 2, 4, 5, 6, 9, 21
ANSWER = 0x80000000
HANG, DROP = -1, -2
"""Instead of a status: do not answer; close the connection."""


@dataclass(frozen=True)
class Submitted:
    """What a submit_sm said."""

    to: str
    sender: str
    numbering: tuple[int, int, int, int]
    """TON and NPI of sender and recipient."""
    octets: bytes
    data_coding: int
    esm_class: int
    validity: str
    receipt: int

    @property
    def text(self) -> str:
        """Without a header, as ASCII or UCS-2 or Latin-1."""
        body = self.octets[6:] if self.esm_class & 0x40 else self.octets
        return body.decode({0: "ascii", 3: "latin-1", 8: "utf-16-be"}[self.data_coding])


@dataclass
class Smsc:
    """Set what it is to do before, or while, clients are bound."""

    password: bytes = b"secret"
    tls: ssl.SSLContext | None = None
    statuses: list[int] = field(default_factory=list)
    """Of the next messages; 0 where there are no more."""
    receipt: bytes | None = None
    """``stat`` of a receipt after each message, such as ``DELIVRD``."""
    answers_enquiries: bool = True
    greeting: bytes = b""
    """Octets instead of the answer to a bind."""
    taken: list[Submitted] = field(default_factory=list)
    asked: list[Submitted] = field(default_factory=list)
    """Those that it did not take as well."""
    binds: int = 0
    enquiries: int = 0
    receipts_answered: int = 0
    happened: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Close everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Close every connection."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def wait_for(self, condition: object, seconds: float = 5) -> bool:
        """Until something has happened."""
        with self.happened:
            return self.happened.wait_for(condition, seconds)  # type: ignore[arg-type] # a callable

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self._connections.append(connection)
            while True:
                length, command, _status, sequence = struct.unpack(">4L", _exactly(connection, 16))
                self._handle(connection, command, sequence, _exactly(connection, length - 16))
        except (OSError, EOFError):
            connection.close()

    def _handle(self, connection: socket.socket, command: int, sequence: int, body: bytes) -> None:
        if command in {BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER}:
            _system, password = body.split(b"\0")[:2]
            self.binds += 1
            if self.greeting:
                connection.sendall(self.greeting)
                return
            _answer(connection, command, sequence, 0 if password == self.password else 0x0E, b"smsc\0")
        elif command == ENQUIRE:
            self.enquiries += 1
            if self.answers_enquiries:
                _answer(connection, command, sequence)
        elif command == UNBIND:
            _answer(connection, command, sequence)
            raise EOFError
        elif command == SUBMIT:
            self._submitted(connection, sequence, body)
        elif command == DELIVER | ANSWER:
            self.receipts_answered += 1
        with self.happened:
            self.happened.notify_all()

    def _submitted(self, connection: socket.socket, sequence: int, body: bytes) -> None:
        message = parse_submit(body)
        self.asked.append(message)
        status = self.statuses.pop(0) if self.statuses else 0
        if status == DROP:
            raise EOFError
        if status == HANG:
            return
        if status == 0:
            self.taken.append(message)
        reference = b"m%d" % len(self.taken)
        _answer(connection, SUBMIT, sequence, status, (reference if status == 0 else b"") + b"\0")
        if status == 0 and self.receipt is not None:
            text = b"id:%s sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 stat:%s err:000 text:123456"
            _deliver(connection, message, text % (reference, self.receipt))


def parse_submit(body: bytes) -> Submitted:
    """The body of a submit_sm (SMPP 3.4 4.4.1)."""
    _service, rest = body.split(b"\0", 1)
    from_ton, from_npi = rest[:2]
    sender, rest = rest[2:].split(b"\0", 1)
    to_ton, to_npi = rest[:2]
    to, rest = rest[2:].split(b"\0", 1)
    esm_class, rest = rest[0], rest[3:]
    _schedule, validity, rest = rest.split(b"\0", 2)
    receipt, _replace, coding, _default, length = rest[:5]
    octets, options = rest[5 : 5 + length], rest[5 + length :]
    while options:
        tag, size = struct.unpack(">HH", options[:4])
        if tag == 0x0424:
            octets = options[4 : 4 + size]
        options = options[4 + size :]
    numbering = (from_ton, from_npi, to_ton, to_npi)
    return Submitted(to.decode(), sender.decode(), numbering, octets, coding, esm_class, validity.decode(), receipt)


def _deliver(connection: socket.socket, message: Submitted, text: bytes) -> None:
    to, sender = message.sender.encode(), message.to.encode()
    fixed = bytes([4, 0, 0]) + b"\0\0" + bytes([0, 0, 0, 0, len(text)])
    body = b"\0\1\1" + sender + b"\0\1\1" + to + b"\0" + fixed + text
    connection.sendall(struct.pack(">4L", 16 + len(body), DELIVER, 0, 7) + body)


def _answer(connection: socket.socket, command: int, sequence: int, status: int = 0, body: bytes = b"") -> None:
    connection.sendall(struct.pack(">4L", 16 + len(body), command | ANSWER, status, sequence) + body)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found
