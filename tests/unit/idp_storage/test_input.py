"""What an administrator may enter."""

from __future__ import annotations

from typing import Any

import pytest

from idp.errors import InputRefused
from idp.storage.accounts import NewAccount, check_new, normalise_username
from idp.storage.authenticators import check_address


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("sms_otp", "+34 600 000-001", "+34600000001"),
        ("sms_otp", " +1 (202) 555.0100 ", "+12025550100"),
        ("email_otp", " alice@example.org ", "alice@example.org"),
        ("email_otp", "a.b+c@sub.example.org", "a.b+c@sub.example.org"),
    ],
)
def test_addresses_are_kept_in_one_form(kind: str, given: str, kept: str) -> None:
    assert check_address(kind, given) == kept


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("sms_otp", "600000001"),
        ("sms_otp", "+0600000001"),
        ("sms_otp", "+346"),
        ("sms_otp", "+34600000001\nBcc: x"),
        ("sms_otp", "+٣٤٦٠٠٠٠٠٠٠١"),
        ("email_otp", "alice"),
        ("email_otp", "alice@"),
        ("email_otp", "alice@example.org\r\nBcc: mallory@example.org"),
        ("email_otp", '"alice smith"@example.org'),
        ("email_otp", "alice@example..org"),
        ("email_otp", "alice@exämple.org"),
        ("email_otp", "alice@-example.org"),
    ],
)
def test_OTP_10_addresses_that_could_carry_something_else_are_refused(kind: str, given: str) -> None:
    with pytest.raises(InputRefused) as refused:
        check_address(kind, given)
    assert given not in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"username": ""},
        {"username": "alice smith"},
        {"username": "álice"},
        {"username": "a" * 129},
        {"username": "-alice"},
        {"name": ""},
        {"name": "Alice\nExample"},
        {"name": "a" * 65},
        {"given_name": " Alice"},
        {"surname": ""},
        {"country": "es"},
        {"country": "ESP"},
        {"proofing": "certain"},
    ],
)
def test_an_account_with_a_field_of_another_form_is_refused(values: dict[str, Any]) -> None:
    given = {"username": "alice", "name": "Alice Example", **values}
    with pytest.raises(InputRefused):
        check_new(NewAccount(**given))


def test_user_names_tell_neither_case_nor_blanks() -> None:
    assert normalise_username(" Alice ") == "alice"
