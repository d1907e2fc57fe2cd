"""A worker that was told to end has its time for that, and no more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from signing.scdev.workers import Late

SECONDS = 60.0


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two that do not end by themselves, as long as nobody closes their standard input."""
    made = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
    yield made
    for process in made:
        with process:
            process.kill()


def test_it_is_left_alone_until_its_time_is_over(processes: list[subprocess.Popen[bytes]]) -> None:
    for seconds, code in ((SECONDS, None), (0.0, -9)):
        late = Late(seconds)
        late.take(processes[0])
        late.look()
        assert processes[0].returncode == code


def test_the_next_one_takes_its_place(processes: list[subprocess.Popen[bytes]]) -> None:
    late = Late(SECONDS)
    late.take(processes[0])
    late.take(processes[1])
    assert (processes[0].returncode, processes[1].poll()) == (-9, None)
    assert processes[1].stdin is not None
    processes[1].stdin.write(b"\n")
    processes[1].stdin.close()
    processes[1].wait(SECONDS)
    late.look()
    late.end(0.0)
    assert processes[1].returncode == 0
