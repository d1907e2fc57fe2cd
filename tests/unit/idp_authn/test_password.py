"""Passwords: the same work for everybody, and only the right one is right."""

from __future__ import annotations

import unicodedata

import argon2
import pytest

from idp.authn.new_password import MAX_LENGTH
from idp.authn.password import Passwords, back_off_seconds
from idp.errors import InputRefused
from idp.settings import PasswordSettings


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords(PasswordSettings())


def test_the_right_password_is_right_and_another_is_not(passwords: Passwords) -> None:
    encoded = passwords.hash("correct horse battery")
    assert passwords.verify(encoded, "correct horse battery")
    assert not passwords.verify(encoded, "correct horse batterz")


def test_a_password_typed_in_another_unicode_form_is_the_same(passwords: Passwords) -> None:
    assert passwords.verify(passwords.hash("contraseña-é"), "contrasen\u0303a-e\u0301")


def test_the_hash_does_not_contain_the_password_and_is_argon2id(passwords: Passwords) -> None:
    encoded = passwords.hash("correct horse battery")
    assert encoded.startswith("$argon2id$v=19$m=7168,t=5,p=1$")
    assert "correct" not in encoded


@pytest.mark.parametrize("password", ["short", "x" * (MAX_LENGTH + 1), "with a\x00 control"])
def test_a_password_of_a_form_that_is_not_accepted_is_never_hashed(passwords: Passwords, password: str) -> None:
    with pytest.raises(InputRefused) as refused:
        passwords.hash(password)
    assert password not in str(refused.value)


def test_a_prefix_of_an_overlong_password_is_not_the_password(passwords: Passwords) -> None:
    text = "a quiet river " * MAX_LENGTH
    encoded = passwords.hash(text[:MAX_LENGTH])
    assert not passwords.verify(encoded, text[: MAX_LENGTH + 1])
    assert not passwords.verify(encoded, text[: MAX_LENGTH + 500])


MARKS = "a" + "\u0301" * 20_000 + "\u0316" * 20_000
"""Putting such marks in order takes seconds, in which no other request of the process is answered."""


def test_DOS_03_what_is_longer_than_any_password_is_never_normalised(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = passwords.hash("correct horse battery")
    seen: list[int] = []
    real = unicodedata.normalize

    def watched(form: str, text: str) -> str:
        seen.append(len(text))
        return real(form, text)  # type: ignore[arg-type] # passed through as it came

    monkeypatch.setattr("idp.authn.password.unicodedata.normalize", watched)
    for password in (MARKS, "x" * (4 * MAX_LENGTH + 1)):
        assert not passwords.verify(encoded, password)
        with pytest.raises(InputRefused):
            passwords.hash(password)
    assert seen == []
    assert not passwords.verify(encoded, "x" * (4 * MAX_LENGTH))
    assert seen == [4 * MAX_LENGTH]


def test_a_password_of_full_length_may_be_typed_with_every_mark_apart(passwords: Passwords) -> None:
    text = ("\u1f82\u1f82\u1f83\u1f82\u1f84" * MAX_LENGTH)[:MAX_LENGTH]
    encoded = passwords.hash(text)
    typed = unicodedata.normalize("NFD", text)
    assert len(typed) == 4 * MAX_LENGTH
    assert passwords.verify(encoded, typed)


def test_OTP_11_nobody_has_a_password_yet_one_verification_is_done(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, encoded: str, text: str) -> bool:
        done.append(encoded)
        return real(self, encoded, text)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    assert not passwords.verify(None, "a password that nobody has")
    assert not passwords.verify(passwords.hash("correct horse battery"), "wrong")
    assert not passwords.verify(passwords.hash("correct horse battery"), MARKS)
    assert len(done) == 3
    assert [item.split("$")[3] for item in done] == ["m=7168,t=5,p=1"] * 3


@pytest.mark.parametrize("told", [True, False])
def test_OTP_11_while_some_hashes_have_other_costs_everybody_is_the_same_work(
    monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    old = argon2.PasswordHasher(time_cost=2, memory_cost=128, parallelism=1).hash("correct horse battery")
    passwords = Passwords(PasswordSettings(memory_kib=64, iterations=1), [old] if told else [])
    if not told:
        # A hash that was written after the start: known from its first verification on.
        assert passwords.verify(old, "correct horse battery")
    new = passwords.hash("correct horse battery")
    done: list[str] = []
    real = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, encoded: str, text: str) -> bool:
        done.append(encoded.split("$")[3])
        return real(self, encoded, text)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    for encoded, password, right in (
        (None, "correct horse battery", False),
        (old, "wrong", False),
        (new, "wrong", False),
        (old, "correct horse battery", True),
        (new, "correct horse battery", True),
        ("$argon2id$nonsense", "correct horse battery", False),
        (old, MARKS, False),
    ):
        done.clear()
        assert passwords.verify(encoded, password) is right
        assert sorted(done) == ["m=128,t=2,p=1", "m=64,t=1,p=1"]


def test_a_stored_hash_of_impossible_costs_is_refused_without_an_error(passwords: Passwords) -> None:
    encoded = passwords.hash("correct horse battery").replace("m=7168", "m=1")
    assert not passwords.verify(encoded, "correct horse battery")


def test_a_stored_hash_that_is_damaged_is_refused_without_an_error(passwords: Passwords) -> None:
    assert not passwords.verify("$argon2id$nonsense", "correct horse battery")


def test_a_hash_with_other_costs_is_renewed_at_login(passwords: Passwords) -> None:
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("correct horse battery")
    renewed = passwords.renewed(old, "correct horse battery")
    assert renewed is not None
    assert passwords.verify(renewed, "correct horse battery")
    assert passwords.renewed(renewed, "correct horse battery") is None


def test_a_hash_with_any_one_of_the_costs_lowered_or_raised_is_renewed() -> None:
    settings = PasswordSettings(memory_kib=128, iterations=2, parallelism=2)
    passwords = Passwords(settings)
    for memory, iterations, lanes in ((256, 2, 2), (64, 2, 2), (128, 1, 2), (128, 3, 2), (128, 2, 1)):
        other = argon2.PasswordHasher(time_cost=iterations, memory_cost=memory, parallelism=lanes)
        renewed = passwords.renewed(other.hash("correct horse battery"), "correct horse battery")
        assert renewed is not None
        assert renewed.startswith("$argon2id$v=19$m=128,t=2,p=2$")


def test_OTP_06_without_the_key_a_hash_gives_nothing_to_try_passwords_against() -> None:
    settings = PasswordSettings(memory_kib=64, iterations=1)
    keyed = Passwords(settings, key=bytes(32))
    encoded = keyed.hash("correct horse battery")
    assert encoded.startswith("k1$argon2id$v=19$m=64,t=1,p=1$")
    assert keyed.verify(encoded, "correct horse battery")
    assert not keyed.verify(encoded, "wrong horse battery")
    for other in (Passwords(settings), Passwords(settings, key=bytes(31) + b"1")):
        assert not other.verify(encoded, "correct horse battery")
    # Neither what argon2id was given nor the part of the hash that is argon2's own is the password's.
    assert not Passwords(settings).verify(encoded.removeprefix("k1"), "correct horse battery")


def test_a_hash_from_before_there_was_a_key_still_verifies_and_is_renewed_with_it() -> None:
    settings = PasswordSettings(memory_kib=64, iterations=1)
    old = Passwords(settings).hash("correct horse battery")
    keyed = Passwords(settings, [old], key=bytes(32))
    assert keyed.verify(old, "correct horse battery")
    renewed = keyed.renewed(old, "correct horse battery")
    assert renewed is not None
    assert renewed.startswith("k1$")
    assert keyed.verify(renewed, "correct horse battery")
    assert keyed.renewed(renewed, "correct horse battery") is None


def test_back_off_grows_and_stays_within_a_quarter_of_an_hour() -> None:
    assert [back_off_seconds(number) for number in (0, 4, 5, 6, 10, 60, 99)] == [0, 0, 2, 4, 64, 900, 900]
