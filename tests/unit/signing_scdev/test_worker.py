"""The worker's operations on a scripted token: what is said when it fails half-way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from pkcs11 import Attribute, Mechanism, MechanismFlag, exceptions

from signing.sam.algorithms import KEY_PROFILES, SHA256
from signing.scdev.objects import EC_PARAMETERS, USER_KEY
from signing.scdev.objects import P256 as CURVE
from signing.scdev.refused import Refused
from signing.scdev.userkeys import Blob, UserKeys
from signing.scdev.wrapping import AUTO, Kek, Keks, candidates, mechanism_named

P256 = KEY_PROFILES["ec-p256"]


class Key:
    """Signs until the script's exceptions begin."""

    def __init__(self, *script: Exception | None, **changed: bool) -> None:
        self._script = list(script)
        self._attributes: dict[int, object] = dict(USER_KEY)
        self._attributes |= {int(Attribute[name]): value for name, value in changed.items()}
        self.destroyed = 0

    def get_attributes(self, names: Sequence[int]) -> dict[int, object]:
        return {name: self._attributes[name] for name in names}

    def __getitem__(self, name: int) -> bytes:
        return EC_PARAMETERS[CURVE]

    def sign(self, _data: bytes, **_: Any) -> bytes:
        error = self._script.pop(0)
        if error is not None:
            raise error
        return b"\x01" * 64

    def destroy(self) -> None:
        self.destroyed += 1


class Unwrapping:
    """Unwraps to each key of the script in turn."""

    def __init__(self, *script: Key | Exception) -> None:
        self._script = list(script)
        self.unwrapped = 0

    def unwrap_key(self, *_: Any, **__: Any) -> Key:
        self.unwrapped += 1
        key = self._script.pop(0)
        if isinstance(key, Exception):
            raise key
        return key


class Worker:
    """A worker's keys, with what it says of itself."""

    def __init__(self, *script: Key | Exception, works: bool = True, cache: int = 0) -> None:
        self.kek = Unwrapping(*script)
        self.usable = True
        keks = cast("Keks", {"aa": Kek(self.kek, trusted=False)})
        self.keys = UserKeys(None, keks, "aa", (cache, 60.0), works=lambda: works, give_up=self.give_up)

    def give_up(self) -> None:
        self.usable = False


def sign(on: Worker, digests: int, octets: bytes = b"blob") -> list[bytes]:
    return on.keys.sign(Blob(P256, "aa", "aes-kwp", octets), "ecdsa", SHA256, [bytes(32)] * digests)


def test_OPS_03_a_permanent_refusal_of_the_first_digest_is_certain_not_to_have_signed() -> None:
    key = Key(exceptions.DataLenRange())
    with pytest.raises(Refused) as refused:
        sign(Worker(key), 2)
    assert refused.value.kind == "operation_not_permitted"
    assert key.destroyed == 1


@pytest.mark.parametrize("error", [exceptions.DataLenRange(), exceptions.DeviceError()])
def test_OPS_03_any_refusal_after_a_value_was_made_is_a_loss(error: Exception) -> None:
    key = Key(None, error)
    with pytest.raises(Refused) as refused:
        sign(Worker(key), 3)
    assert refused.value.kind == "device_lost"
    assert key.destroyed == 1


def test_a_lost_device_in_c_unwrap_is_told_from_an_altered_blob_by_the_canary() -> None:
    with pytest.raises(Refused) as refused:
        sign(Worker(exceptions.GeneralError()), 1)
    assert refused.value.kind == "wrapped_key_refused"
    with pytest.raises(Refused) as refused:
        sign(Worker(exceptions.GeneralError(), works=False), 1)
    assert refused.value.kind == "device_unavailable"


def test_a_key_that_cannot_be_destroyed_makes_the_worker_unusable_and_the_value_stays_good() -> None:
    class Stuck(Key):
        def destroy(self) -> None:
            raise exceptions.FunctionFailed

    on = Worker(Stuck(None))
    assert len(sign(on, 1)) == 1
    assert not on.usable


def test_a_key_at_hand_is_not_unwrapped_again_and_one_that_failed_is_not_kept() -> None:
    first, second = Key(None, None, exceptions.DataLenRange()), Key(None)
    on = Worker(first, second, cache=4)
    sign(on, 1)
    sign(on, 1)
    assert (on.kek.unwrapped, first.destroyed) == (1, 0)
    with pytest.raises(Refused):
        sign(on, 1)
    assert first.destroyed == 1
    sign(on, 1)
    assert on.kek.unwrapped == 2


def test_two_blobs_are_two_keys() -> None:
    on = Worker(Key(None), Key(None), cache=4)
    sign(on, 1, b"one")
    sign(on, 1, b"two")
    assert on.kek.unwrapped == 2


@pytest.mark.parametrize("error", [exceptions.KeyHandleInvalid(), exceptions.ObjectHandleInvalid()])
def test_OPS_03_a_key_at_hand_that_the_token_has_forgotten_was_certainly_not_used(error: Exception) -> None:
    on = Worker(Key(None, error), cache=4)
    sign(on, 1)
    with pytest.raises(Refused) as refused:
        sign(on, 1)
    assert refused.value.kind == "device_unavailable"


@pytest.mark.parametrize(
    "changed", [{"SENSITIVE": False}, {"EXTRACTABLE": True}, {"DECRYPT": True}, {"MODIFIABLE": True}, {"SIGN": False}]
)
def test_KEY_07_a_key_that_comes_out_with_other_attributes_is_destroyed_unused(changed: dict[str, bool]) -> None:
    key = Key(None, **changed)
    with pytest.raises(Refused, match=next(iter(changed))) as refused:
        sign(Worker(key), 1)
    assert refused.value.kind == "operation_not_permitted"
    assert key.destroyed == 1


# By which mechanism new keys are wrapped

BOTH = MechanismFlag.WRAP | MechanismFlag.UNWRAP


@pytest.mark.parametrize(
    ("offered", "found"),
    [
        ({Mechanism.AES_KEY_WRAP: BOTH, Mechanism.AES_KEY_WRAP_PAD: BOTH}, ("aes-kwp", "aes-kw")),
        ({Mechanism.AES_KEY_WRAP: BOTH}, ("aes-kw",)),
        ({Mechanism.AES_KEY_WRAP: BOTH, Mechanism.AES_KEY_WRAP_PAD: MechanismFlag.UNWRAP}, ("aes-kw",)),
        ({Mechanism.AES_KEY_WRAP_PAD: BOTH | MechanismFlag.ENCRYPT}, ("aes-kwp",)),
        ({}, ()),
    ],
)
def test_what_the_token_offers_is_taken_padded_before_plain(
    offered: dict[int, MechanismFlag], found: tuple[str, ...]
) -> None:
    assert candidates(AUTO, offered) == found


def test_a_mechanism_that_the_settings_name_is_taken_whatever_the_token_says() -> None:
    assert candidates("aes-kw", {}) == ("aes-kw",)
    assert candidates("vendor:0x80000abc", {}) == ("vendor:0x80000abc",)


def test_the_name_beside_a_blob_leads_to_one_mechanism_or_none() -> None:
    assert mechanism_named("aes-kwp") is Mechanism.AES_KEY_WRAP_PAD
    assert mechanism_named("aes-kw") is Mechanism.AES_KEY_WRAP
    vendors = mechanism_named("vendor:0x80000abc")
    assert isinstance(vendors, Mechanism)
    assert vendors == 0x80000ABC
    # CKM_AES_ECB by its number, one that is no vendor's, other spellings.
    for name in ("vendor:0x00001081", "vendor:0x7fffffff", "vendor:0x80000ABC", "vendor:0x8", "AES-KWP", "", "token"):
        assert mechanism_named(name) is None


def test_KEY_06_a_blob_of_a_mechanism_that_is_not_known_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        Worker(Key(None)).keys.sign(Blob(P256, "aa", "aes-cbc", b"blob"), "ecdsa", SHA256, [bytes(32)])
    assert refused.value.kind == "wrapped_key_refused"


# At its birth, and wrapped anew


class Token:
    """Generates the pair that the script says."""

    def __init__(self, public: Key, private: Key) -> None:
        self._pair = public, private

    def create_domain_parameters(self, *_: Any, **__: Any) -> Token:
        return self

    def generate_keypair(self, **_: Any) -> tuple[Key, Key]:
        return self._pair


class Wrapping(Unwrapping):
    """Wraps each key to what the script says."""

    def __init__(self, blobs: Sequence[bytes], *keys: Key) -> None:
        super().__init__(*keys)
        self.blobs = list(blobs)

    def wrap_key(self, _key: Key, **_: Any) -> bytes:
        return self.blobs.pop(0)


def user_keys(kek: Wrapping, token: Token | None = None) -> UserKeys:
    keks = cast("Keks", {"aa": Kek(kek, trusted=True)})
    keys = UserKeys(token, keks, "aa", (0, 60.0), works=lambda: True, give_up=lambda: None)
    vars(keys)["_wrap"] = "aes-kwp"
    return keys


BORN = {"EXTRACTABLE": True, "ALWAYS_SENSITIVE": True, "WRAP_WITH_TRUSTED": True}


@pytest.mark.parametrize(
    "changed",
    [{"SENSITIVE": False}, {"ALWAYS_SENSITIVE": False}, {"WRAP_WITH_TRUSTED": False}, {"DECRYPT": True}],
)
def test_KEY_07_a_key_that_is_born_with_other_attributes_is_not_wrapped_and_both_halves_go(
    changed: dict[str, bool],
) -> None:
    public, private, kek = Key(), Key(**{**BORN, **changed}), Wrapping([b"blob"])
    with pytest.raises(Refused, match=next(iter(changed))):
        user_keys(kek, Token(public, private)).generate(P256)
    assert (public.destroyed, private.destroyed) == (1, 1)
    assert kek.blobs == [b"blob"]


def test_a_key_that_is_born_as_it_has_to_be_is_wrapped_and_both_halves_go() -> None:
    public, private = Key(), Key(**BORN)
    octets, kek_id, mechanism, *_ = user_keys(Wrapping([b"blob"]), Token(public, private)).generate(P256)
    assert (octets, kek_id, mechanism) == (b"blob", b"aa", b"aes-kwp")
    assert (public.destroyed, private.destroyed) == (1, 1)


def test_what_was_wrapped_anew_is_given_out_only_where_it_holds_the_same_key() -> None:
    old = Blob(P256, "aa", "aes-kwp", b"old")
    extractable = {"EXTRACTABLE": True, "WRAP_WITH_TRUSTED": True}
    first, second = Key(**extractable), Key(**extractable)
    assert user_keys(Wrapping([b"new", b"new"], first, second)).rewrap(old) == [b"new", b"aa", b"aes-kwp"]
    assert (first.destroyed, second.destroyed) == (1, 1)
    first, second = Key(**extractable), Key(**extractable)
    with pytest.raises(Refused, match="cannot be verified"):
        user_keys(Wrapping([b"new", b"other"], first, second)).rewrap(old)
    assert (first.destroyed, second.destroyed) == (1, 1)


def test_KEY_07_a_key_that_any_key_could_wrap_is_not_wrapped_anew() -> None:
    key, kek = Key(EXTRACTABLE=True, WRAP_WITH_TRUSTED=False), Wrapping([b"new"])
    kek._script = [key]
    with pytest.raises(Refused, match="WRAP_WITH_TRUSTED"):
        user_keys(kek).rewrap(Blob(P256, "aa", "aes-kwp", b"old"))
    assert key.destroyed == 1
    assert kek.blobs == [b"new"]
