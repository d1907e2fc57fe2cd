"""The pool on scripted workers: threads that speak the protocol over a socket pair."""

from __future__ import annotations

import io
import json
import logging
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from foundation import log
from signing.sam.ports import (
    DeviceError,
    DeviceLost,
    DeviceUnavailable,
    OperationNotPermitted,
    PinRefused,
    WrappedKeyRefused,
)
from signing.scdev import supervisor as module
from signing.scdev.errors import FrameBroken
from signing.scdev.frames import pack, receive
from signing.scdev.settings import DeviceSettings
from signing.scdev.supervisor import Supervisor

Script = Callable[[list[bytes]], list[bytes] | None]
SECONDS = 30.0
"""For what happens at once."""
READY = [b"ready", b"point", b"value", b"aa", b'{"slot": 7, "serial": "abc"}']


class ScriptedProcess:
    """Stands for the process of a worker; what it answers is the script's."""

    pid = 0

    def __init__(self, line: socket.socket, script: Script) -> None:
        self.returncode: int | None = None
        self._line = line
        self._script = script
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._line:
            try:
                while (answer := self._script(receive(self._line))) is not None:
                    self._line.sendall(pack(answer))
            except (FrameBroken, OSError):
                pass
            if self.returncode is None:
                self.returncode = 0

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.returncode = -signal.SIGKILL

    def wait(self, _seconds: float | None = None) -> int:
        self.returncode = self.returncode or 0
        return self.returncode


class Stage:
    """Gives each worker that is started the next script, the last one for ever."""

    def __init__(self) -> None:
        self.scripts: list[Script] = [answering()]
        self.started = 0

    def start(
        self, _program: str, _environment: Mapping[str, str]
    ) -> tuple[subprocess.Popen[bytes], socket.socket]:
        script = self.scripts[min(self.started, len(self.scripts) - 1)]
        self.started += 1
        ours, theirs = socket.socketpair()
        return cast("subprocess.Popen[bytes]", ScriptedProcess(theirs, script)), ours


def answering(answer: list[bytes] | None = None, opening: list[bytes] | None = None) -> Script:
    def script(request: list[bytes]) -> list[bytes] | None:
        if request[0] == b"open":
            return READY if opening is None else opening
        return [b"ok", *request[1:]] if answer is None else answer

    return script


def settings(**change: Any) -> DeviceSettings:
    values: dict[str, Any] = {"workers": 1, "deadline_seconds": 2.0, **change}
    return DeviceSettings(Path("/module.so"), "label", Path("/pin"), **values)


def accept(_point: bytes, _digest: bytes, _value: bytes) -> None:
    return None


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.005)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    monkeypatch.setattr(module, "start", made.start)
    monkeypatch.setattr(module, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(module, "_TICK_SECONDS", 0.02)
    # Where a test is not about it, nobody probes.
    monkeypatch.setattr(module, "_PROBE_SECONDS", 3600.0)
    return made


def test_a_call_gets_its_workers_answer(stage: Stage) -> None:
    with closing(Supervisor(settings(), accept)) as pool:
        assert pool.call([b"mac", b"1", b"2"]) == [b"1", b"2"]
    assert stage.started == 1


@pytest.mark.parametrize(
    ("kind", "error", "replaced"),
    [
        (b"wrapped_key_refused", WrappedKeyRefused, False),
        (b"operation_not_permitted", OperationNotPermitted, False),
        (b"device_unavailable", DeviceUnavailable, True),
        (b"device_lost", DeviceLost, True),
        (b"no_such_kind", DeviceLost, True),
    ],
)
def test_OPS_03_an_error_is_the_ports_and_only_a_loss_costs_the_worker(
    stage: Stage, kind: bytes, error: type[DeviceError], replaced: bool
) -> None:
    stage.scripts = [answering([b"error", kind, b"text", b"0"]), answering()]
    with closing(Supervisor(settings(), accept)) as pool:
        with pytest.raises(error):
            pool.call([b"sign"])
        if replaced:
            assert pool.call([b"sign", b"x"]) == [b"x"]
        assert stage.started == 1 + replaced
        assert pool.health().restarts == int(replaced)


@pytest.mark.parametrize("answer", [[b"error"], [b"error", b"device_lost", b"", b"x"], [b"nonsense", b""], [b""]])
def test_an_answer_of_no_known_form_counts_as_a_loss(stage: Stage, answer: list[bytes]) -> None:
    stage.scripts = [answering(answer), answering()]
    with closing(Supervisor(settings(), accept)) as pool, pytest.raises(DeviceLost):
        pool.call([b"sign"])


def test_a_worker_that_could_not_destroy_a_key_is_not_used_again(stage: Stage) -> None:
    stage.scripts = [answering([b"ok-last", b"value"]), answering()]
    with closing(Supervisor(settings(), accept)) as pool:
        assert pool.call([b"sign"]) == [b"value"]
        assert pool.call([b"sign", b"x"]) == [b"x"]
        assert stage.started == 2


def test_a_worker_whose_canary_does_not_verify_never_gets_a_call(stage: Stage) -> None:
    seen: list[bytes] = []

    def verify(_point: bytes, _digest: bytes, value: bytes) -> None:
        if value == b"wrong":
            raise DeviceUnavailable("the canary signature does not verify")

    def spoiled(request: list[bytes]) -> list[bytes]:
        seen.append(request[0])
        return [b"ready", b"point", b"wrong", b"aa", b"{}"]

    stage.scripts = [answering([b"error", b"device_lost", b"", b"0"]), spoiled, spoiled, answering()]
    with closing(Supervisor(settings(), verify)) as pool:
        with pytest.raises(DeviceLost):
            pool.call([b"sign"])
        until(lambda: stage.started == 4 and pool.health().available)
        assert pool.call([b"sign", b"x"]) == [b"x"]
    assert seen == [b"open", b"open"]


def test_a_busy_pool_is_unavailable_at_the_deadline_and_certain_not_to_have_sent(stage: Stage) -> None:
    release, entered = threading.Event(), threading.Event()
    requests: list[bytes] = []

    def slow(request: list[bytes]) -> list[bytes]:
        if request[0] == b"open":
            return READY
        requests.append(request[1])
        entered.set()
        release.wait(SECONDS)
        return [b"ok"]

    stage.scripts = [slow]
    with closing(Supervisor(settings(deadline_seconds=SECONDS), accept)) as pool, ThreadPoolExecutor(1) as threads:
        first = threads.submit(pool.call, [b"sign", b"first"])
        assert entered.wait(SECONDS)
        # A shorter wait than the first call's own deadline, which would free the pool by killing its worker.
        with pytest.raises(DeviceUnavailable) as unavailable:
            pool._take(time.monotonic() + 0.1)
        release.set()
        assert first.result(SECONDS) == []
    assert unavailable.value.certainly_not_signed
    assert requests == [b"first"]


def test_a_worker_that_does_not_answer_in_time_is_lost_and_killed(stage: Stage) -> None:
    hang = threading.Event()

    def hung(request: list[bytes]) -> list[bytes] | None:
        if request[0] == b"open":
            return READY
        hang.wait(5)
        return None

    stage.scripts = [hung, answering()]
    with closing(Supervisor(settings(deadline_seconds=0.2), accept)) as pool:
        with pytest.raises(DeviceLost) as lost:
            pool.call([b"sign"])
        assert not lost.value.certainly_not_signed
        until(lambda: pool.health().available)
        assert pool.call([b"sign", b"x"]) == [b"x"]
        hang.set()


def test_callers_are_served_in_the_order_in_which_they_came(stage: Stage) -> None:
    gate, served = threading.Semaphore(0), cast("list[bytes]", [])

    def one_by_one(request: list[bytes]) -> list[bytes]:
        if request[0] == b"open":
            return READY
        gate.acquire()
        served.append(request[1])
        return [b"ok"]

    stage.scripts = [one_by_one]
    with closing(Supervisor(settings(deadline_seconds=5.0), accept)) as pool, ThreadPoolExecutor(6) as threads:
        calls = []
        for number in range(6):
            calls.append(threads.submit(pool.call, [b"sign", bytes([number])]))
            until(lambda number=number: len(pool._turns) == number)  # type: ignore[misc] # a default, not an argument
        for _ in range(6):
            gate.release()
        for call in calls:
            call.result(SECONDS)
    assert served == [bytes([number]) for number in range(6)]


def test_KEY_09_a_refused_pin_starts_no_other_worker(stage: Stage) -> None:
    stage.scripts = [answering(opening=[b"error", b"pin_refused", b"C_Login", b"0"])]
    with pytest.raises(PinRefused):
        Supervisor(settings(workers=3), accept)
    assert stage.started == 1


def test_what_befalls_a_worker_is_in_the_log_with_the_events_name(stage: Stage) -> None:
    lines = io.StringIO()
    log.configure("sam", stream=lines)
    try:
        stage.scripts = [answering([b"error", b"device_lost", b"", b"0"]), answering()]
        with closing(Supervisor(settings(), accept)) as pool, pytest.raises(DeviceLost):
            pool.call([b"sign"])
        stage.started, stage.scripts = 0, [answering(opening=[b"error", b"pin_refused", b"C_Login", b"0"])]
        with pytest.raises(PinRefused):
            Supervisor(settings(), accept)
    finally:
        root = logging.getLogger()
        root.handlers = [one for one in root.handlers if not isinstance(one.formatter, log.JsonFormatter)]
    told = [json.loads(line)["fields"]["event"] for line in lines.getvalue().splitlines()]
    # The pool is closed while the lost worker is being replaced: whether that start still fails in time is chance.
    assert [event for event in told if event != "scdev.start_failed"] == ["scdev.worker_ended", "scdev.pin_refused"]


def test_a_start_that_closing_cuts_off_is_no_failure_of_the_device(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    hang = threading.Event()

    def hung(_request: list[bytes]) -> None:
        hang.wait(20)

    stage.scripts = [answering(), hung]
    pool = Supervisor(settings(workers=2), accept)
    until(lambda: stage.started == 2)
    pool.close()
    hang.set()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_KEY_09_a_pin_refused_in_the_middle_of_service_is_not_presented_again(stage: Stage) -> None:
    stage.scripts = [answering([b"error", b"pin_refused", b"C_UnwrapKey", b"0"]), answering()]
    with closing(Supervisor(settings(), accept)) as pool:
        for _ in range(3):
            with pytest.raises(PinRefused):
                pool.call([b"sign"])
            time.sleep(0.06)
        assert pool.health().pin_refused
    assert stage.started == 1


def test_closing_does_not_wait_for_a_worker_that_hangs_while_it_starts(stage: Stage) -> None:
    hang = threading.Event()

    def hung(_request: list[bytes]) -> None:
        hang.wait(20)

    stage.scripts = [answering([b"error", b"device_lost", b"", b"0"]), hung]
    pool = Supervisor(settings(), accept)
    with pytest.raises(DeviceLost):
        pool.call([b"sign"])
    until(lambda: stage.started == 2)
    began = time.monotonic()
    pool.close()
    hang.set()
    assert time.monotonic() - began < 3.0


def test_a_device_that_is_down_is_said_so_at_once_and_tried_again_with_growing_pauses(stage: Stage) -> None:
    down, back = answering(opening=[b"error", b"device_unavailable", b"no token", b"0"]), threading.Event()

    def late(request: list[bytes]) -> list[bytes]:
        back.wait(SECONDS)
        return READY if request[0] == b"open" else [b"ok"]

    stage.scripts = [answering([b"error", b"device_lost", b"", b"0"]), down, down, down, down, late]
    with closing(Supervisor(settings(deadline_seconds=5.0), accept)) as pool:
        lost = time.monotonic()
        with pytest.raises(DeviceLost):
            pool.call([b"sign"])
        until(lambda: stage.started >= 2)
        began = time.monotonic()
        with pytest.raises(DeviceUnavailable):
            pool.call([b"sign"])
        assert time.monotonic() - began < 1.0
        back.set()
        until(lambda: pool.health().available)
        # Pauses of 10, 20, 40 and 80 ms.
        assert time.monotonic() - lost >= 0.15
        assert stage.started == 6


def test_a_device_that_cannot_be_opened_leaves_no_thread(stage: Stage) -> None:
    stage.scripts = [answering(opening=[b"error", b"operation_not_permitted", b"0 KEKs", b"0"])]
    before = threading.active_count()
    with pytest.raises(OperationNotPermitted):
        Supervisor(settings(), accept)
    until(lambda: threading.active_count() <= before)


def test_closing_lets_a_call_under_way_finish_and_refuses_those_that_wait(stage: Stage) -> None:
    release, entered = threading.Event(), threading.Event()

    def slow(request: list[bytes]) -> list[bytes]:
        if request[0] == b"open":
            return READY
        entered.set()
        release.wait(5)
        return [b"ok", b"done"]

    stage.scripts = [slow]
    pool = Supervisor(settings(deadline_seconds=5.0), accept)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(pool.call, [b"sign"])
        assert entered.wait(SECONDS)
        second = threads.submit(pool.call, [b"sign"])
        until(lambda: len(pool._turns) == 1)
        closed = threads.submit(pool.close)
        with pytest.raises(DeviceUnavailable):
            second.result(SECONDS)
        release.set()
        assert first.result(SECONDS) == [b"done"]
        closed.result(SECONDS)


def test_KEY_08_what_goes_down_the_line_at_the_start_names_the_pins_file_and_not_the_pin(stage: Stage) -> None:
    opened: list[dict[str, object]] = []

    def script(request: list[bytes]) -> list[bytes]:
        opened.append(json.loads(request[1]))
        return READY

    stage.scripts = [script]
    Supervisor(settings(), accept).close()
    assert opened == [
        {
            "module": "/module.so",
            "parameters": None,
            "token_label": "label",
            "pin_file": "/pin",
            "kek_id": None,
            "key_wrap": "auto",
            "key_cache": 64,
            "key_cache_seconds": 60.0,
            "require_trusted_kek": True,
        }
    ]


# Which worker


def test_requests_for_one_key_go_to_one_worker_and_to_any_other_when_that_is_busy(stage: Stage) -> None:
    began, release = threading.Event(), threading.Event()

    def naming(name: bytes) -> Script:
        def script(request: list[bytes]) -> list[bytes]:
            if request[0] == b"open":
                return READY
            if request[0] == b"slow":
                began.set()
                release.wait(5)
            return [b"ok", name]

        return script

    stage.scripts = [naming(bytes([number])) for number in range(4)]
    with closing(Supervisor(settings(workers=4), accept)) as pool, ThreadPoolExecutor(1) as threads:
        until(lambda: pool.health().workers_ready == 4)
        chosen = {key: {pool.call([b"sign"], bytes([key]))[0] for _ in range(5)} for key in range(40)}
        assert all(len(names) == 1 for names in chosen.values())
        assert len(set().union(*chosen.values())) == 4
        busy = threads.submit(pool.call, [b"slow"], bytes([0]))
        assert began.wait(SECONDS)
        (other,) = pool.call([b"sign"], bytes([0]))
        assert other not in chosen[0]
        release.set()
        assert set(busy.result(SECONDS)) == chosen[0]


def test_nobody_is_passed_over_for_long(stage: Stage) -> None:
    release, order = threading.Semaphore(0), []

    def script(request: list[bytes]) -> list[bytes]:
        if request[0] == b"open":
            return READY
        release.acquire(timeout=5)
        order.append(request[0])
        return [b"ok"]

    stage.scripts = [script]
    with closing(Supervisor(settings(deadline_seconds=5.0), accept)) as pool, ThreadPoolExecutor(16) as threads:
        first = threads.submit(pool.call, [b"running"])
        until(lambda: not pool._idle)
        calls = []
        for number in range(12):
            calls.append(threads.submit(pool.call, [b"%d" % number], b"key"))
            until(lambda waiting=number + 1: len(pool._turns) == waiting)  # type: ignore[misc] # a default
        # Keys that this worker will not have.
        for turn in list(pool._turns)[:2]:
            turn.preferred = cast("Any", object())
        for _ in range(13):
            release.release()
        for call in (first, *calls):
            call.result(SECONDS)
    # Four are served before the first, and four more before the second.
    assert order == [b"running", b"2", b"3", b"4", b"5", b"0", b"6", b"7", b"8", b"9", b"1", b"10", b"11"]


# Loss, repetition, proof


def counted(answers: list[list[bytes]]) -> Script:
    """A worker that gives these answers one after the other, and then good ones."""

    def script(request: list[bytes]) -> list[bytes]:
        if request[0] == b"open":
            return READY
        return answers.pop(0) if answers else [b"ok", *request[1:]]

    return script


def error(kind: bytes, code: int) -> list[bytes]:
    return [b"error", kind, b"text", str(code).encode()]


@pytest.mark.parametrize("kind", [b"device_lost", b"device_unavailable"])
def test_OPS_03_a_loss_is_for_all_workers_and_calls_are_refused_until_one_proves_itself(
    stage: Stage, kind: bytes
) -> None:
    gate, entered, start_gate = threading.Event(), threading.Event(), threading.Event()

    def busy(request: list[bytes]) -> list[bytes]:
        if request[0] == b"open":
            return READY
        entered.set()
        gate.wait(5)
        return [b"ok", b"finished"]

    def late(request: list[bytes]) -> list[bytes]:
        if request[0] == b"open":
            start_gate.wait(5)
            return READY
        return [b"ok", b"new"]

    stage.scripts = [busy, counted([error(kind, 0x30)]), late]
    with closing(Supervisor(settings(workers=2), accept)) as pool, ThreadPoolExecutor(2) as threads:
        until(lambda: pool.health().workers_ready == 2)
        pool._idle.sort(key=lambda worker: worker.proved, reverse=True)
        held = threads.submit(pool.call, [b"sign"])
        assert entered.wait(SECONDS)
        with pytest.raises(DeviceError) as lost:
            pool.call([b"sign"])
        assert isinstance(lost.value, DeviceLost if kind == b"device_lost" else DeviceUnavailable)
        until(lambda: stage.started == 3)
        health = pool.health()
        assert not health.available
        assert (health.losses, health.workers_ready) == (1, 0)
        assert health.failure == "the device is down: CKR_DEVICE_ERROR"
        assert health.return_codes == {"CKR_DEVICE_ERROR": 1}
        began = time.monotonic()
        with pytest.raises(DeviceUnavailable) as refused:
            pool.call([b"sign"])
        assert refused.value.certainly_not_signed
        assert time.monotonic() - began < 1.0
        # What another worker had in hand is not thrown away; that worker then ends.
        gate.set()
        assert held.result(SECONDS) == [b"finished"]
        start_gate.set()
        until(lambda: pool.health().available)
        assert pool.call([b"sign"]) == [b"new"]
        assert pool.health().failure is None


@pytest.mark.parametrize("code", [0x101, 0x60, 0x82, 0x31, 0x02, 0xB1, 0x06])
def test_OPS_03_what_a_new_process_may_cure_is_tried_once_more_if_c_sign_was_not_sent(stage: Stage, code: int) -> None:
    stage.scripts = [counted([error(b"device_unavailable", code)]), answering()]
    with closing(Supervisor(settings(), accept)) as pool:
        assert pool.call([b"sign", b"x"]) == [b"x"]
        assert stage.started == 2
        assert pool.health().losses == 0


@pytest.mark.parametrize("code", [0x60, 0x31])
def test_OPS_03_it_is_tried_once_and_no_more(stage: Stage, code: int, caplog: pytest.LogCaptureFixture) -> None:
    stage.scripts = [counted([error(b"device_unavailable", code)]) for _ in range(2)] + [answering()]
    with closing(Supervisor(settings(), accept)) as pool:
        with pytest.raises(DeviceUnavailable):
            pool.call([b"sign", b"x"])
        assert pool.call([b"sign", b"y"]) == [b"y"]
    assert stage.started == 3
    assert ("has just looked up" in caplog.text) is (code == 0x60)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ([b"sign", b"x"], error(b"device_lost", 0x31)),
        ([b"sign", b"x"], error(b"device_unavailable", 0x90)),
        ([b"sign", b"x"], error(b"device_unavailable", 0x80000001)),
        ([b"add-data", b"x", b"y"], error(b"device_unavailable", 0x31)),
        ([b"remove-data", b"x", b"y"], error(b"device_unavailable", 0x101)),
    ],
)
def test_OPS_03_what_may_have_signed_or_left_something_is_not_tried_again(
    stage: Stage, request_: list[bytes], answer: list[bytes]
) -> None:
    stage.scripts = [counted([answer]), answering()]
    with closing(Supervisor(settings(), accept)) as pool:
        with pytest.raises(DeviceError):
            pool.call(request_)
        until(lambda: pool.health().available)
        assert pool.health().losses == 0


def test_OPS_03_two_operations_on_one_session_are_a_fault_of_ours_and_said_so(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.scripts = [counted([error(b"device_lost", 0x90)]), answering()]
    with closing(Supervisor(settings(), accept)) as pool, pytest.raises(DeviceLost):
        pool.call([b"sign"])
    assert "a fault of this program" in caplog.text


def test_OPS_02_a_canary_is_made_when_nobody_signs_and_a_wrong_one_stops_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROBE_SECONDS", 0.02)
    right = [True]

    def verify(_point: bytes, digest: bytes, value: bytes) -> None:
        if not right[0] and value != b"value":
            raise DeviceUnavailable("the canary signature does not verify")

    with closing(Supervisor(settings(workers=2), verify)) as pool:
        until(lambda: pool.health().workers_ready == 2)
        until(lambda: sum(worker.operations for worker in pool.health().processes) > 6)
        assert all(worker.operations for worker in pool.health().processes)
        assert pool.health().losses == 0
        age = pool.health().canary_age_seconds
        assert age is not None
        assert age < 2.0
        right[0] = False
        until(lambda: pool.health().losses > 0)
        right[0] = True
        until(lambda: pool.health().available)
        assert pool.health().processes[0].slot == "7"
        assert pool.health().processes[0].serial == "abc"


def test_OPS_02_a_device_that_answers_no_canary_is_down_and_no_approval_is_spent_on_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROBE_SECONDS", 0.02)
    monkeypatch.setattr(module, "_PROBE_DEADLINE", 0.1)
    monkeypatch.setattr(module, "_START_LEAST", 0.1)
    hang = threading.Event()
    hang.set()

    def hung(request: list[bytes]) -> list[bytes]:
        if not hang.wait(5):
            raise AssertionError
        return READY if request[0] == b"open" else [b"ok", *request[1:]]

    stage.scripts = [hung]
    with closing(Supervisor(settings(deadline_seconds=5.0, workers=2), accept)) as pool:
        until(lambda: pool.health().workers_ready == 2)
        hang.clear()
        until(lambda: pool.health().losses > 0)
        with pytest.raises(DeviceUnavailable) as refused:
            pool.call([b"sign"])
        assert refused.value.certainly_not_signed
        assert pool.health().failure is not None
        # A machine that is busy does not answer each of them in time.
        monkeypatch.setattr(module, "_PROBE_SECONDS", 3600.0)
        hang.set()
        until(lambda: pool.health().available)
        assert pool.call([b"sign", b"x"]) == [b"x"]
