"""What is done about each return code of PKCS#11, seen at a real token that answers it on demand.

Rows and codes are those of the table "PKCS#11 return codes" of the design's attack list.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from signing.sam.algorithms import KEY_PROFILES, SHA256, SignatureAlgorithm
from signing.sam.ports import (
    DeviceLost,
    DeviceUnavailable,
    GeneratedKey,
    OperationNotPermitted,
    PinRefused,
    WrappedKeyRefused,
)
from signing.scdev.device import Pkcs11Device
from signing.scdev.settings import DeviceSettings
from tests.fakes.softhsm import make_token
from tests.shim import Shim

pytestmark = pytest.mark.hsm
P256 = KEY_PROFILES["ec-p256"]
ECDSA = SignatureAlgorithm("ecdsa", SHA256)
DIGEST = bytes(range(32))
ROOT = Path(__file__).parents[2]

LOST = {
    "DEVICE_ERROR": 0x30,
    "DEVICE_REMOVED": 0x32,
    "TOKEN_NOT_PRESENT": 0xE0,
    "CRYPTOKI_NOT_INITIALIZED": 0x190,
    "SESSION_HANDLE_INVALID": 0xB3,
    "SESSION_CLOSED": 0xB0,
    "GENERAL_ERROR": 0x05,
}
STALE = {"KEY_HANDLE_INVALID": 0x60, "OBJECT_HANDLE_INVALID": 0x82, "UNWRAPPING_KEY_HANDLE_INVALID": 0xF0}
CAPACITY = {"DEVICE_MEMORY": 0x31, "HOST_MEMORY": 0x02, "SESSION_COUNT": 0xB1}
PERMANENT = {
    "MECHANISM_INVALID": 0x70,
    "MECHANISM_PARAM_INVALID": 0x71,
    "KEY_FUNCTION_NOT_PERMITTED": 0x68,
    "DATA_LEN_RANGE": 0x21,
}


def rows(codes: dict[str, int], *always: str) -> list[object]:
    """All of them in the long run, some always."""
    first = always or (next(iter(codes)),)
    return [
        pytest.param(code, id=name, marks=() if name in first else pytest.mark.full) for name, code in codes.items()
    ]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> DeviceSettings:
    return make_token(tmp_path_factory.mktemp("codes"))


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


class Stand:
    """A device with one or more workers, and a key of which no worker has a handle."""

    def __init__(self, device: Pkcs11Device, shim: Shim) -> None:
        self.device, self.shim = device, shim
        self.key: GeneratedKey = device.generate(P256)
        self.workers = set(device.worker_processes())
        self.began = {name: shim.calls(name) for name in ("C_Initialize", "C_Login", "C_Sign/canary")}

    def sign(self) -> None:
        (value,) = self.device.sign(self.key.wrapped, ECDSA, [DIGEST])
        public = load_der_public_key(self.key.public_key)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(value, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))

    def since(self, name: str) -> int:
        return self.shim.calls(name) - self.began[name]

    def replaced(self) -> int:
        """Workers that have been replaced."""
        return len(self.workers - set(self.device.worker_processes()))


@contextmanager
def standing(token: DeviceSettings, shim: Shim, workers: int = 2) -> Iterator[Stand]:
    settings = shim.before(token)
    with Pkcs11Device(
        DeviceSettings(settings.module, settings.token_label, settings.pin_file, workers, 20.0,
                       environment=settings.environment)
    ) as device:  # fmt: skip
        until(lambda: device.health().workers_ready == workers)
        yield Stand(device, shim)


def test_every_code_that_a_token_gives_is_known_by_its_number(token: DeviceSettings, shim: Shim) -> None:
    settings = shim.before(token)
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.scdev_codes", str(settings.module), settings.token_label],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", **settings.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert shim.calls("C_GenerateRandom") > 60


# CKR_DEVICE_ERROR and its like


@pytest.mark.parametrize("code", rows(LOST, "DEVICE_ERROR", "GENERAL_ERROR"))
def test_OPS_03_a_loss_in_c_sign_ends_all_workers_and_a_canary_of_a_new_one_brings_service_back(
    token: DeviceSettings, shim: Shim, code: int
) -> None:
    with standing(token, shim) as stand:
        shim.fault("C_Sign/users", "return", code, times=1)
        with pytest.raises(DeviceLost) as lost:
            stand.sign()
        assert not lost.value.certainly_not_signed
        until(lambda: stand.device.health().workers_ready == 2)
        assert stand.replaced() == 2
        assert stand.since("C_Initialize") == 2
        assert stand.since("C_Sign/canary") >= 2
        health = stand.device.health()
        assert (health.losses, health.restarts, health.failure) == (1, 2, None)
        assert sum(health.return_codes.values()) == 1
        stand.sign()


@pytest.mark.parametrize("code", rows({name: code for name, code in LOST.items() if name != "GENERAL_ERROR"}))
def test_OPS_03_a_loss_before_c_sign_is_certain_not_to_have_signed(
    token: DeviceSettings, shim: Shim, code: int
) -> None:
    with standing(token, shim, workers=1) as stand:
        shim.fault("C_UnwrapKey", "return", code, times=1)
        with pytest.raises(DeviceUnavailable) as lost:
            stand.sign()
        assert lost.value.certainly_not_signed
        assert shim.sent() == ()
        until(lambda: stand.device.health().available)
        assert (stand.replaced(), stand.device.health().losses) == (1, 1)
        stand.sign()


@pytest.mark.parametrize(("code", "times"), [(0x05, 1), (0x06, 2)])
def test_OPS_03_a_code_that_may_mean_the_blob_is_judged_by_the_canary(
    token: DeviceSettings, shim: Shim, code: int, times: int
) -> None:
    with standing(token, shim, workers=1) as stand:
        shim.fault("C_UnwrapKey", "return", code, times=times)
        with pytest.raises(WrappedKeyRefused):
            stand.sign()
        assert (stand.replaced(), stand.device.health().losses) == (0, 0)
        shim.fault("C_UnwrapKey", "return", 0x05, times=1)
        shim.fault("C_Sign/canary", "return", 0x05, times=1)
        with pytest.raises(DeviceUnavailable):
            stand.sign()
        until(lambda: stand.device.health().available)
        assert (stand.replaced(), stand.device.health().losses) == (1, 1)
        stand.sign()


@pytest.mark.full
def test_OPS_03_a_lost_device_is_refused_at_once_and_tried_again_with_growing_pauses(
    token: DeviceSettings, shim: Shim
) -> None:
    with standing(token, shim) as stand:
        shim.fault("C_OpenSession", "return", 0x32)
        shim.fault("C_Sign/canary", "return", 0x32)
        until(lambda: not stand.device.health().available)
        began = stand.since("C_Initialize")
        for _ in range(20):
            with pytest.raises(DeviceUnavailable) as refused:
                stand.sign()
            assert refused.value.certainly_not_signed
        assert shim.sent() == ()
        until(lambda: stand.since("C_Initialize") >= began + 4)
        first = stand.since("C_Initialize")
        time.sleep(2.0)
        # Each start takes a while itself; a hot loop would have made dozens.
        assert stand.since("C_Initialize") <= first + 4
        shim.heal()
        until(lambda: stand.device.health().workers_ready == 2)
        stand.sign()


# Session state


def test_OPS_03_whoever_is_not_logged_in_any_longer_logs_in_once_and_the_caller_does_not_notice(
    token: DeviceSettings, shim: Shim
) -> None:
    with standing(token, shim, workers=1) as stand:
        shim.fault("C_UnwrapKey", "return", 0x101, times=1)
        stand.sign()
        assert (stand.replaced(), stand.since("C_Login"), stand.device.health().losses) == (1, 1, 0)
        assert stand.device.health().return_codes == {"CKR_USER_NOT_LOGGED_IN": 1}


def test_OPS_03_a_login_that_is_there_already_counts(token: DeviceSettings, shim: Shim) -> None:
    shim.fault("C_Login", "after", 0x100)
    with standing(token, shim, workers=1) as stand:
        stand.sign()


def test_OPS_03_an_active_operation_is_a_fault_of_ours_and_costs_one_worker(
    token: DeviceSettings, shim: Shim, caplog: pytest.LogCaptureFixture
) -> None:
    with standing(token, shim) as stand:
        shim.fault("C_SignInit", "return", 0x90, times=1)
        # The signature's, or that of the canary which comes between.
        with suppress(DeviceLost):
            stand.sign()
        until(lambda: "a fault of this program" in caplog.text)
        until(lambda: stand.device.health().workers_ready == 2)
        assert stand.replaced() == 1
        stand.sign()


@pytest.mark.full
def test_OPS_03_no_two_operations_are_ever_on_one_session(token: DeviceSettings, shim: Shim) -> None:
    # SoftHSM2 itself would answer CKR_OPERATION_ACTIVE.
    with standing(token, shim) as stand, ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(stand.sign) for _ in range(100)]:
            done.result(60)
        assert stand.device.health().return_codes == {}
        assert len(shim.signatures()) == 100


# The PIN


@pytest.mark.parametrize(
    "code", rows({"PIN_INCORRECT": 0xA0, "PIN_LOCKED": 0xA4, "PIN_EXPIRED": 0xA3, "USER_PIN_NOT_INITIALIZED": 0x102})
)
def test_KEY_09_a_pin_that_is_refused_is_presented_once_and_an_alarm_is_raised(
    token: DeviceSettings, shim: Shim, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    shim.fault("C_Login", "return", code)
    with pytest.raises(PinRefused), standing(token, shim):
        pass
    assert shim.calls("C_Login") == 1
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)


@pytest.mark.full
def test_KEY_09_a_pin_that_is_refused_while_the_device_is_down_ends_all_trying(
    token: DeviceSettings, shim: Shim
) -> None:
    with standing(token, shim) as stand:
        shim.fault("C_Login", "return", 0xA0)
        shim.fault("C_Sign/users", "return", 0x30, times=1)
        with pytest.raises(DeviceLost):
            stand.sign()
        until(lambda: stand.device.health().pin_refused)
        time.sleep(1.5)
        assert stand.since("C_Login") == 1
        with pytest.raises(PinRefused):
            stand.sign()


# Stale handles


@pytest.mark.parametrize("code", rows(STALE))
def test_OPS_03_a_key_whose_handle_is_stale_is_looked_up_once(token: DeviceSettings, shim: Shim, code: int) -> None:
    with standing(token, shim, workers=1) as stand:
        found = shim.calls("C_FindObjectsInit")
        shim.fault("C_UnwrapKey", "return", code, times=1)
        stand.sign()
        assert shim.calls("C_FindObjectsInit") > found
        assert (stand.replaced(), stand.device.health().losses) == (1, 0)
        assert len(shim.signatures()) == 1


def test_OPS_03_a_key_that_is_still_missing_is_an_alarm(
    token: DeviceSettings, shim: Shim, caplog: pytest.LogCaptureFixture
) -> None:
    with standing(token, shim, workers=1) as stand:
        unwrapped = shim.calls("C_UnwrapKey")
        # A worker that starts unwraps once for itself.
        shim.fault("C_UnwrapKey", "return", 0x60, nth=1, times=1)
        shim.fault("C_UnwrapKey", "return", 0x60, nth=3, times=1)
        with pytest.raises(DeviceUnavailable) as refused:
            stand.sign()
        assert refused.value.certainly_not_signed
        assert shim.calls("C_UnwrapKey") == unwrapped + 3
        assert "does not know a key that a new process has just looked up" in caplog.text
        until(lambda: stand.device.health().available)
        stand.sign()


# Capacity


@pytest.mark.parametrize("code", rows(CAPACITY))
def test_OPS_03_what_ran_out_is_tried_once_more_before_c_sign_and_never_after_it(
    token: DeviceSettings, shim: Shim, code: int
) -> None:
    with standing(token, shim, workers=1) as stand:
        shim.fault("C_UnwrapKey", "return", code, times=1)
        stand.sign()
        assert len(shim.sent()) == 1
        for action, signed in (("return", 1), ("after", 2)):
            shim.heal()
            shim.fault("C_Sign/users", action, code, times=1)
            with pytest.raises(DeviceLost) as lost:
                stand.sign()
            assert not lost.value.certainly_not_signed
            assert len(shim.signatures()) == signed
        assert stand.device.health().losses == 0


def test_OPS_03_function_failed_in_c_sign_is_indeterminate(token: DeviceSettings, shim: Shim) -> None:
    with standing(token, shim, workers=1) as stand:
        shim.fault("C_Sign/users", "return", 0x06, times=1)
        with pytest.raises(DeviceLost):
            stand.sign()
        assert stand.device.health().losses == 0


# Configuration and requests


@pytest.mark.parametrize("code", rows(PERMANENT))
def test_OPS_03_what_is_permanent_is_said_once_and_costs_no_worker(
    token: DeviceSettings, shim: Shim, code: int
) -> None:
    with standing(token, shim, workers=1) as stand:
        for name in ("C_UnwrapKey", "C_SignInit"):
            if (name, code) == ("C_UnwrapKey", 0x21):
                continue  # there it says that the blob has a length that no key has
            shim.heal()
            before = shim.calls(name)
            shim.fault(name, "return", code, times=2)
            with pytest.raises(OperationNotPermitted):
                stand.sign()
            shim.heal()
            assert shim.calls(name) - before <= 3
            stand.sign()
        assert stand.replaced() == 0


# Wrong values


@pytest.mark.parametrize("action", ["flip", pytest.param("short", marks=pytest.mark.full)])
def test_OPS_03_KEY_12_a_canary_that_is_wrong_takes_the_device_out_of_service(
    token: DeviceSettings, shim: Shim, action: str
) -> None:
    with standing(token, shim) as stand:
        shim.fault("C_Sign/canary", action)
        until(lambda: stand.device.health().losses > 0 and not stand.device.health().available)
        with pytest.raises(DeviceUnavailable):
            stand.sign()
        shim.heal()
        until(lambda: stand.device.health().available)
        stand.sign()


def test_OPS_03_KEY_12_the_shim_gives_a_wrong_value_where_it_is_told_to(token: DeviceSettings, shim: Shim) -> None:
    with standing(token, shim, workers=1) as stand:
        shim.fault("C_Sign/users", "flip", times=1)
        with pytest.raises(InvalidSignature):
            stand.sign()
        stand.sign()


# Randomness


def test_KEY_13_a_token_without_randomness_makes_no_key_and_nothing_takes_its_place(
    token: DeviceSettings, shim: Shim
) -> None:
    with standing(token, shim, workers=1) as stand:
        for code in (0x121, 0x30):
            shim.heal()
            shim.fault("C_GenerateKeyPair", "return", code, times=2)
            with pytest.raises(DeviceUnavailable):
                stand.device.generate(P256)
            shim.heal()
            until(lambda: stand.device.health().available)
        stand.device.generate(P256)


def test_KEY_13_no_identifier_comes_from_the_token(token: DeviceSettings, shim: Shim) -> None:
    for name in ("C_GenerateRandom", "C_SeedRandom"):
        shim.fault(name, "return", 0x121)
    with standing(token, shim, workers=1) as stand:
        stand.sign()
        stand.device.canary()
        stand.device.mac(b"row")
    assert shim.calls("C_GenerateRandom") == shim.calls("C_SeedRandom") == 0


def test_AUD_06_the_state_directory_is_all_that_the_oracle_needs(
    token: DeviceSettings, shim: Shim, tmp_path: Path
) -> None:
    with standing(token, shim, workers=1) as stand:
        stand.sign()
    again = Shim(shim.library, tmp_path / "shim", shim.module)
    assert again.signatures() == shim.signatures()
