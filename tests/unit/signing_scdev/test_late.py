"""A worker that was told to end has its time for that, and no more."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from signing.sam.ports import PinRefused
from signing.scdev.frames import pack
from signing.scdev.workers import Answered, Late, Worker

SECONDS = 60.0


@pytest.fixture
def workers() -> Iterator[list[tuple[Worker, socket.socket]]]:
    """Two that do not end by themselves, as long as nobody closes their standard input; with their end of the line."""
    made = []
    for _ in range(2):
        ours, theirs = socket.socketpair()
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        made.append((Worker(process, ours), theirs))
    yield made
    for worker, theirs in made:
        with worker.process, worker.line, theirs:
            worker.process.kill()


def let_end(worker: Worker) -> None:
    assert worker.process.stdin is not None
    worker.process.stdin.write(b"\n")
    worker.process.stdin.close()
    worker.process.wait(SECONDS)


def test_it_is_left_alone_until_its_time_is_over(workers: list[tuple[Worker, socket.socket]]) -> None:
    [(worker, _), _] = workers
    for seconds, code in ((SECONDS, None), (0.0, -9)):
        late = Late(seconds)
        late.take(worker)
        late.look()
        assert worker.process.returncode == code


def test_the_next_one_takes_its_place(workers: list[tuple[Worker, socket.socket]]) -> None:
    [(first, _), (second, _)] = workers
    late = Late(SECONDS)
    late.take(first)
    late.take(second)
    assert (first.process.returncode, second.process.poll()) == (-9, None)
    let_end(second)
    late.look()
    late.end(0.0)
    assert second.process.returncode == 0


ENDS: list[Callable[[Late, Worker], Answered | None]] = [
    lambda late, _: late.look(),
    lambda late, next_one: late.take(next_one),
    lambda late, _: late.end(0.0),
]


@pytest.mark.parametrize("end", ENDS, ids=["look", "take", "end"])
def test_KEY_09_what_it_says_of_a_refused_pin_is_heard(
    workers: list[tuple[Worker, socket.socket]], end: Callable[[Late, Worker], Answered | None]
) -> None:
    [(first, line), (second, _)] = workers
    late = Late(SECONDS)
    first.finish()
    assert line.recv(1) == b"", "it was told to end"
    late.take(first)
    line.sendall(pack([b"error", b"pin_refused", b"", b"160"]))
    let_end(first)
    refused = end(late, second)
    assert refused is not None
    assert isinstance(refused.error, PinRefused)
    assert late.look() is None


@pytest.mark.parametrize("said", [b"", b"\0\0", pack([b"ready", b"", b"", b"", b""])])
def test_whoever_refused_nothing_has_not(workers: list[tuple[Worker, socket.socket]], said: bytes) -> None:
    [(worker, line), _] = workers
    late = Late(SECONDS)
    late.take(worker)
    line.sendall(said)
    let_end(worker)
    assert late.look() is None
