"""The line between the supervisor and its processes: length-prefixed frames of byte fields over a socket pair.

A frame is its length (4 octets) and fields, each its length (4 octets) and octets; all big-endian.  The first field
names the operation or the kind of answer.  Nothing is deserialised into objects, so neither end can make the other
run anything.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

from foundation.sockets import wait_at_most
from signing.scdev.errors import FrameBroken

MAX_FRAME: Final = 4 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")


def pack(fields: Sequence[bytes]) -> bytes:
    """One frame."""
    parts = [b""]
    for field in fields:
        parts += (_LENGTH.pack(len(field)), field)
    body = b"".join(parts)
    return _LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> list[bytes]:
    """The fields of a frame's body; at least one.

    :raises FrameBroken: lengths do not add up.
    """
    fields: list[bytes] = []
    at = 0
    while at < len(body):
        if at + 4 > len(body):
            raise FrameBroken("a length is cut off")
        (length,) = _LENGTH.unpack_from(body, at)
        at += 4
        if at + length > len(body):
            raise FrameBroken("a field is cut off")
        fields.append(body[at : at + length])
        at += length
    if not fields:
        raise FrameBroken("an empty frame")
    return fields


def send(line: socket.socket, frame: bytes, seconds: float) -> None:
    """Send a frame that :func:`pack` made.

    :param seconds: for the whole frame.
    :raises TimeoutError: not in time.
    :raises OSError: the line failed.
    """
    until, rest = time.monotonic() + seconds, memoryview(frame)
    while rest:
        try:
            # At once, as a rule: a socket with a timeout would ask the system three times.
            rest = rest[line.send(rest, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            _wait(line, select.POLLOUT, until)


def receive(line: socket.socket, seconds: float | None = None) -> list[bytes]:
    """Wait for one whole frame.  Only one is ever under way: the protocol is question and answer.

    :param seconds: for the whole frame; None waits for ever.
    :raises FrameBroken: end of the line, or not a frame.
    :raises TimeoutError: not in time.
    :raises OSError: the line failed.
    """
    until = None if seconds is None else time.monotonic() + seconds
    data = b""
    wanted = _LENGTH.size
    while len(data) < wanted:
        chunk = _received(line, until)
        if not chunk:
            raise FrameBroken("the line was closed")
        data += chunk
        if len(data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data)
            if length > MAX_FRAME:
                raise FrameBroken("a frame above the limit")
            wanted = _LENGTH.size + length
    if len(data) != wanted:
        raise FrameBroken("more than one frame")
    return unpack(data[_LENGTH.size :])


def _received(line: socket.socket, until: float | None) -> bytes:
    """Some of what comes; empty at the end of the line.

    The system ends the wait: to wait first and receive then would let other threads have Python's lock twice.
    """
    wait_at_most(line, None if until is None else until - time.monotonic())
    try:
        return line.recv(65536)
    except BlockingIOError as error:
        raise TimeoutError("no frame in time") from error


def _wait(line: socket.socket, for_what: int, until: float) -> None:
    poll = select.poll()
    try:
        poll.register(line, for_what)
    except ValueError as error:
        raise OSError("the line is closed") from error
    if not poll.poll(max(until - time.monotonic(), 0.0) * 1000):
        raise TimeoutError("no frame in time")
