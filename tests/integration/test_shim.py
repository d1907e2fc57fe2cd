"""The module that the fault tests put in front of SoftHSM2: it counts what was signed, and fails as it is told."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from signing.sam.algorithms import KEY_PROFILES, SHA256, SignatureAlgorithm
from signing.sam.ports import DeviceLost
from signing.scdev.device import Pkcs11Device
from signing.scdev.fitting import digest_info
from tests.fakes.softhsm import make_token
from tests.shim import Shim, of_digest

pytestmark = pytest.mark.hsm
ECDSA = SignatureAlgorithm("ecdsa", SHA256)


def until_available(device: Pkcs11Device) -> None:
    end = time.monotonic() + 20
    while not device.health().available:
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def digests(count: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(count)]


def test_AUD_06_every_signature_is_written_down_with_what_was_signed(shim: Shim, tmp_path: Path) -> None:
    with Pkcs11Device(shim.before(make_token(tmp_path / "token"))) as device:
        ec_key, rsa_key = (device.generate(KEY_PROFILES[name]) for name in ("ec-p256", "rsa-3072-pkcs1"))
        assert shim.signatures() == ()
        device.sign(ec_key.wrapped, ECDSA, digests(3))
        device.sign(rsa_key.wrapped, SignatureAlgorithm("rsa-pkcs1-v1_5", SHA256), digests(1))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda digest: device.sign(ec_key.wrapped, ECDSA, [digest]), digests(40)))
        device.mac(b"row")
        device.canary()
    made = shim.signatures()
    assert [each.data for each in made[:3]] == [of_digest(digest) for digest in digests(3)]
    assert made[3].data == of_digest(digest_info(SHA256, bytes(32)))
    assert Counter(each.data for each in made[4:]) == Counter(of_digest(digest) for digest in digests(40))
    assert {each.mechanism for each in made} == {0x1041, 0x1}
    assert len({each.value for each in made}) == 44
    assert len({each.process for each in made}) == 2
    assert len(shim.sent()) == 44
    assert len(shim.server_signatures("privyseal-row-mac")) == 1
    assert len(shim.server_signatures("privyseal-canary")) >= 3


def test_faults_come_at_the_call_that_was_named_and_go_when_they_are_healed(shim: Shim, tmp_path: Path) -> None:
    with Pkcs11Device(shim.before(make_token(tmp_path / "token"))) as device:
        key = device.generate(KEY_PROFILES["ec-p256"]).wrapped
        shim.fault("C_Sign/users", "return", 0x30, nth=3, times=1)
        device.sign(key, ECDSA, digests(2))
        with pytest.raises(DeviceLost):
            device.sign(key, ECDSA, digests(2))
        assert len(shim.signatures()) == 2
        until_available(device)
        device.sign(key, ECDSA, digests(2))
        assert len(shim.signatures()) == 4
        shim.fault("C_Sign/users", "after", 0x30)
        with pytest.raises(DeviceLost):
            device.sign(key, ECDSA, digests(1))
        # The module has signed, whatever it answered.
        assert len(shim.signatures()) == 5
        shim.heal()
        until_available(device)
        device.sign(key, ECDSA, digests(1))


def test_a_process_that_is_killed_after_it_signed_has_left_its_signature(shim: Shim, tmp_path: Path) -> None:
    with Pkcs11Device(shim.before(make_token(tmp_path / "token"))) as device:
        key = device.generate(KEY_PROFILES["ec-p256"]).wrapped
        for action, made in (("kill", 0), ("kill-after", 1)):
            shim.fault("C_Sign/users", action, times=1)
            with pytest.raises(DeviceLost):
                device.sign(key, ECDSA, digests(1))
            assert len(shim.signatures()) == made
        shim.fault("C_Sign/users", "hang")
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(device.sign, key, ECDSA, digests(1))
            before = shim.calls("C_Sign/users")
            while shim.calls("C_Sign/users") == before and not call.done():
                pass
            for process in device.worker_processes():
                os.kill(process, signal.SIGKILL)
            with pytest.raises(DeviceLost):
                call.result(20)
        assert len(shim.signatures()) == 1
