"""A closed loop of HTTP clients: each connection sends its next request when it has its answer."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.measure import Sample

_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready to be sent."""

    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    units: int


@dataclass(slots=True)
class Outcome:
    """What came of a window."""

    samples: list[Sample] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict, repr=False)
    """Bodies of good answers by the request's place in the list."""
    errors: Counter[str] = field(default_factory=Counter)
    window: float = 0.0
    """Seconds from the first request to the last answer."""
    exhausted: bool = False
    """There were too few requests: the window ended before its time."""


def post_all(
    ports: Sequence[int], host: str, path: str, prepared: Sequence[Prepared], *, connections: int, seconds: float
) -> Outcome:
    """Send requests over ``connections`` connections, spread evenly over loopback ports, for so many seconds.

    Nothing is sent twice; what is under way when the time is over is waited for and counted.
    """
    outcome, lock, numbers = Outcome(), threading.Lock(), iter(range(len(prepared)))
    gate = threading.Barrier(connections + 1)
    until = [0.0]

    def next_number() -> int | None:
        with lock:
            number = next(numbers, None)
            outcome.exhausted = outcome.exhausted or number is None
            return number

    def work(port: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
        client.connect()
        gate.wait()
        while time.perf_counter() < until[0] and (number := next_number()) is not None:
            _send(client, f"{host}:{port}", path, prepared[number], record=_recorder(outcome, lock, began, number))
        client.close()

    threads = [threading.Thread(target=work, args=(ports[turn % len(ports)],)) for turn in range(connections)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    until[0] = began + seconds
    gate.wait()
    for thread in threads:
        thread.join()
    outcome.window = time.perf_counter() - began
    return outcome


_Record = Callable[[float, int, int, bytes], None]


def _recorder(outcome: Outcome, lock: threading.Lock, began: float, number: int) -> _Record:
    def record(started: float, units: int, status: int, body: bytes) -> None:
        ended = time.perf_counter()
        with lock:
            if status == http.client.OK:
                outcome.samples.append(Sample(ended - began, ended - started, units))
                outcome.answers[number] = body
            else:
                outcome.errors[f"{status or 'connection'}: {body[:200].decode('utf-8', 'replace').strip()}"] += 1

    return record


def _send(client: http.client.HTTPConnection, host: str, path: str, item: Prepared, *, record: _Record) -> None:
    started = time.perf_counter()
    try:
        client.request("POST", path, item.body, {**item.headers, "Host": host})
        answer = client.getresponse()
        status, body = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        client.close()  # the next request opens it anew
        status, body = 0, type(error).__name__.encode()
    record(started, item.units, status, body)
