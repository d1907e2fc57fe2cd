"""A real SoftHSM2 token: how it is prepared, and what its keys may and may not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from auditlog.chain import ORIGIN
from foundation.files import write_secret
from signing.sam.algorithms import KEY_PROFILES, SHA256, SignatureAlgorithm
from signing.sam.ports import OperationNotPermitted, WrappedKeyRefused
from signing.scdev.device import MAX_CHECKPOINT, Pkcs11Device
from signing.scdev.errors import (
    CeremonyFailed,
    TokenExists,
    TokenKeysExist,
    TokenMissing,
    TokenPinRefused,
)
from signing.scdev.settings import DeviceSettings
from signing.scdev.token import create_server_keys, init_token, token_exists
from tests.fakes.softhsm import SOFTHSM2_MODULE, empty_token_directory, make_token

pytestmark = pytest.mark.hsm
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> DeviceSettings:
    return make_token(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module")
def seen(settings: DeviceSettings) -> Any:
    """What a rogue with the user PIN finds, after keys of every profile were made and one was used."""
    return rogue(settings)


@pytest.fixture(scope="module")
def seen_behind_a_final_kek(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same where the KEK lets no key be wrapped again."""
    return rogue(make_token(tmp_path_factory.mktemp("final"), rewraps=False))


def rogue(settings: DeviceSettings) -> Any:
    with Pkcs11Device(replace(settings, workers=1)) as device:
        for profile in KEY_PROFILES.values():
            device.generate(profile)
        blob = device.generate(KEY_PROFILES["ec-p256"]).wrapped.blob
    arguments = (str(settings.module), settings.token_label, str(settings.pin_file), blob.hex())
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.scdev_rogue", *arguments],
        env=dict(settings.environment),
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def only(flags: dict[str, bool], *wanted: str) -> None:
    """Exactly these of the token's usage and protection flags are true."""
    assert {name for name, value in flags.items() if value} == set(wanted)


KEPT = ("PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "TOKEN")


def test_KEY_07_the_kek_wraps_and_unwraps_and_is_trusted_and_nothing_else(seen: Any) -> None:
    # COPYABLE: SoftHSM2 cannot take it away in the copy that keeps CKA_TRUSTED; copies keep all restrictions.
    only(seen["flags"]["kek"], *KEPT, "WRAP", "UNWRAP", "TRUSTED", "COPYABLE")


def test_KEY_07_the_row_mac_key_makes_and_verifies_macs_and_nothing_else(seen: Any) -> None:
    only(seen["flags"]["mac"], *KEPT, "SIGN", "VERIFY")


def test_KEY_07_the_canary_and_the_checkpoint_key_sign_and_nothing_else(seen: Any) -> None:
    only(seen["flags"]["canary"], *KEPT, "SIGN")
    only(seen["flags"]["checkpoint"], *KEPT, "SIGN")


def test_KEY_07_a_user_key_in_use_signs_and_nothing_else(seen: Any) -> None:
    # Not ALWAYS_SENSITIVE nor NEVER_EXTRACTABLE: those are never true of a key that was unwrapped (PKCS #11 2.40).
    only(seen["flags"]["in_use"], "PRIVATE", "SENSITIVE", "SIGN", "COPYABLE", "WRAP_WITH_TRUSTED")


def test_KEY_07_a_user_key_is_born_sensitive_and_leaves_only_under_a_trusted_key(seen: Any) -> None:
    flags = seen["flags"]["born"]
    assert flags["SENSITIVE"]
    assert flags["ALWAYS_SENSITIVE"]
    assert flags["WRAP_WITH_TRUSTED"]
    assert not flags["TOKEN"]


def test_the_server_keys_have_ids_of_their_own(seen: Any) -> None:
    assert len(seen["ids"]) == len(set(seen["ids"])) == 4
    assert all(len(bytes.fromhex(object_id)) == 16 for object_id in seen["ids"])


def test_KEY_10_generating_keys_leaves_nothing_on_the_token(seen: Any) -> None:
    # KEK, row-MAC key, canary key pair, checkpoint key pair.
    assert seen["token_objects"] == 6


@pytest.mark.parametrize("mechanism", ["decrypt_ecb", "decrypt_cbc", "decrypt_cbc_pad"])
def test_a_wrapped_blob_cannot_be_decrypted_with_the_kek(seen: Any, mechanism: str) -> None:
    # CKR_KEY_FUNCTION_NOT_PERMITTED
    assert seen["attempts"][mechanism] == "0x68"


def test_KEY_06_nothing_that_a_rogue_with_the_user_pin_tries_gets_a_key_out(seen: Any) -> None:
    assert {name for name, result in seen["attempts"].items() if result == "SUCCEEDED"} == set()
    assert len(seen["attempts"]) == 21


def test_a_user_key_cannot_be_wrapped_by_a_key_that_is_not_trusted(seen: Any) -> None:
    assert seen["attempts"]["user_key_wrapped_by_rogue"] == "KeyNotWrappable"
    assert seen["attempts"]["rogue_made_trusted"] != "SUCCEEDED"
    assert seen["attempts"]["rogue_born_trusted"] != "SUCCEEDED"


def test_KEY_06_a_blob_unwraps_to_a_key_in_use_and_to_nothing_else(seen: Any) -> None:
    for name in (
        "unwrapped_in_clear",
        "unwrapped_for_decryption",
        "unwrapped_onto_token",
        "unwrapped_modifiable",
        "unwrapped_saying_nothing",
    ):
        assert seen["attempts"][name] == "TemplateInconsistent"


def test_KEY_06_a_key_that_can_be_wrapped_again_leaves_under_a_trusted_key_and_in_no_other_way(seen: Any) -> None:
    only(seen["flags"]["extractable"], "PRIVATE", "SENSITIVE", "EXTRACTABLE", "SIGN", "COPYABLE", "WRAP_WITH_TRUSTED")
    assert {name for name, result in seen["rewrapping"].items() if result == "SUCCEEDED"} == set()
    assert seen["rewrapping"]["wrapped_by_rogue"] == seen["rewrapping"]["wrapped_by_rogue_plainly"] == "KeyNotWrappable"
    for name in ("for_any_to_wrap", "extractable_in_clear", "extractable_onto_token", "extractable_for_decryption"):
        assert seen["rewrapping"][f"unwrapped_{name}"] == "TemplateInconsistent"
    assert len(seen["rewrapping"]) == 12


def test_KEY_06_behind_a_final_kek_a_key_is_never_extractable_again(seen_behind_a_final_kek: Any) -> None:
    assert seen_behind_a_final_kek["flags"]["extractable"] is None
    attempts = seen_behind_a_final_kek["attempts"]
    assert {name for name, result in attempts.items() if result == "SUCCEEDED"} == set()
    assert len(attempts) == 21


# Preparing a token


def test_a_token_that_exists_is_not_initialised_again(settings: DeviceSettings) -> None:
    with pytest.raises(TokenExists):
        init_token(settings.module, "test", b"so-pin-2", b"user-pin-2", environment=settings.environment)
    assert token_exists(settings.module, "test", settings.environment)
    assert not token_exists(settings.module, "other", settings.environment)
    with Pkcs11Device(replace(settings, workers=1)) as device:
        device.canary()


def test_server_keys_are_made_once(settings: DeviceSettings) -> None:
    so_pin, user_pin = (settings.pin_file.with_name(name).read_bytes() for name in ("so.pin", "user.pin"))
    with pytest.raises(TokenKeysExist):
        create_server_keys(settings.module, "test", so_pin, user_pin, settings.environment)


def test_a_second_token_stands_beside_the_first_in_a_slot_by_choice(tmp_path: Path) -> None:
    environment = empty_token_directory(tmp_path / "hsm")
    init_token(SOFTHSM2_MODULE, "one", b"so-pin-1", b"user-pin-1", environment=environment)
    with pytest.raises(TokenMissing):
        init_token(SOFTHSM2_MODULE, "two", b"so-pin-2", b"user-pin-2", 999, environment=environment)
    init_token(SOFTHSM2_MODULE, "two", b"so-pin-2", b"user-pin-2", environment=environment)
    first = create_server_keys(SOFTHSM2_MODULE, "one", b"so-pin-1", b"user-pin-1", environment)
    second = create_server_keys(SOFTHSM2_MODULE, "two", b"so-pin-2", b"user-pin-2", environment)
    ids = {value for made in (first, second) for value in asdict(made).values()}
    assert len(ids) == 8


def test_the_checkpoint_key_signs_what_begins_as_a_checkpoint_and_nothing_else(settings: DeviceSettings) -> None:
    with Pkcs11Device(replace(settings, workers=1)) as device:
        check_checkpoint_key(device)


def check_checkpoint_key(device: Pkcs11Device) -> None:
    public = load_der_public_key(device.checkpoint_key())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    for text in (b"realm/sam\n1\n", b"\x31" + bytes(40), b"privyseal-checkpoint/1/"):
        value = device.sign_checkpoint(text)
        public.verify(value, ORIGIN.encode() + text, ec.ECDSA(hashes.SHA256()))
        with pytest.raises(InvalidSignature):
            public.verify(value, text, ec.ECDSA(hashes.SHA256()))
    for text in (b"", bytes(MAX_CHECKPOINT + 1)):
        with pytest.raises(OperationNotPermitted):
            device.sign_checkpoint(text)


def test_no_token_no_module_or_an_unusable_label_is_an_error_of_ours(tmp_path: Path) -> None:
    environment = empty_token_directory(tmp_path / "hsm")
    with pytest.raises(TokenMissing):
        create_server_keys(SOFTHSM2_MODULE, "absent", b"so-pin-1", b"user-pin-1", environment)
    with pytest.raises(CeremonyFailed):
        token_exists(tmp_path / "no-module.so", "x", environment)
    for label in ("", " x", "x" * 33):
        with pytest.raises(CeremonyFailed):
            init_token(SOFTHSM2_MODULE, label, b"so-pin-1", b"user-pin-1", environment=environment)


def test_KEY_09_a_wrong_pin_stops_the_ceremony(tmp_path: Path) -> None:
    environment = empty_token_directory(tmp_path / "hsm")
    init_token(SOFTHSM2_MODULE, "one", b"so-pin-1", b"user-pin-1", environment=environment)
    for so_pin, user_pin in ((b"wrong-so-pin", b"user-pin-1"), (b"so-pin-1", b"wrong-user-pin")):
        with pytest.raises(TokenPinRefused) as refused:
            create_server_keys(SOFTHSM2_MODULE, "one", so_pin, user_pin, environment)
        assert "wrong" not in str(refused.value)
    create_server_keys(SOFTHSM2_MODULE, "one", b"so-pin-1", b"user-pin-1", environment)


def test_a_kek_that_is_not_trusted_is_refused_unless_the_settings_allow_it(tmp_path: Path) -> None:
    environment = empty_token_directory(tmp_path / "hsm")
    init_token(SOFTHSM2_MODULE, "plain", b"so-pin-1", b"user-pin-1", environment=environment)
    create_server_keys(SOFTHSM2_MODULE, "plain", b"so-pin-1", b"user-pin-1", environment, trusted=False)
    write_secret(tmp_path / "pin", b"user-pin-1")
    settings = DeviceSettings(SOFTHSM2_MODULE, "plain", tmp_path / "pin", workers=1, environment=environment)
    with pytest.raises(OperationNotPermitted, match="CKA_TRUSTED"):
        Pkcs11Device(settings)
    with Pkcs11Device(replace(settings, require_trusted_kek=False)) as device:
        device.generate(KEY_PROFILES["ec-p256"])
        device.canary()


def test_a_token_without_server_keys_is_refused(tmp_path: Path) -> None:
    environment = empty_token_directory(tmp_path / "hsm")
    init_token(SOFTHSM2_MODULE, "bare", b"so-pin-1", b"user-pin-1", environment=environment)
    write_secret(tmp_path / "pin", b"user-pin-1")
    settings = DeviceSettings(SOFTHSM2_MODULE, "bare", tmp_path / "pin", workers=1, environment=environment)
    with pytest.raises(OperationNotPermitted, match="0 KEKs"):
        Pkcs11Device(settings)


def test_keys_wrapped_without_padding_work_where_the_settings_ask_for_it(settings: DeviceSettings) -> None:
    ecdsa = SignatureAlgorithm("ecdsa", SHA256)
    with Pkcs11Device(replace(settings, workers=1, key_wrap="aes-kw")) as device:
        plain = device.generate(KEY_PROFILES["ec-p256"]).wrapped
        assert plain.mechanism == "aes-kw"
        assert len(device.sign(plain, ecdsa, [bytes(32)])) == 1
        with pytest.raises(WrappedKeyRefused):
            device.sign(replace(plain, mechanism="aes-kwp"), ecdsa, [bytes(32)])
    # Each is unwrapped as it was wrapped, whatever new ones are wrapped by.
    with Pkcs11Device(replace(settings, workers=1)) as device:
        assert device.generate(KEY_PROFILES["ec-p256"]).wrapped.mechanism == "aes-kwp"
        assert len(device.sign(plain, ecdsa, [bytes(32)])) == 1


def test_a_vendors_mechanism_that_the_token_does_not_have_stops_the_start(settings: DeviceSettings) -> None:
    with pytest.raises(OperationNotPermitted, match="C_WrapKey"):
        Pkcs11Device(replace(settings, workers=1, key_wrap="vendor:0x80000abc"))


# Keys kept at hand


def worker_keys(settings: DeviceSettings, cache: int) -> Any:
    opening = {
        "module": str(settings.module),
        "token_label": settings.token_label,
        "pin_file": str(settings.pin_file),
        "kek_id": None,
        "key_wrap": "auto",
        "key_cache": cache,
        "key_cache_seconds": 4.0,
        "require_trusted_kek": True,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.scdev_keys", json.dumps(opening)],
        env=dict(settings.environment),
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_worker_holds_no_more_keys_than_it_may_and_none_for_longer(settings: DeviceSettings) -> None:
    # Each: how often C_UnwrapKey was called, and how many private session keys the token then shows.
    assert worker_keys(settings, 3) == {
        "at_first": 0,
        "one_thrice": [1, 1],
        "two_more": [2, 3],
        "those_again": [0, 3],
        "a_fourth": [1, 3],
        "the_one_used_longest_ago": [1, 3],
        "too_old": 0,
        "anew": [1, 1],
    }


def test_a_worker_that_may_keep_no_keys_holds_none(settings: DeviceSettings) -> None:
    found = worker_keys(settings, 0)
    assert found["one_thrice"] == [3, 0]
    assert found["those_again"] == [3, 0]
