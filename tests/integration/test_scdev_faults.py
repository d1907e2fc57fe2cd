"""Loss, hang and wrong PIN of a real SoftHSM2, and where its PIN must not be found."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from foundation.files import write_secret
from signing.sam.algorithms import KEY_PROFILES, SHA256, SignatureAlgorithm
from signing.sam.ports import DeviceError, DeviceLost, DeviceUnavailable, GeneratedKey, PinRefused
from signing.scdev import supervisor as supervisor_module
from signing.scdev.children import start as real_start
from signing.scdev.device import Pkcs11Device
from signing.scdev.frames import pack, send
from signing.scdev.settings import DeviceSettings
from signing.scdev.supervisor import Supervisor
from signing.scdev.token import create_server_keys, init_token
from signing.scdev.workers import Worker, opening
from tests.fakes.softhsm import SOFTHSM2_MODULE, empty_token_directory, make_token
from tests.shim import Shim

pytestmark = pytest.mark.hsm
ROOT = Path(__file__).parent.parent.parent
P256 = KEY_PROFILES["ec-p256"]
ECDSA = SignatureAlgorithm("ecdsa", SHA256)
DIGEST = bytes(range(32))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> DeviceSettings:
    return make_token(tmp_path_factory.mktemp("faults"))


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


@contextmanager
def opened(settings: DeviceSettings, **change: Any) -> Iterator[Pkcs11Device]:
    changed = replace(settings, **change)
    with Pkcs11Device(changed) as device:
        until(lambda: device.health().workers_ready == changed.workers)
        yield device


def signs(device: Pkcs11Device, key: GeneratedKey, digest: bytes = DIGEST) -> None:
    (value,) = device.sign(key.wrapped, ECDSA, [digest])
    public = load_der_public_key(key.public_key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(value, digest, ec.ECDSA(Prehashed(hashes.SHA256())))


def alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def children() -> list[int]:
    """Processes that this one started, whichever of its threads did."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += (int(process) for process in (task / "children").read_text().split())
        except OSError:
            continue
    return found


class Starts:
    """Counts the processes that the supervisor starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        monkeypatch.setattr(supervisor_module, "start", self)

    @property
    def count(self) -> int:
        return len(self.processes)

    def __call__(self, program: str, environment: Mapping[str, str]) -> Any:
        process, line = real_start(program, environment)
        self.processes.append(process)
        return process, line


# Loss


def test_OPS_02_workers_killed_while_idle_are_replaced_and_no_call_fails(settings: DeviceSettings) -> None:
    with opened(settings) as device:
        key = device.generate(P256)
        before = device.worker_processes()
        for process in before:
            os.kill(process, signal.SIGKILL)
        until(lambda: not any(alive(process) for process in before))
        signs(device, key)
        until(lambda: device.health().workers_ready == 2)
        assert not set(before) & set(device.worker_processes())
        assert device.health().restarts == 2
        device.canary()


def test_OPS_02_a_worker_killed_while_it_signs_is_a_loss_and_service_returns_without_a_restart(
    settings: DeviceSettings,
) -> None:
    with opened(settings, workers=1) as device:
        rsa = device.generate(KEY_PROFILES["rsa-3072-pkcs1"])
        (worker,) = device.worker_processes()
        with ThreadPoolExecutor(1) as pool:
            algorithm = SignatureAlgorithm("rsa-pkcs1-v1_5", SHA256)
            call = pool.submit(device.sign, rsa.wrapped, algorithm, [DIGEST] * 1000)
            time.sleep(0.3)
            os.kill(worker, signal.SIGKILL)
            with pytest.raises(DeviceLost) as lost:
                call.result(10)
        assert not lost.value.certainly_not_signed
        signs(device, device.generate(P256))
        assert len(device.sign(rsa.wrapped, algorithm, [DIGEST])) == 1


def test_OPS_02_a_hung_worker_costs_its_deadline_is_killed_and_replaced(settings: DeviceSettings) -> None:
    with opened(settings, workers=1, deadline_seconds=1.0) as device:
        key = device.generate(P256)
        (worker,) = device.worker_processes()
        os.kill(worker, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(DeviceLost):
            device.sign(key.wrapped, ECDSA, [DIGEST])
        assert 0.9 < time.monotonic() - began < 3.0
        until(lambda: not alive(worker))
        until(lambda: device.health().available)
        signs(device, key)


def test_OPS_02_a_token_that_is_gone_is_unavailable_at_once_and_comes_back_by_itself(tmp_path: Path) -> None:
    with opened(make_token(tmp_path / "hsm"), workers=1) as device:
        key = device.generate(P256)
        (tmp_path / "hsm" / "tokens").rename(tmp_path / "hsm" / "elsewhere")
        for process in device.worker_processes():
            os.kill(process, signal.SIGKILL)
        until(lambda: not device.health().available)
        began = time.monotonic()
        with pytest.raises(DeviceUnavailable) as unavailable:
            device.sign(key.wrapped, ECDSA, [DIGEST])
        assert unavailable.value.certainly_not_signed
        assert time.monotonic() - began < 5.0
        (tmp_path / "hsm" / "elsewhere").rename(tmp_path / "hsm" / "tokens")
        until(lambda: device.health().available)
        signs(device, key)


def test_OPS_01_workers_killed_at_random_under_load_give_good_values_or_errors_of_the_port(
    settings: DeviceSettings,
) -> None:
    stop = threading.Event()
    with opened(settings, workers=2, deadline_seconds=5.0) as device:
        key = device.generate(P256)

        def client(number: int) -> tuple[int, int]:
            good = failed = 0
            while not stop.is_set():
                try:
                    signs(device, key, number.to_bytes(32, "big"))
                    good += 1
                except DeviceError:
                    failed += 1
            return good, failed

        with ThreadPoolExecutor(8) as pool:
            clients = [pool.submit(client, number) for number in range(8)]
            for _ in range(6):
                time.sleep(0.25)
                for process in device.worker_processes()[:1]:
                    os.kill(process, signal.SIGKILL)
            stop.set()
            results = [running.result(20) for running in clients]
        assert all(good > 0 for good, _ in results)
        # A kill costs the one call that the worker had, and none of those that waited.
        assert sum(failed for _, failed in results) <= 6
        until(lambda: device.health().workers_ready == 2)
        signs(device, key)


def test_workers_are_recycled_in_time_and_no_call_notices(settings: DeviceSettings) -> None:
    with opened(settings, recycle_after=40) as device:
        key = device.generate(P256)
        before = set(device.worker_processes())

        def client(_: int) -> None:
            for _ in range(60):
                signs(device, key)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(client, range(4)))
        until(lambda: not before & set(device.worker_processes()))
        until(lambda: not any(alive(process) for process in before))
        assert device.health().restarts == 0


def test_workers_end_when_the_process_that_started_them_dies(settings: DeviceSettings) -> None:
    program = (
        "import sys,time;from pathlib import Path;from signing.scdev.device import Pkcs11Device;"
        "from signing.scdev.settings import DeviceSettings;"
        "d=Pkcs11Device(DeviceSettings(Path(sys.argv[1]),sys.argv[2],Path(sys.argv[3]),workers=1,"
        "environment={'SOFTHSM2_CONF':sys.argv[4]}));print(d.worker_processes()[0],flush=True);time.sleep(60)"
    )
    arguments = (str(settings.module), settings.token_label, str(settings.pin_file))
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments, settings.environment["SOFTHSM2_CONF"]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    until(lambda: not alive(worker))


def test_a_closed_device_answers_nothing_and_leaves_no_process(settings: DeviceSettings) -> None:
    with opened(settings) as device:
        key = device.generate(P256)
        processes = device.worker_processes()
    device.close()
    assert not any(alive(process) for process in processes)
    with pytest.raises(DeviceUnavailable):
        device.sign(key.wrapped, ECDSA, [DIGEST])
    assert not device.health().available


def test_OPS_02_a_worker_that_logs_in_while_the_device_is_closed_is_not_killed(
    settings: DeviceSettings, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SoftHSM2 rewrites the file that makes a token at each login: a kill meanwhile loses the token."""
    starts = Starts(monkeypatch)
    shim.fault("C_Login", "delay", 1000, nth=2)
    device = Pkcs11Device(shim.before(replace(settings, workers=2)))
    until(lambda: shim.calls("C_Login") == 2)
    device.close()
    assert [process.returncode for process in starts.processes] == [0, 0]
    with opened(settings) as again:
        again.canary()


def test_OPS_02_a_login_that_hangs_holds_the_close_up_for_no_longer_than_a_call(
    settings: DeviceSettings, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(monkeypatch)
    shim.fault("C_Login", "hang", nth=2)
    device = Pkcs11Device(shim.before(replace(settings, workers=2, deadline_seconds=1.0)))
    until(lambda: shim.calls("C_Login") == 2)
    device.close()
    assert [process.returncode for process in starts.processes] == [0, -signal.SIGKILL]


def test_OPS_02_a_worker_that_takes_too_long_to_log_in_is_not_killed_in_it(
    settings: DeviceSettings, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(monkeypatch)
    with opened(shim.before(settings), workers=1) as device:
        shim.fault("C_Login", "delay", 6000, times=1)
        device._supervisor._start_limit = 3.0
        os.kill(device.worker_processes()[0], signal.SIGKILL)
        until(lambda: starts.count >= 3)
        until(lambda: starts.processes[1].poll() is not None)
        assert starts.processes[1].returncode == 0
        until(lambda: device.health().available)
        device.canary()


def test_KEY_09_a_worker_that_was_told_to_end_before_its_login_presents_no_pin(
    settings: DeviceSettings, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(monkeypatch)
    with opened(shim.before(settings), workers=1) as device:
        shim.fault("C_Initialize", "hang", times=1)
        device._supervisor._start_limit = 4.0
        os.kill(device.worker_processes()[0], signal.SIGKILL)
        until(lambda: starts.count >= 3)
        shim.heal()
        until(lambda: device.health().available)
        until(lambda: starts.processes[1].poll() is not None)
        assert starts.processes[1].returncode == 0
        assert shim.calls("C_Login") == sum(process.returncode != 0 for process in starts.processes)


def test_OPS_02_of_workers_that_hang_in_their_login_no_more_than_one_is_left(
    settings: DeviceSettings, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(monkeypatch)
    with opened(shim.before(settings), workers=1) as device:
        shim.fault("C_Login", "hang")
        device._supervisor._start_limit = 1.0
        os.kill(device.worker_processes()[0], signal.SIGKILL)
        until(lambda: starts.count >= 4)
        assert starts.processes[1].returncode == -signal.SIGKILL
        shim.heal()
        until(lambda: device.health().available)


# PIN


def test_KEY_09_a_wrong_pin_is_presented_once_whatever_the_number_of_workers(
    settings: DeviceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_secret(tmp_path / "pin", b"wrong-pin-7391")
    starts = Starts(monkeypatch)
    with pytest.raises(PinRefused) as refused:
        Pkcs11Device(replace(settings, workers=4, pin_file=tmp_path / "pin"))
    assert starts.count == 1
    assert "wrong-pin-7391" not in repr(refused.value) + caplog.text
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)


def test_KEY_09_a_pin_that_is_refused_after_the_time_for_a_start_is_not_presented_on_and_on(
    tmp_path: Path, shim: Shim
) -> None:
    settings = make_token(tmp_path / "hsm")
    with opened(shim.before(settings), workers=1) as device:
        settings.pin_file.unlink()
        write_secret(settings.pin_file, b"wrong-pin-7391")
        logins = shim.calls("C_Login")
        # Longer than the first two starts may take.
        shim.fault("C_Login", "delay", 4000)
        device._supervisor._start_limit = 2.0
        os.kill(device.worker_processes()[0], signal.SIGKILL)
        until(lambda: device.health().pin_refused)
        time.sleep(0.5)
        # The second one is on its way when the first one is refused.
        assert shim.calls("C_Login") - logins <= 2
        with pytest.raises(PinRefused):
            device.canary()


def test_KEY_09_a_pin_that_is_refused_after_the_time_for_the_first_start_was_refused(
    tmp_path: Path, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_token(tmp_path / "hsm")
    settings.pin_file.unlink()
    write_secret(settings.pin_file, b"wrong-pin-7391")
    shim.fault("C_Login", "delay", 1000)

    def greet(supervisor: Supervisor, worker: Worker) -> None:
        send(worker.line, pack([b"open", opening(supervisor._settings, None), bytes(32)]), 30)
        until(lambda: shim.calls("C_Login") == 1)
        raise DeviceUnavailable("not in time") from TimeoutError()

    monkeypatch.setattr(Supervisor, "_greet", greet)
    with pytest.raises(PinRefused):
        Pkcs11Device(shim.before(settings))
    assert shim.calls("C_Login") == 1


def test_KEY_09_a_pin_that_went_wrong_later_is_presented_once_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_token(tmp_path / "hsm")
    starts = Starts(monkeypatch)
    with opened(settings, workers=2) as device:
        key = device.generate(P256)
        settings.pin_file.unlink()
        write_secret(settings.pin_file, b"wrong-pin-7391")
        assert starts.count == 2
        for process in device.worker_processes():
            os.kill(process, signal.SIGKILL)
        until(lambda: device.health().pin_refused)
        for _ in range(3):
            with pytest.raises(PinRefused):
                device.sign(key.wrapped, ECDSA, [DIGEST])
            time.sleep(0.4)
        assert starts.count == 3
        assert not device.health().available


def test_KEY_08_the_pin_is_in_no_argument_environment_log_or_exception(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    canary_pin, canary_so_pin = b"canary-pin-5b1e70c4", b"canary-so-pin-93d2"
    caplog.set_level(logging.DEBUG)
    texts: list[bytes] = []
    stop = threading.Event()

    def watch() -> None:
        """What the processes started from here show, as long as the test runs; nobody else's are looked at."""
        while not stop.is_set():
            for process in children():
                for name in ("cmdline", "environ"):
                    try:
                        texts.append(Path(f"/proc/{process}/{name}").read_bytes())
                    except OSError:
                        continue
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    environment = empty_token_directory(tmp_path / "hsm")
    init_token(SOFTHSM2_MODULE, "canary", canary_so_pin, canary_pin, environment=environment)
    create_server_keys(SOFTHSM2_MODULE, "canary", canary_so_pin, canary_pin, environment)
    write_secret(tmp_path / "pin", canary_pin)
    settings = DeviceSettings(
        SOFTHSM2_MODULE, "canary", tmp_path / "pin", workers=1, environment=environment, deadline_seconds=1.0
    )
    with opened(settings) as device:
        key = device.generate(P256)
        (worker,) = device.worker_processes()
        limits = Path(f"/proc/{worker}/limits").read_text()
        os.kill(worker, signal.SIGSTOP)
        with pytest.raises(DeviceLost) as lost:
            device.sign(key.wrapped, ECDSA, [DIGEST])
        texts += [repr(lost.value).encode(), repr(device.health()).encode(), repr(settings).encode()]
        time.sleep(0.2)
    stop.set()
    watcher.join()
    output = capfd.readouterr()
    texts += [caplog.text.encode(), output.out.encode(), output.err.encode()]
    assert any(b"signing.scdev.worker" in text for text in texts)
    assert any(b"signing.scdev.ceremony" in text for text in texts)
    assert [text for text in texts if canary_pin in text or canary_so_pin in text] == []
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
    left = [path for path in (tmp_path / "hsm").rglob("*") if path.is_file()]
    assert left
    assert not any(canary_pin in path.read_bytes() for path in left)


def test_a_worker_gets_nothing_of_the_environment_but_what_the_settings_name(
    settings: DeviceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVYSEAL_SECRET", "not for the worker")
    with opened(settings, workers=1) as device:
        (worker,) = device.worker_processes()
        try:
            environ = Path(f"/proc/{worker}/environ").read_bytes()
        except PermissionError:
            # The process is not dumpable: only root can look, which is as good an answer.
            return
    names = {entry.partition(b"=")[0].decode() for entry in environ.split(b"\0") if entry}
    assert names == {"PATH", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "SOFTHSM2_CONF"}


def test_a_pin_file_that_others_can_read_is_refused(settings: DeviceSettings, tmp_path: Path) -> None:
    write_secret(tmp_path / "pin", settings.pin_file.read_bytes())
    (tmp_path / "pin").chmod(0o640)
    with pytest.raises(DeviceUnavailable, match="0640"):
        Pkcs11Device(replace(settings, pin_file=tmp_path / "pin"))


def test_a_pin_that_is_not_text_is_refused_without_showing_it(settings: DeviceSettings, tmp_path: Path) -> None:
    write_secret(tmp_path / "pin", b"abc\xff\xfe\xfd")
    with pytest.raises(DeviceUnavailable, match="UTF-8") as refused:
        Pkcs11Device(replace(settings, pin_file=tmp_path / "pin"))
    assert "abc" not in str(refused.value)
    assert refused.value.__cause__ is None
