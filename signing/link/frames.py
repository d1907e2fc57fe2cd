"""Frames: a length of four octets, big-endian, then so many octets of a JSON object.

A request may say with ``octets`` how many octets follow its frame, as they are: a file that is read as it comes.

Both halves of the link read with a deadline for the whole frame, not for each octet: a peer that drips cannot hold a
reader for longer (DOS-02).
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from foundation.errors import TokenMalformed
from foundation.jose import parse_json_object
from signing.link.errors import LinkUnavailable, MessageInvalid

MAX_FRAME_OCTETS: Final = 1024 * 1024
"""Room for 100 RSA signatures or a certificate chain many times over."""

MAX_FOLLOWING_OCTETS: Final = 256 * 1024 * 1024
"""Octets after one request's frame."""
CHUNK_OCTETS: Final = 64 * 1024
"""How much is read at a time, and so how much of what follows is in memory."""

_LENGTH: Final = struct.Struct(">I")


def send_frame(link: socket.socket, message: Mapping[str, Any], deadline: float) -> None:
    """Send one message; ``deadline`` is a value of ``time.monotonic``.

    :raises MessageInvalid: it is larger than :data:`MAX_FRAME_OCTETS`.
    :raises LinkUnavailable: the deadline passed or the connection broke.
    """
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_FRAME_OCTETS:
        raise MessageInvalid("the message is larger than a frame may be")
    try:
        _send(link, _LENGTH.pack(len(body)) + body, deadline)
    except OSError as error:
        raise LinkUnavailable("the message could not be sent") from error


def receive_frame(link: socket.socket, deadline: float) -> dict[str, Any] | None:
    """Receive one message, or ``None`` where the peer closed the connection between two of them.

    :raises MessageInvalid: too large, empty, or not a JSON object in the strict form.
    :raises LinkUnavailable: the deadline passed or the connection broke.
    """
    octets = receive_octets(link, deadline)
    if octets is None:
        return None
    try:
        return parse_json_object(octets)
    except TokenMalformed as error:
        raise MessageInvalid("a frame that is not a JSON object") from error


def receive_octets(link: socket.socket, deadline: float) -> bytes | None:
    """The same, as it came: what its octets are is not looked at.

    :raises MessageInvalid: too large or empty.
    :raises LinkUnavailable: the deadline passed or the connection broke.
    """
    head = _receive(link, _LENGTH.size, deadline)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if not 0 < length <= MAX_FRAME_OCTETS:
        raise MessageInvalid("a frame of a length that is not accepted")
    body = _receive(link, length, deadline)
    if body is None:
        raise LinkUnavailable("the connection ended within a frame")
    return body


def wait_for_frame(link: socket.socket, deadline: float) -> None:
    """Wait for something to receive, where it is known that there is nothing yet: that spares the look in vain.

    :raises LinkUnavailable: the deadline passed or the connection broke.
    """
    if _waits_by_itself(link):
        return
    try:
        _wait(link, select.POLLIN, deadline)
    except OSError as error:
        raise LinkUnavailable("no message came in time") from error


class Following:
    """The octets after a request's frame, read in chunks until a deadline for all of them."""

    def __init__(self, link: socket.socket, octets: int, deadline: float) -> None:
        """:param deadline: a value of ``time.monotonic``."""
        self._link = link
        self._left = octets
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        """What has not been read yet.

        :raises LinkUnavailable: the deadline passed or the connection broke.
        """
        while self._left:
            chunk = _chunk(self._link, min(self._left, CHUNK_OCTETS), self._deadline)
            if not chunk:
                raise LinkUnavailable("the connection ended within what follows a request")
            self._left -= len(chunk)
            yield chunk

    def drain(self) -> None:
        """Read what nobody wanted, so that the next frame is found.

        :raises LinkUnavailable: the deadline passed or the connection broke.
        """
        for _chunk_of_it in self:
            pass


def send_following(link: socket.socket, chunks: Iterable[bytes], octets: int, deadline: float) -> None:
    """Send what follows a request's frame.

    :raises MessageInvalid: the chunks are not that many octets together.
    :raises LinkUnavailable: the deadline passed or the connection broke.
    """
    left = octets
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        try:
            _send(link, chunk, deadline)
        except OSError as error:
            raise LinkUnavailable("what follows the request could not be sent") from error
    if left:
        raise MessageInvalid("what follows the request has another length")


def _receive(link: socket.socket, length: int, deadline: float) -> bytes | None:
    buffer = bytearray()
    while len(buffer) < length:
        chunk = _chunk(link, min(length - len(buffer), CHUNK_OCTETS), deadline)
        if not chunk:
            if buffer:
                raise LinkUnavailable("the connection ended within a frame")
            return None
        buffer += chunk
    return bytes(buffer)


def _chunk(link: socket.socket, at_most: int, deadline: float) -> bytes:
    try:
        if _waits_by_itself(link):
            link.settimeout(_left(deadline))
            return link.recv(at_most)
        while True:
            with suppress(BlockingIOError):
                return link.recv(at_most, socket.MSG_DONTWAIT)
            _wait(link, select.POLLIN, deadline)
    except OSError as error:
        raise LinkUnavailable("no message came in time") from error


def _send(link: socket.socket, data: bytes, deadline: float) -> None:
    if _waits_by_itself(link):
        link.settimeout(_left(deadline))
        link.sendall(data)
        return
    rest = memoryview(data)
    while rest:
        with suppress(BlockingIOError):
            rest = rest[link.send(rest, socket.MSG_DONTWAIT) :]
            continue
        _wait(link, select.POLLOUT, deadline)


def _waits_by_itself(link: socket.socket) -> bool:
    """Whether a socket is left to wait as Python's sockets do, which takes three calls of the system for each of ours.

    With TLS an octet that can be read is not yet one of the message.  Any other socket is asked at once and waited for
    only where it has nothing: each call lets another thread have Python's lock, and what was read is then waited for.
    """
    if isinstance(link, ssl.SSLSocket):
        return True
    if link.gettimeout() is not None:
        link.settimeout(None)
    return False


def _wait(link: socket.socket, until: int, deadline: float) -> None:
    poll = select.poll()
    try:
        poll.register(link, until)
    except ValueError as error:
        raise OSError("the socket is closed") from error
    poll.poll(_left(deadline) * 1000)


def _left(deadline: float) -> float:
    """Seconds until the deadline; never zero, which would make the socket non-blocking."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left
