"""Asking authorities over HTTP, at addresses that stand in certificates: guarded, capped, in turn, within a deadline.

Addresses are requested only through the one guarded way out, without redirects (PKI-01).  What is signed itself needs
no TLS (RFC 5280, clause 8: a list over https would need its own revocation checked first).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import requests
from urllib3.exceptions import HTTPError

from foundation.certificates.errors import NotChecked
from foundation.egress import Egress
from foundation.errors import EgressRefused

CONCURRENT: Final = 4
"""Who asks an authority at one time: one that is slow does not take all of the server's threads (DOS-03)."""
WAITING: Final = 3
"""Who waits for a place among them; the next is told at once.  Whoever waits holds a thread of the server's too: of
eight, one is left for everybody else while an authority hangs (DOS-03)."""
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Question:
    """One request to an authority."""

    url: str
    max_octets: int
    """Of the answer."""
    ocsp: bytes | None = None
    """An OCSP request, DER, to be sent in a POST (RFC 6960 A.1); None: a GET."""


class Fetcher:
    """Asks authorities.  Thread-safe."""

    def __init__(
        self,
        egress: Egress,
        timeout_seconds: float,
        *,
        concurrent: int = CONCURRENT,
        waiting: int = WAITING,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param timeout_seconds: for an answer to begin, and between its parts."""
        self._egress = egress
        self._timeout = timeout_seconds
        self._monotonic = monotonic
        self._places = threading.BoundedSemaphore(concurrent)
        self._room = threading.BoundedSemaphore(concurrent + waiting)

    @contextmanager
    def place(self, deadline: float) -> Iterator[None]:
        """A turn among those who ask.

        :param deadline: of the monotonic clock.
        :raises NotChecked: too many ask, and too many wait to, or none of them is done in time.
        """
        busy = NotChecked("busy", "too many certificates are being asked about")
        if not self._room.acquire(blocking=False):
            raise busy
        try:
            if not self._places.acquire(timeout=max(0.0, deadline - self._monotonic())):
                raise busy
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._room.release()

    def fetch(self, question: Question, deadline: float) -> bytes:
        """The answer's body.

        :param deadline: of the monotonic clock.
        :raises NotChecked: nobody answers, or not in time, or not in the right way.
        """
        left = deadline - self._monotonic()
        if left <= 0:
            raise NotChecked("deadline", "no time is left to ask")
        try:
            # Brief: an authority that drips its answer's head would keep us as long as it likes.
            with self._egress.brief_session(left) as session:
                return self._ask(session, question, min(self._timeout, left), deadline)
        except EgressRefused as error:
            raise NotChecked("address_refused", "an authority's address may not be requested") from error
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            if self._monotonic() >= deadline:
                raise NotChecked("deadline", "an answer takes too long") from error
            raise NotChecked("unreachable", "an authority does not answer") from error

    def _ask(self, session: requests.Session, question: Question, timeout: float, deadline: float) -> bytes:
        headers = {"Accept-Encoding": "identity"}
        if question.ocsp is not None:
            headers |= {"Content-Type": "application/ocsp-request"}
        response = session.request(
            "GET" if question.ocsp is None else "POST",
            question.url,
            data=question.ocsp,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=timeout,
        )
        with response:
            return self._read(response, question.max_octets, deadline)

    def _read(self, response: requests.Response, max_octets: int, deadline: float) -> bytes:
        """What arrives is taken as it comes: an authority that drips is given up at the deadline."""
        if response.status_code != requests.codes.ok:
            raise NotChecked("unreachable", f"an authority answers with the status {response.status_code}")
        body = bytearray()
        while chunk := response.raw.read1(_CHUNK):
            body += chunk
            if len(body) > max_octets:
                raise NotChecked("too_large", f"an answer is longer than {max_octets} octets")
            if self._monotonic() > deadline:
                raise NotChecked("deadline", "an answer takes too long")
        return bytes(body)
