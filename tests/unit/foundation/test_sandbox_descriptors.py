"""What is open in a confined process: its file and its answer, whatever else is open where that was handed over."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from foundation.confinement import Limits
from foundation.errors import SandboxError
from foundation.sandbox import run
from foundation.sandbox_pool import Pool
from tests.fakes.descriptors import MOST

MODULE = "tests.fakes.descriptors"
LIMITS = Limits(cpu_seconds=60, wall_seconds=120.0, file_octets=1 << 20)
NULL = (stat.S_IFCHR, os.makedev(1, 3))
ONCE = Counter({NULL: 3, (stat.S_IFREG, 0): 2})
"""Three times nothing, the file and the answer."""
KEPT = ONCE + Counter({(stat.S_IFSOCK, 0): 1})
"""And the line to whoever forked it."""


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[set[tuple[int, int]]]:
    """What a server has open, by device and inode; open for programs that it starts, too."""
    with ExitStack() as stack:
        (tmp_path / "key").write_bytes(b"hush")
        file = stack.enter_context((tmp_path / "key").open("rb"))
        here, there = socket.socketpair()
        stack.enter_context(here)
        stack.enter_context(there)
        memory = os.memfd_create("another's document")
        reading, writing = os.pipe()
        opened = [file.fileno(), here.fileno(), there.fileno(), memory, reading, writing]
        # Beyond those that the process may open itself.
        opened += [os.dup2(memory, 900 + number) for number in range(3)]
        for descriptor in opened:
            os.set_inheritable(descriptor, True)
        yield {(status.st_dev, status.st_ino) for status in map(os.fstat, opened)}
        for descriptor in opened[3:]:
            os.close(descriptor)


def kinds(answer: bytes | SandboxError, secrets: set[tuple[int, int]]) -> Counter[tuple[int, int]]:
    """How many descriptors of each kind; none is one of the server's."""
    assert isinstance(answer, bytes), answer
    found = json.loads(answer)
    assert not {(device, inode) for _, device, inode, _ in found} & secrets
    assert len(found) < MOST
    return Counter((kind, number) for kind, _, _, number in found)


def test_a_process_for_one_file_has_that_file_alone(secrets: set[tuple[int, int]], tmp_path: Path) -> None:
    assert kinds(run(MODULE, b"", LIMITS), secrets) == ONCE
    (tmp_path / "file").write_bytes(b"xyz")
    with (tmp_path / "file").open("rb") as file:
        assert kinds(run(MODULE, file.fileno(), LIMITS), secrets) == ONCE


def test_a_process_that_is_kept_has_no_file_but_the_one_it_works_on(secrets: set[tuple[int, int]]) -> None:
    pool = Pool(MODULE, LIMITS, workers=1, wait_seconds=120.0)
    try:
        # One after the other, and those of one exchange: each time neither the ones before nor those behind.
        for _ in range(3):
            assert kinds(pool.run(b""), secrets) == KEPT
        for answer in _all(pool, [b""] * 5):
            assert kinds(answer, secrets) == KEPT
    finally:
        pool.close()


def test_a_process_that_takes_over_in_the_midst_of_an_exchange_has_not_the_files_of_the_others(
    secrets: set[tuple[int, int]],
) -> None:
    pool = Pool(MODULE, LIMITS, workers=1, wait_seconds=120.0)
    try:
        told: list[bytes | SandboxError] = []
        while not told:
            _, *behind = _all(pool, [b"ahead", b"", b"", b""])
            # One that was asked before it was seen to be no longer to be asked has told nothing.
            told = [answer for answer in behind if answer != b""]
        for answer in told:
            assert kinds(answer, secrets) == KEPT
    finally:
        pool.close()


def _all(pool: Pool, files: list[bytes]) -> list[bytes | SandboxError]:
    """In as many exchanges as it takes: a machine that is slow takes more."""
    told: list[bytes | SandboxError] = []
    while len(told) < len(files):
        told += pool.run_some(files[len(told) :])
    return told
