"""Children: cleared environment, watched, stopped in reverse order, and gone when their parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.accounts import Account
from launcher.errors import ChildFailedError
from launcher.process import Command, describe_exit, run_to_end, spawn, stop, tail
from launcher.supervisor import Service, Supervisor, accepts_unix, answers_http

SERVE_UNIX = "import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)"


def command(code: str, *arguments: str, cwd: Path, **environment: str) -> Command:
    own = Account("me", os.getuid(), os.getgid())
    return Command((sys.executable, "-c", code, *arguments), own, cwd, cwd, environment)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    running = Supervisor(lambda name: tmp_path / f"{name}.log", lambda text: None)
    yield running
    running.stop()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_KEY_08_a_child_inherits_nothing_from_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_PIN", "271828")
    log = tmp_path / "out"
    with log.open("wb") as output:
        show = command("import os; print(sorted(os.environ))", cwd=tmp_path, GIVEN="yes")
        assert run_to_end(show, output, lambda: None) == 0
    assert "CANARY_PIN" not in log.read_text()
    assert set(show.full_environment()) == {"PATH", "HOME", "LANG", "PYTHONUNBUFFERED", "GIVEN"}
    assert "GIVEN" in log.read_text()


def test_a_child_makes_files_for_its_owner_only_and_cannot_gain_privileges(tmp_path: Path) -> None:
    code = "open('made', 'w'); print(open('/proc/self/status').read())"
    with (tmp_path / "out").open("wb") as output:
        assert run_to_end(command(code, cwd=tmp_path), output, lambda: None) == 0
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
    assert "NoNewPrivs:\t1" in (tmp_path / "out").read_text()


def test_a_service_is_ready_when_it_accepts_connections(tmp_path: Path, supervisor: Supervisor) -> None:
    path = tmp_path / "s"
    service = Service("sam", "the module", command(SERVE_UNIX, str(path), cwd=tmp_path), accepts_unix(path))
    supervisor.start(service, deadline_seconds=20)
    supervisor.check()
    assert accepts_unix(path)()
    supervisor.stop()
    assert not accepts_unix(path)()


def test_a_service_that_dies_is_reported_with_the_tail_of_its_log(tmp_path: Path, supervisor: Supervisor) -> None:
    failing = command("print('the key store is locked'); raise SystemExit(7)", cwd=tmp_path)
    with pytest.raises(ChildFailedError) as failed:
        supervisor.start(Service("idp", "identity provider", failing, lambda: False), deadline_seconds=20)
    assert "identity provider ended (exit code 7)" in str(failed.value)
    assert "the key store is locked" in str(failed.value)
    assert failed.value.exit_code == 5


def test_a_service_that_is_never_ready_is_reported_after_its_deadline(tmp_path: Path, supervisor: Supervisor) -> None:
    idle = command("print('waiting', flush=True); import time; time.sleep(60)", cwd=tmp_path)
    with pytest.raises(ChildFailedError, match="was not ready after"):
        supervisor.start(Service("idp", "identity provider", idle, lambda: False), deadline_seconds=0.5)


def test_a_service_that_cannot_be_started_is_reported(tmp_path: Path, supervisor: Supervisor) -> None:
    own = Account("me", os.getuid(), os.getgid())
    missing = Command((str(tmp_path / "nothing"),), own, tmp_path, tmp_path)
    with pytest.raises(ChildFailedError, match="cannot be started"):
        supervisor.start(Service("idp", "identity provider", missing, lambda: False))


def test_services_are_stopped_last_first(tmp_path: Path, supervisor: Supervisor) -> None:
    order = tmp_path / "order"
    code = (
        "import pathlib,signal,sys\n"
        "def end(*_):\n    open(sys.argv[1], 'a').write(sys.argv[2]); raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path(sys.argv[2]).touch(); signal.pause()"
    )
    for name in ("a", "b", "c"):
        ready = (tmp_path / name).exists
        supervisor.start(Service(name, name, command(code, str(order), name, cwd=tmp_path), ready))
    supervisor.stop()
    assert order.read_text() == "cba"


def test_a_child_that_ignores_the_request_is_ended_with_its_own_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.process.STOP_SECONDS", 0.3)
    code = (
        "import os,pathlib,signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); pid = os.fork()\n"
        "if pid: pathlib.Path('worker').write_text(str(pid))\n"
        "time.sleep(60)"
    )
    child = spawn(command(code, cwd=tmp_path), subprocess.DEVNULL)
    worker = tmp_path / "worker"
    wait_for(lambda: worker.exists() and worker.read_text() != "")
    stop(child)
    assert child.returncode == -signal.SIGKILL
    wait_for(lambda: gone(int(worker.read_text())))


def wait_for(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = (
        "import os,sys,time; from pathlib import Path; from launcher.accounts import Account\n"
        "from launcher.process import Command, spawn\n"
        "own = Account('me', os.getuid(), os.getgid()); here = Path(sys.argv[1])\n"
        "child = spawn(Command((sys.executable, '-c', 'import time; time.sleep(60)'), own, here, here), None)\n"
        "(here / 'pid').write_text(str(child.pid)); time.sleep(60)"
    )
    root = Path(__file__).parents[3]
    parent = subprocess.Popen([sys.executable, "-c", supervisor, str(tmp_path)], cwd=root)
    pid = tmp_path / "pid"
    wait_for(lambda: pid.exists() and pid.read_text() != "")
    parent.kill()
    parent.wait()
    wait_for(lambda: gone(int(pid.read_text())))


@pytest.mark.loopback
def test_nobody_listening_is_not_ready() -> None:
    assert not answers_http("idp.localhost", 1, "/")()


def test_exits_are_described_in_words(tmp_path: Path) -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "signal SIGKILL"
    (tmp_path / "log").write_text("\n".join(map(str, range(100))))
    assert tail(tmp_path / "log", 2) == "    98\n    99"
    assert "wrote nothing" in tail(Path(os.devnull))
    assert "no log" in tail(tmp_path / "none")
