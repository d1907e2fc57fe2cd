"""Passwords: the same work for everybody, and only the right one is right."""

from __future__ import annotations

import argon2
import pytest

from idp.authn.password import MAX_LENGTH, Passwords, back_off_seconds
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
    encoded = passwords.hash("a" * MAX_LENGTH)
    assert not passwords.verify(encoded, "a" * (MAX_LENGTH + 1))
    assert not passwords.verify(encoded, "a" * (MAX_LENGTH + 500))


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
    assert len(done) == 2
    assert [item.split("$")[3] for item in done] == ["m=7168,t=5,p=1"] * 2


def test_a_stored_hash_that_is_damaged_is_refused_without_an_error(passwords: Passwords) -> None:
    assert not passwords.verify("$argon2id$nonsense", "correct horse battery")


def test_a_hash_with_other_costs_is_renewed_at_login(passwords: Passwords) -> None:
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("correct horse battery")
    renewed = passwords.renewed(old, "correct horse battery")
    assert renewed is not None
    assert passwords.verify(renewed, "correct horse battery")
    assert passwords.renewed(renewed, "correct horse battery") is None


def test_back_off_grows_and_stays_within_a_quarter_of_an_hour() -> None:
    assert [back_off_seconds(number) for number in (0, 4, 5, 6, 10, 60, 99)] == [0, 0, 2, 4, 64, 900, 900]
