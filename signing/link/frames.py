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
from foundation.sockets import wait_at_most
from signing.link.errors import LinkUnavailable, MessageInvalid

MAX_FRAME_OCTETS: Final = 1024 * 1024
"""Room for 100 RSA signatures or a certificate chain many times over."""

MAX_FOLLOWING_OCTETS: Final = 256 * 1024 * 1024
"""Octets after one request's frame."""
CHUNK_OCTETS: Final = 64 * 1024
"""How much is read at a time, and so how much of what follows is in memory."""

# Made once: json.dumps makes an encoder for each text.
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_LENGTH: Final = struct.Struct(">I")


def send_frame(link: socket.socket, message: Mapping[str, Any], deadline: float) -> None:
    """Send one message; ``deadline`` is a value of ``time.monotonic``.

    :raises MessageInvalid: it is larger than :data:`MAX_FRAME_OCTETS`.
    :raises LinkUnavailable: the deadline passed or the connection broke.
    """
    body = _ENCODE(message).encode()
    if len(body) > MAX_FRAME_OCTETS:
        raise MessageInvalid("the message is larger than a frame may be")
    try:
        _send(link, _LENGTH.pack(len(body)) + body, deadline)
    except OSError as error:
        raise LinkUnavailable("the message could not be sent") from error


def receive_frame(link: socket.socket, deadline: float) -> dict[str, Any] | None:
    """Receive one message, or ``None`` where the peer closed the connection between two of them.

    :raises MessageInvalid: too large, empty, not a JSON object in the strict form, or more than one frame.
    :raises LinkUnavailable: the deadline passed or the connection broke.
    """
    body = receive_octets(link, deadline)
    return None if body is None else message_of(body)


def receive_octets(link: socket.socket, deadline: float) -> bytes | None:
    """The octets of one message, from a peer that sends nothing after it before it is answered or asks again.

    :raises MessageInvalid: too large, empty, or more than one frame.
    :raises LinkUnavailable: the deadline passed or the connection broke.
    """
    incoming = Incoming(link)
    body = incoming.frame(deadline)
    if incoming.ahead:
        raise MessageInvalid("more octets than the frame has")
    return body


def message_of(body: bytes) -> dict[str, Any]:
    """:raises MessageInvalid: not a JSON object in the strict form."""
    try:
        return parse_json_object(body)
    except TokenMalformed as error:
        raise MessageInvalid("a frame that is not a JSON object") from error


class Incoming:
    """What comes from one peer: taken as it is there, so that a frame is one call of the system and not two."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._waits: float | None = None
        self.ahead = b""
        """What has come, and belongs to what follows: less than :data:`CHUNK_OCTETS`."""

    def arrives(self, seconds: float) -> bool:
        """Whether something comes within so long; False also where the peer has closed.

        :raises LinkUnavailable: the connection broke.
        """
        if self.ahead:
            return True
        if isinstance(self.link, ssl.SSLSocket):
            return bool(self.link.pending()) or _is_ready(self.link, select.POLLIN, seconds)
        try:
            self._wait_in_receiving(seconds)
            # Taken in by the call that waits for it: a second one would let other threads have Python's lock once more.
            self.ahead = self.link.recv(CHUNK_OCTETS)
        except BlockingIOError:
            return False
        except OSError as error:
            raise LinkUnavailable("the connection broke between two messages") from error
        return bool(self.ahead)

    def _wait_in_receiving(self, seconds: float) -> None:
        """Have the system end a wait of ``recv`` after so long; what is asked with MSG_DONTWAIT never waits."""
        if self._waits != seconds:
            self.link.settimeout(None)
            wait_at_most(self.link, seconds)
            self._waits = seconds

    def frame(self, deadline: float) -> bytes | None:
        """The octets of the next frame, or ``None`` where the peer closed the connection between two of them.

        :param deadline: for all of it; a value of ``time.monotonic``.
        :raises MessageInvalid: too large, or empty.
        :raises LinkUnavailable: the deadline passed or the connection broke.
        """
        head = self._at_least(_LENGTH.size, deadline)
        if head is None:
            return None
        (length,) = _LENGTH.unpack_from(head)
        if not 0 < length <= MAX_FRAME_OCTETS:
            raise MessageInvalid("a frame of a length that is not accepted")
        end = _LENGTH.size + length
        whole = self._at_least(end, deadline) or b""
        self.ahead = whole[end:]
        return whole[_LENGTH.size : end]

    def chunk(self, at_most: int, deadline: float) -> bytes:
        """Some of what comes; empty at its end.

        :raises LinkUnavailable: the deadline passed or the connection broke.
        """
        if not self.ahead:
            return _chunk(self.link, at_most, deadline)
        chunk, self.ahead = self.ahead[:at_most], self.ahead[at_most:]
        return chunk

    def _at_least(self, count: int, deadline: float) -> bytes | None:
        """What is ahead, with more read until it is that much; ``None`` where the peer has closed before any of it."""
        if len(self.ahead) >= count:
            return self.ahead
        buffer = bytearray(self.ahead)
        while len(buffer) < count:
            chunk = _chunk(self.link, CHUNK_OCTETS, deadline)
            if not chunk and buffer:
                raise LinkUnavailable("the connection ended within a frame")
            if not chunk:
                return None
            buffer += chunk
        self.ahead = bytes(buffer)
        return self.ahead


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

    def __init__(self, incoming: Incoming, octets: int, deadline: float) -> None:
        """:param deadline: a value of ``time.monotonic``."""
        self._incoming = incoming
        self._left = octets
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        """What has not been read yet.

        :raises LinkUnavailable: the deadline passed or the connection broke.
        """
        while self._left:
            chunk = self._incoming.chunk(min(self._left, CHUNK_OCTETS), self._deadline)
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
    _is_ready(link, until, _left(deadline))


def _is_ready(link: socket.socket, until: int, seconds: float) -> bool:
    poll = select.poll()
    try:
        poll.register(link, until)
    except ValueError as error:
        raise OSError("the socket is closed") from error
    return bool(poll.poll(seconds * 1000))


def _left(deadline: float) -> float:
    """Seconds until the deadline; never zero, which would make the socket non-blocking."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left
