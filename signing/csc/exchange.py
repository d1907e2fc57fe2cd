"""One request over HTTP and its reply, straight on WSGI (PEP 3333): the little that the API's methods need of either.

Flask looks for a view by rules and makes a request, two contexts and a response for each call, which together cost more
than most methods.  What this module and Werkzeug's functions below it do with a request is what Flask does with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES, parse_options_header
from werkzeug.wsgi import get_content_length, get_input_stream

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

Environ = dict[str, Any]
Header = tuple[str, str]

JSON: Final = "application/json"
EVERY_ANSWER: Final[tuple[Header, ...]] = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)
"""Headers of every answer, whoever gives it."""
POLICY: Final[Header] = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
"""Of every answer that has no policy of its own."""
_JSON_TYPE: Final[Header] = ("Content-Type", JSON)
_STATUS_LINES: Final = {status: f"{status} {phrase.upper()}" for status, phrase in HTTP_STATUS_CODES.items()}
_PIECE: Final = 64 * 1024
_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Incoming:
    """A request; for one thread, and for as long as it is answered."""

    __slots__ = ("_environ", "_left", "_most", "_unmeasured", "content_length")

    def __init__(self, environ: Environ) -> None:
        """:param environ: of WSGI."""
        self._environ = environ
        self._most = 0
        self.content_length = get_content_length(environ)
        """Octets of the body; None: it comes in chunks, or there is none."""
        self._left = self.content_length
        self._unmeasured: IO[bytes] | None = None

    @property
    def peer(self) -> str | None:
        """Address of whoever is connected."""
        peer: str | None = self._environ.get("REMOTE_ADDR")
        return peer

    def header(self, variable: str) -> str | None:
        """A header's value.

        :param variable: its name in WSGI: ``HTTP_`` and so on.
        """
        value: str | None = self._environ.get(variable)
        return value

    def lines(self, name: str) -> list[str]:
        """The values of a header; WSGI knows one for each name."""
        value = self._environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return [] if value is None else [value]

    def is_json(self) -> bool:
        """Whether the body is said to be JSON, whatever the type's parameters."""
        stated = self._environ.get("CONTENT_TYPE", "")
        return stated == JSON or parse_options_header(stated)[0].lower() == JSON

    def allow(self, octets: int) -> None:
        """Let the body be as long as that."""
        self._most = octets

    def body(self) -> bytes | bytearray:
        """The whole body, once.

        A long one is put together here as it comes: the server would keep all of it until it is whole, and would not
        give the room back.

        :raises RequestEntityTooLarge: it is longer than is allowed.
        :raises ClientDisconnected: there is less of it than was said.
        """
        if self._left is None:
            whole = self._chunks().read()
            # What was read of it may well be JSON by itself: nothing is understood of a part.
            if len(whole) > self._most:
                raise RequestEntityTooLarge
            return whole
        if self._left > self._most:
            raise RequestEntityTooLarge
        first = self._read(_PIECE)
        # One piece is the rule, and is not copied then.
        return first if not self._left else self._gathered(first)

    def _gathered(self, first: bytes) -> bytearray:
        """A body of which the first piece was read."""
        # It grows as it comes: room for a length that a client merely states would be taken at once, since it is filled
        # with zeros.
        whole = bytearray(first)
        for piece in iter(lambda: self._read(_PIECE), b""):
            whole += piece
        return whole

    def throw_away(self) -> None:
        """Take what is left of the body, and keep nothing of it; none of one that is longer than is allowed.

        :raises RequestEntityTooLarge: it came without a length, and is longer.
        :raises ClientDisconnected: there is less of it than was said.
        """
        if self.content_length is None:
            while self._chunks().read(_PIECE):
                pass
        elif self.content_length <= self._most:
            while self._read(_PIECE):
                pass

    def _chunks(self) -> IO[bytes]:
        """A body whose length nobody said: it is bounded as it comes, by one octet more than it may have."""
        if self._unmeasured is None:
            self._unmeasured = get_input_stream(self._environ, max_content_length=self._most + 1)
        return self._unmeasured

    def _read(self, octets: int) -> bytes:
        """Up to so many octets, and none beyond the body's end.

        :raises ClientDisconnected: the body ends before its length is reached.
        """
        if not self._left:
            return b""
        try:
            read: bytes = self._environ["wsgi.input"].read(min(octets, self._left))
        except (OSError, ValueError) as error:
            raise ClientDisconnected from error
        if not read:
            raise ClientDisconnected
        self._left -= len(read)
        return read


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, without the headers of every one."""

    status: int
    headers: tuple[Header, ...] = ()
    body: bytes | Iterator[bytes] = field(default=b"", repr=False)
    """Pieces go out one by one."""

    def start(self, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as WSGI does.

        :returns: a list where the whole body is there: servers send that in one go.
        """
        start_response(_STATUS_LINES[self.status], [*self.headers, *EVERY_ANSWER, POLICY])
        return [self.body] if isinstance(self.body, bytes) else self.body


def written(value: Mapping[str, Any]) -> bytes:
    """A JSON object as it goes out: as Flask writes it."""
    return f"{_encode(value)}\n".encode()


def json_reply(value: Mapping[str, Any] | bytes, status: int = 200, *headers: Header) -> Reply:
    """An answer with a JSON object.

    :param value: octets: it has been written before.
    """
    body = value if isinstance(value, bytes) else written(value)
    return Reply(status, (_JSON_TYPE, ("Content-Length", str(len(body))), *headers), body)
