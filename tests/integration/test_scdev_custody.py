"""Where users' keys are on a real SoftHSM2: one KEK after another, and keys that stay on the token."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from signing.sam.algorithms import KEY_PROFILES, SHA256, SignatureAlgorithm
from signing.sam.errors import CredentialDisabled
from signing.sam.ports import (
    DeviceError,
    GeneratedKey,
    OperationNotPermitted,
    WrappedKey,
    WrappedKeyRefused,
)
from signing.scdev.device import Pkcs11Device
from signing.scdev.errors import TokenMissing, TokenPinRefused
from signing.scdev.settings import DeviceSettings
from signing.scdev.token import create_kek, init_token
from tests.fakes.sam import REALM, digest, make_world
from tests.fakes.softhsm import SOFTHSM2_MODULE, empty_token_directory, make_token
from tests.shim import Shim

pytestmark = pytest.mark.hsm
ROOT = Path(__file__).parent.parent.parent
P256 = KEY_PROFILES["ec-p256"]
ECDSA = SignatureAlgorithm("ecdsa", SHA256)
DIGEST = bytes(range(32))


@pytest.fixture
def settings(tmp_path: Path) -> DeviceSettings:
    return make_token(tmp_path / "token")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> DeviceSettings:
    """A token for tests that leave nothing on it."""
    return make_token(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def device(settings: DeviceSettings) -> Iterator[Pkcs11Device]:
    with Pkcs11Device(settings) as opened:
        yield opened


def another_kek(settings: DeviceSettings, *, rewraps: bool = True, trusted: bool = True) -> str:
    so_pin, user_pin = (settings.pin_file.with_name(name).read_bytes() for name in ("so.pin", "user.pin"))
    return create_kek(settings.module, "test", so_pin, user_pin, settings.environment, rewraps=rewraps, trusted=trusted)


def signs(device: Pkcs11Device, wrapped: WrappedKey, public_key: bytes) -> None:
    (value,) = device.sign(wrapped, ECDSA, [DIGEST])
    public = load_der_public_key(public_key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(value, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


def generated(settings: DeviceSettings) -> GeneratedKey:
    with Pkcs11Device(replace(settings, workers=1)) as device:
        return device.generate(P256)


# One KEK after another


def test_a_kek_that_is_made_meanwhile_changes_nothing_for_a_device_that_runs(settings: DeviceSettings) -> None:
    with Pkcs11Device(replace(settings, workers=1, recycle_after=5)) as device:
        key = device.generate(P256)
        (first,) = device.wrapping_keys()
        second = another_kek(settings)
        # Its workers are replaced several times over.
        for _ in range(30):
            signs(device, key.wrapped, key.public_key)
        assert device.generate(P256).wrapped.kek_id == first.kek_id
        assert {kek.kek_id: kek.current for kek in device.wrapping_keys()} == {first.kek_id: True, second: False}


def test_between_two_keks_the_device_does_not_choose(settings: DeviceSettings) -> None:
    second = another_kek(settings)
    with pytest.raises(OperationNotPermitted, match="2 KEKs"):
        Pkcs11Device(settings)
    with pytest.raises(OperationNotPermitted, match="2 KEKs"):
        Pkcs11Device(replace(settings, kek_id="00" * 16))
    with Pkcs11Device(replace(settings, kek_id=second)) as device:
        assert device.generate(P256).wrapped.kek_id == second


def test_a_device_that_runs_finds_what_another_has_wrapped_by_a_kek_that_is_new(
    settings: DeviceSettings, device: Pkcs11Device
) -> None:
    device.canary()
    second = another_kek(settings)
    key = generated(replace(settings, kek_id=second))
    signs(device, key.wrapped, key.public_key)


def test_keys_are_wrapped_anew_by_the_kek_and_the_mechanism_of_new_keys_and_none_is_signed_with(
    settings: DeviceSettings, shim: Shim
) -> None:
    with Pkcs11Device(settings) as device:
        (first,) = device.wrapping_keys()
        keys = {name: device.generate(KEY_PROFILES[name]) for name in ("ec-p256", "ec-p384", "rsa-3072-pss")}
    second = another_kek(settings)
    for wraps in ("aes-kwp", "aes-kw"):
        with Pkcs11Device(replace(shim.before(settings), workers=1, kek_id=second, key_wrap=wraps)) as device:
            before = len(shim.sent())
            anew = {name: device.rewrap(key.wrapped) for name, key in keys.items()}
            assert len(shim.sent()) == before
            for name, key in anew.items():
                assert (key.kek_id, key.mechanism, key.profile) == (second, wraps, name)
                assert key.blob != keys[name].wrapped.blob
            signs(device, anew["ec-p256"], keys["ec-p256"].public_key)
            # Until the rows say otherwise, the old ones serve.
            signs(device, keys["ec-p256"].wrapped, keys["ec-p256"].public_key)
            with pytest.raises(WrappedKeyRefused):
                device.sign(replace(anew["ec-p256"], kek_id=first.kek_id), ECDSA, [DIGEST])


@pytest.mark.parametrize("final", ["old", "new"])
def test_a_final_kek_takes_part_in_no_rotation(tmp_path: Path, final: str) -> None:
    settings = make_token(tmp_path / "token", rewraps=final != "old")
    key = generated(settings)
    second = another_kek(settings, rewraps=final != "new")
    with Pkcs11Device(replace(settings, kek_id=second)) as device:
        with pytest.raises(OperationNotPermitted, match="CKA_UNWRAP_TEMPLATE"):
            device.rewrap(key.wrapped)
        signs(device, key.wrapped, key.public_key)


def test_nothing_is_wrapped_anew_by_a_kek_that_is_not_trusted(settings: DeviceSettings) -> None:
    key = generated(settings)
    second = another_kek(settings, trusted=False)
    with Pkcs11Device(replace(settings, kek_id=second, require_trusted_kek=False)) as device:
        with pytest.raises(OperationNotPermitted, match="CKA_TRUSTED"):
            device.rewrap(key.wrapped)
        signs(device, key.wrapped, key.public_key)


def test_another_kek_needs_a_token_with_keys_and_both_pins(settings: DeviceSettings, tmp_path: Path) -> None:
    environment = empty_token_directory(tmp_path / "bare")
    init_token(SOFTHSM2_MODULE, "bare", b"so-pin-1", b"user-pin-1", environment=environment)
    with pytest.raises(TokenMissing):
        create_kek(SOFTHSM2_MODULE, "bare", b"so-pin-1", b"user-pin-1", environment)
    with pytest.raises(TokenPinRefused):
        create_kek(settings.module, "test", b"wrong-so-pin", settings.pin_file.read_bytes(), settings.environment)
    with Pkcs11Device(settings) as device:
        assert len(device.wrapping_keys()) == 1


# What each kind of key may


def test_KEY_07_keys_of_every_profile_are_as_they_have_to_be_in_either_custody(settings: DeviceSettings) -> None:
    found = attributes(settings)
    states = ("unwrapped", "unwrapped to be wrapped anew", "kept")
    assert set(found) == {f"{name} {state}" for name in KEY_PROFILES for state in states}
    for name, flags in found.items():
        true = {flag for flag, value in flags.items() if value}
        if name.endswith("kept"):
            assert true == {
                "TOKEN", "PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "SIGN", "COPYABLE",
            }, name  # fmt: skip
        elif name.endswith("anew"):
            assert true == {"PRIVATE", "SENSITIVE", "EXTRACTABLE", "WRAP_WITH_TRUSTED", "SIGN", "COPYABLE"}, name
        else:
            assert true == {"PRIVATE", "SENSITIVE", "WRAP_WITH_TRUSTED", "SIGN", "COPYABLE"}, name


def attributes(settings: DeviceSettings) -> dict[str, dict[str, bool]]:
    opening = {
        "module": str(settings.module),
        "token_label": settings.token_label,
        "pin_file": str(settings.pin_file),
        "kek_id": None,
        "key_wrap": "auto",
        "key_cache": 64,
        "key_cache_seconds": 60.0,
        "require_trusted_kek": True,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.scdev_keys", json.dumps(opening), "attributes"],
        env=dict(settings.environment),
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    found: dict[str, dict[str, bool]] = json.loads(done.stdout)
    return found


# At hand


@pytest.mark.parametrize("profile", ["standard", "kept"])
def test_KEY_11_a_key_at_hand_signs_nothing_for_a_credential_that_was_suspended_or_deleted(
    shim: Shim, shared: DeviceSettings, tmp_path: Path, profile: str
) -> None:
    # One worker: with two, the one that has the key may be at its canary, and the other unwraps it.
    with Pkcs11Device(replace(shim.before(shared), workers=1)) as device:
        world = make_world(f"sqlite:///{tmp_path / 'sam.sqlite'}", device)
        credential = world.credential(profile=profile)
        for number in range(4):
            world.activator().sign(world.request(world.sad(credential, (digest(number),))))
        unwrapped, made = shim.calls("C_UnwrapKey"), len(shim.sent())
        world.activator().sign(world.request(world.sad(credential)))
        # It is at hand.
        assert shim.calls("C_UnwrapKey") == unwrapped
        assert len(shim.sent()) == made + 1
        for operation in ("credential.suspend", "credential.delete"):
            request = world.request(world.sad(credential))
            world.lifecycle().execute(world.order_token(operation, credential_id=credential.id))
            with pytest.raises(CredentialDisabled):
                world.activator().sign(request)
        assert len(shim.sent()) == made + 1
        assert device.kept(REALM) == frozenset()


# Faults


@contextmanager
def faulty(shim: Shim, device: Pkcs11Device, function: str, code: int, nth: int = 1) -> Iterator[None]:
    """One call fails; before and after it a worker is ready."""
    shim.fault(function, "return", code, nth=nth, times=1)
    try:
        yield
    finally:
        shim.heal()
    end = time.monotonic() + 20
    while not device.health().available:
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def test_KEY_13_where_the_token_makes_no_key_nobody_else_does(shim: Shim, shared: DeviceSettings) -> None:
    with Pkcs11Device(replace(shim.before(shared), workers=1)) as device:
        # CKR_DEVICE_ERROR, CKR_RANDOM_SEED_NOT_SUPPORTED, CKR_RANDOM_NO_RNG.
        for code in (0x30, 0x120, 0x121):
            for realm in (None, "realm"):
                with faulty(shim, device, "C_GenerateKeyPair", code), pytest.raises(DeviceError):
                    device.generate(P256, realm)
        assert device.kept("realm") == frozenset()
        key = device.generate(P256)
        signs(device, key.wrapped, key.public_key)


def test_a_fault_while_a_key_is_wrapped_anew_leaves_no_blob_and_the_old_one_good(
    shim: Shim, shared: DeviceSettings
) -> None:
    with Pkcs11Device(replace(shim.before(shared), workers=1)) as device:
        key = device.generate(P256)
        for function in ("C_UnwrapKey", "C_WrapKey"):
            for nth in (1, 2):
                with faulty(shim, device, function, 0x30, nth), pytest.raises(DeviceError):
                    device.rewrap(key.wrapped)
        signs(device, key.wrapped, key.public_key)


def test_KEY_10_a_key_that_cannot_be_looked_at_does_not_stay_on_the_token(shim: Shim, shared: DeviceSettings) -> None:
    with Pkcs11Device(replace(shim.before(shared), workers=1)) as device:
        before = shim.calls("C_GetAttributeValue")
        device.destroy_kept("realm", device.generate(P256, "realm").wrapped.blob)
        calls = shim.calls("C_GetAttributeValue") - before
        assert calls > 4
        for nth in range(1, calls + 1):
            with faulty(shim, device, "C_GetAttributeValue", 0x30, nth), suppress(DeviceError):
                device.destroy_kept("realm", device.generate(P256, "realm").wrapped.blob)
            assert device.kept("realm") == frozenset()
