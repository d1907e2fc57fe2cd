"""A closed loop: each of some workers begins its next piece of work when it has finished the one before."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

from benchmarks.errors import Unexpected
from benchmarks.measure import Sample

HOST: Final = "127.0.0.1"
_TIMEOUT_SECONDS: Final = 30.0
_SHOWN: Final = 200
"""Characters of an answer that was not expected."""


class Worker(Protocol):
    """Does one piece of work after another."""

    def work(self, number: int) -> tuple[int, bytes]:
        """Do the piece of that number: what it yielded, and what is to be looked at afterwards.

        :raises Unexpected: the answer was not as it should be.
        """
        ...


@dataclass(slots=True)
class Outcome:
    """What came of a window."""

    samples: list[Sample] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict, repr=False)
    """Of the pieces that went well, by their number."""
    errors: Counter[str] = field(default_factory=Counter)
    window: float = 0.0
    """Seconds from the first piece's beginning to the last one's end."""
    exhausted: bool = False
    """There was too little work: the window ended before its time."""


class _Loop:
    def __init__(self, pieces: int, workers: int) -> None:
        self.outcome = Outcome()
        # Broken, and with it the run, where a worker cannot begin: nobody waits for it for ever.
        self.gate = threading.Barrier(workers + 1, timeout=_TIMEOUT_SECONDS)
        self.began = 0.0
        self.until = 0.0
        self._numbers = iter(range(pieces))
        self._lock = threading.Lock()

    def next(self) -> int | None:
        if time.perf_counter() >= self.until:
            return None
        with self._lock:
            number = next(self._numbers, None)
            self.outcome.exhausted = self.outcome.exhausted or number is None
            return number

    def run(self, worker: Worker, number: int) -> None:
        started = time.perf_counter()
        try:
            units, answer = worker.work(number)
        except Unexpected as error:
            with self._lock:
                self.outcome.errors[str(error)] += 1
            return
        ended = time.perf_counter()
        with self._lock:
            self.outcome.samples.append(Sample(ended - self.began, ended - started, units))
            self.outcome.answers[number] = answer


def closed_loop(
    make: Callable[[int], AbstractContextManager[Worker]], pieces: int, *, workers: int, seconds: float
) -> Outcome:
    """Work through numbered pieces for so many seconds.

    No piece is begun twice; what is under way when the time is over is waited for and counted.

    :param make: gives the worker of a turn from 0; entered and left in the worker's own thread.
    :raises threading.BrokenBarrierError: a worker could not begin.
    """
    loop = _Loop(pieces, workers)

    def serve(turn: int) -> None:
        with make(turn) as worker:
            loop.gate.wait()
            while (number := loop.next()) is not None:
                loop.run(worker, number)

    threads = [threading.Thread(target=serve, args=(turn,)) for turn in range(workers)]
    for thread in threads:
        thread.start()
    loop.began = time.perf_counter()
    loop.until = loop.began + seconds
    try:
        loop.gate.wait()
        for thread in threads:
            thread.join()
    finally:
        loop.until = 0.0  # interrupted: nothing more is begun
    loop.outcome.window = time.perf_counter() - loop.began
    return loop.outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = field(repr=False)


class Connection:
    """A kept-alive connection to a loopback port, under a host name of the product's."""

    def __init__(self, port: int, host: str) -> None:
        self._client = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_SECONDS)
        self._host = f"{host}:{port}"

    def __enter__(self) -> Self:
        self._client.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        """Send a request and read the answer.

        :raises Unexpected: there was none.
        """
        try:
            self._client.request(method, path, body, {**headers, "Host": self._host})
            response = self._client.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            self._client.close()  # the next request opens it anew
            raise Unexpected(f"no answer: {type(error).__name__}") from error


def unexpected(answer: Answer) -> Unexpected:
    """The error of an answer that is not the one hoped for."""
    return Unexpected(f"{answer.status}: {answer.body[:_SHOWN].decode('utf-8', 'replace').strip()}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A POST ready to be sent."""

    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    units: int


class Poster(Connection):
    """Sends prepared requests."""

    def __init__(self, port: int, host: str, path: str, prepared: Sequence[Prepared]) -> None:
        super().__init__(port, host)
        self._path = path
        self._prepared = prepared

    def work(self, number: int) -> tuple[int, bytes]:
        """Send one; the answer must be 200."""
        item = self._prepared[number]
        answer = self.send("POST", self._path, item.body, item.headers)
        if answer.status != http.client.OK:
            raise unexpected(answer)
        return item.units, answer.body
