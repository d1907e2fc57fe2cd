"""Work on strangers' files, in processes that can do nothing else."""

from __future__ import annotations

import ctypes
import os
import platform
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation import sandbox_pool
from foundation.confinement import Limits
from foundation.errors import SandboxError, SandboxUnavailable, WorkCrashed, WorkTooLarge, WorkTooLong
from foundation.sandbox import AT_ONCE, run
from foundation.sandbox_pool import Pool

MODULE = "tests.fakes.sandboxed"
LIMITS = Limits(cpu_seconds=60, wall_seconds=120.0, file_octets=1 << 20)
HASTY = Limits(cpu_seconds=1, wall_seconds=120.0)
IMPATIENT = Limits(cpu_seconds=60, wall_seconds=0.5)


def landlock() -> bool:
    """Whether this kernel has it."""
    return bool(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) > 0)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool(MODULE, LIMITS, workers=1, wait_seconds=120.0)
    yield made
    made.close()


def test_work_is_done_on_octets_and_on_a_descriptor(tmp_path: Path) -> None:
    assert run(MODULE, b"abc", LIMITS, b"reverse") == b"cba"
    (tmp_path / "file").write_bytes(b"xyz")
    with (tmp_path / "file").open("rb") as file:
        assert run(MODULE, file.fileno(), LIMITS) == b"xyz"


def test_work_without_an_end_is_killed() -> None:
    with pytest.raises(WorkTooLong):
        run(MODULE, b"", HASTY, b"spin")
    with pytest.raises(WorkTooLong):
        run(MODULE, b"", IMPATIENT, b"sleep")


def test_what_a_library_prints_is_no_part_of_the_answer(pool: Pool) -> None:
    assert pool.run(b"", b"print") == b"5"


def test_memory_and_answer_are_bounded_and_the_next_file_is_served(pool: Pool) -> None:
    for argument in (b"memory", b"long"):
        with pytest.raises(WorkTooLarge):
            pool.run(b"", argument)
    assert pool.run(b"abc", b"reverse") == b"cba"


def test_a_crash_is_one_and_the_next_file_is_served(pool: Pool) -> None:
    for argument in (b"raise", b"crash"):
        with pytest.raises(WorkCrashed):
            pool.run(b"", argument)
    assert pool.run(b"abc", b"reverse") == b"cba"


@pytest.mark.parametrize(("limits", "argument"), [(HASTY, b"spin"), (IMPATIENT, b"sleep")])
def test_a_kept_process_outlives_work_without_an_end(limits: Limits, argument: bytes) -> None:
    kept = Pool(MODULE, limits, workers=1, wait_seconds=120.0)
    try:
        with pytest.raises(WorkTooLong):
            kept.run(b"", argument)
        assert len(kept._idle) == 1
    finally:
        kept.close()


def test_a_process_has_so_many_files_and_a_fresh_one_knows_nothing_of_them() -> None:
    kept = Pool(MODULE, LIMITS, workers=1, wait_seconds=120.0, files=2)
    try:
        answers = [kept.run(name, b"remember") for name in (b"first", b"second", b"third")]
    finally:
        kept.close()
    assert answers == [b"first", b"first,second", b"third"]


def pids(kept: Pool) -> list[int]:
    return [worker.process.pid for worker in kept._idle]


def of_all(kept: Pool, *files: bytes) -> list[bytes | type[SandboxError]]:
    """Answers until there is a fault, in as many exchanges as it takes: a machine that is slow takes more."""
    told: list[bytes | SandboxError] = []
    while len(told) < len(files) and not any(isinstance(each, SandboxError) for each in told):
        told += kept.run_some(files[len(told) :], b"each")
    return [each if isinstance(each, bytes) else type(each) for each in told]


@pytest.mark.parametrize(
    ("argument", "fault"),
    [(b"memory", WorkTooLarge), (b"long", WorkTooLarge), (b"raise", WorkCrashed), (b"crash", WorkCrashed)],
)
def test_DOS_01_a_file_that_ends_its_process_is_the_one_that_is_told_and_none_behind_it_is_seen(
    pool: Pool, argument: bytes, fault: type[SandboxError]
) -> None:
    pool.run(b"", b"")
    nursery = pids(pool)
    assert of_all(pool, b"reverse", b"", argument, b"remember") == [b"esrever", b"", fault]
    assert of_all(pool, b"remember", b"reverse") == [b"remember", b"esrever"]
    assert pool.run(b"", b"grow") == b""
    assert pids(pool) == nursery


@pytest.mark.parametrize(("limits", "argument"), [(HASTY, b"spin"), (IMPATIENT, b"sleep")])
def test_DOS_01_work_without_an_end_is_killed_among_others_too(limits: Limits, argument: bytes) -> None:
    kept = Pool(MODULE, limits, workers=1, wait_seconds=120.0)
    try:
        answers = of_all(kept, argument, b"reverse", b"reverse")
        assert answers == [WorkTooLong]
        assert len(pids(kept)) == 1
    finally:
        kept.close()


def test_an_exchange_is_over_after_a_file_that_took_long() -> None:
    kept = Pool(MODULE, LIMITS, workers=1, wait_seconds=120.0)
    try:
        assert kept.run_some([b"linger", b"reverse"], b"each") == [b"lingered"]
        assert of_all(kept, b"reverse") == [b"esrever"]
    finally:
        kept.close()


def test_each_of_some_files_has_an_answer_as_long_as_one_alone(pool: Pool) -> None:
    files = [b"x" * (1 << 20)] * 3
    answers: list[bytes | SandboxError] = []
    while len(answers) < len(files):
        answers += pool.run_some(files[len(answers) :])
    assert answers == files


@pytest.mark.parametrize("octets", [0, 1, 4095, 4096, 4097, 10_000])
def test_an_answer_is_as_long_as_it_is(pool: Pool, octets: int) -> None:
    document = os.urandom(octets)
    assert pool.run(document, b"reverse") == document[::-1]


def test_DOS_01_whoever_does_not_answer_is_killed_and_the_next_file_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(MODULE, IMPATIENT, workers=1, wait_seconds=120.0)
    assert pool.run(b"abc", b"reverse") == b"cba"
    os.kill(pool._idle[0].process.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(sandbox_pool, "_GRACE", 0.0)
        with pytest.raises(WorkTooLong):
            pool.run(b"abc", b"reverse")
    assert pool.run(b"abc", b"reverse") == b"cba"
    pool.close()


def test_some_files_count_as_so_many_and_one_that_grew_is_the_last() -> None:
    kept = Pool(MODULE, LIMITS, workers=1, wait_seconds=120.0, files=2)
    try:
        assert of_all(kept, *[b"remember"] * 3) == [b"remember", b"remember,remember", b"remember"]
        assert of_all(kept, b"grow", b"remember", b"remember") == [b"", b"remember", b"remember,remember"]
    finally:
        kept.close()


@pytest.mark.parametrize("files", [0, AT_ONCE + 1])
def test_no_more_files_are_taken_at_once_than_a_process_may_have_open(pool: Pool, files: int) -> None:
    with pytest.raises(SandboxUnavailable):
        pool.run_some([b""] * files)


def test_a_process_that_grew_serves_nobody_after(pool: Pool) -> None:
    pool.run(b"before", b"remember")
    assert pool.run(b"", b"grow") == b""
    assert pool.run(b"after", b"remember") == b"after"


def test_a_process_that_is_gone_is_replaced(pool: Pool) -> None:
    pool.run(b"", b"")
    (worker,) = pool._idle
    worker.process.kill()
    worker.process.wait()
    assert pool.run(b"abc", b"reverse") == b"cba"
    assert pool._idle[0].process.pid != worker.process.pid


def test_a_confined_process_has_no_network_no_programs_and_nobody_to_kill(pool: Pool) -> None:
    for argument in (b"connect", b"fork", b"program", b"kill"):
        assert pool.run(b"", argument) == b"Operation not permitted", argument


def test_a_confined_process_has_no_hand_on_others(pool: Pool) -> None:
    calls = (b"tgkill", b"queue") if platform.machine() == "x86_64" else ()
    for argument in (*calls, b"limit", b"leave"):
        assert pool.run(b"", argument) == b"Operation not permitted", argument


def test_a_confined_process_changes_no_file_by_its_name(pool: Pool, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"hush")
    kept.chmod(0o600)
    for argument in (b"cut", b"open up", b"touch"):
        assert pool.run(str(kept).encode(), argument) == b"Operation not permitted", argument
    assert kept.read_bytes() == b"hush"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_what_a_process_says_unasked_is_nobodys_answer(pool: Pool) -> None:
    with pytest.raises(WorkCrashed):
        pool.run(b"", b"chatter")
    for name in (b"abc", b"xyz"):
        assert pool.run(name, b"reverse") == name[::-1]


def test_a_process_that_died_while_it_waited_costs_no_file_its_own_answer(pool: Pool) -> None:
    process = os.pidfd_open(int(pool.run(b"", b"pid")))
    signal.pidfd_send_signal(process, signal.SIGKILL)
    # Readable once it has ended.
    assert select.select([process], [], [], 120.0)[0]
    os.close(process)
    for name in (b"abc", b"xyz"):
        assert pool.run(name, b"reverse") == name[::-1]


def test_where_each_file_has_a_process_of_its_own_nothing_is_left_for_the_next() -> None:
    single = Pool(MODULE, LIMITS, workers=1, wait_seconds=120.0, files=1)
    try:
        answers = [single.run(name, b"remember") for name in (b"first", b"second")]
    finally:
        single.close()
    assert answers == [b"first", b"second"]


@pytest.mark.skipif(not landlock(), reason="this kernel has no Landlock")
def test_a_confined_process_reads_no_secrets_and_writes_nowhere(pool: Pool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"hush")
    name = str(secret).encode()
    for document in (name, b"/etc/passwd", b"/proc/self/environ"):
        assert pool.run(document, b"read") == b"Permission denied", document
    assert pool.run(name, b"write") == b"Permission denied"
    assert secret.read_bytes() == b"hush"


def test_a_confined_process_is_told_nothing_by_the_environment(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVYSEAL_SECRET", "hush")
    assert pool.run(b"", b"environment") == b"['LANG', 'PATH', 'PYTHONPATH']"


def test_who_finds_all_processes_busy_is_told_so() -> None:
    busy = Pool(MODULE, LIMITS, workers=1, wait_seconds=0.01)
    busy._free.acquire()
    with pytest.raises(SandboxUnavailable):
        busy.run(b"", b"")


def test_a_module_that_does_not_serve_is_no_worker() -> None:
    with pytest.raises(SandboxUnavailable):
        Pool("foundation.names", LIMITS).run(b"", b"")


def test_limits_survive_their_way_through_an_argument() -> None:
    assert Limits.of_text(LIMITS.text()) == LIMITS
