"""Evidence records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from idp.policy.errors import EvidenceInvalid, PolicyError
from idp.policy.evidence import FACTOR_CATEGORIES, FACTORS, Evidence
from tests.unit.idp_policy.support import NOW, used


def test_a_record_survives_json() -> None:
    record = Evidence(
        "sms_otp", "a1", "possession", NOW, "self", frozenset({"restricted", "transaction_bound"}), "sms", "txn-1"
    )

    assert Evidence.from_json(record.to_json()) == record
    assert record.to_json() == {
        "factor": "sms_otp",
        "authenticator_id": "a1",
        "category": "possession",
        "at": 1772445600,
        "issuer": "self",
        "flags": ["restricted", "transaction_bound"],
        "channel": "sms",
        "attestation": None,
        "transaction": "txn-1",
    }


def test_what_there_is_nothing_to_say_of_is_left_out_and_read_back() -> None:
    record = Evidence("passkey", "k1", "possession", NOW, flags=frozenset({"backed_up"}), transports=("usb", "nfc"))
    said = record.to_json()
    assert said["transports"] == ["usb", "nfc"]
    assert Evidence.from_json(said) == record
    for wrong in ("usb", [1], None):
        with pytest.raises(EvidenceInvalid, match="'transports' is a list of strings"):
            Evidence.from_json(said | {"transports": wrong})


@pytest.mark.parametrize("known", [0, 15])
def test_what_a_password_was_found_to_reach_is_said_and_one_from_before_says_nothing(known: int) -> None:
    record = replace(used("password"), min_length=known)
    assert Evidence.from_json(record.to_json()) == record
    assert record.to_json()["min_length"] == known
    assert "min_length" not in used("password").to_json()
    assert Evidence.from_json(used("password").to_json()).min_length is None


@pytest.mark.parametrize("wrong", ["15", None, True, 1.5, -1])
def test_a_length_of_another_form_is_refused(wrong: object) -> None:
    with pytest.raises(EvidenceInvalid, match="'min_length' is"):
        Evidence.from_json(used("password").to_json() | {"min_length": wrong})


def test_nothing_but_a_password_has_a_length() -> None:
    with pytest.raises(EvidenceInvalid, match="'min_length' is of a password"):
        replace(used("totp"), min_length=15)


def test_fractions_of_a_second_are_dropped_so_that_memory_and_token_agree() -> None:
    assert used("password").at == Evidence("password", "p", "knowledge", NOW + timedelta(microseconds=999999)).at


def test_every_factor_but_a_foreign_login_has_a_category() -> None:
    assert {*FACTOR_CATEGORIES, "upstream"} == FACTORS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": "telepathy"}, "unknown factor 'telepathy'"),
        ({"category": "luck"}, "unknown category 'luck'"),
        ({"flags": frozenset({"nice"})}, "unknown flags ['nice']"),
        ({"authenticator_id": ""}, "authenticator_id and issuer may not be empty"),
        ({"issuer": ""}, "authenticator_id and issuer may not be empty"),
        ({"at": datetime(2026, 1, 1)}, "the time of evidence is aware and in UTC"),  # noqa: DTZ001 - the misuse
        ({"at": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "the time of evidence is aware and in UTC"),
    ],
)
def test_a_record_that_means_nothing_is_refused(change: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {
        "factor": "password", "authenticator_id": "p", "category": "knowledge", "at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    with pytest.raises(EvidenceInvalid) as refusal:
        Evidence(**{**values, **change})
    assert str(refusal.value) == message
    assert isinstance(refusal.value, PolicyError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": 1}, "'factor' is a string"),
        ({"at": "now"}, "'at' is a whole number of seconds"),
        ({"at": True}, "'at' is a whole number of seconds"),
        ({"at": 10**30}, "'at' is out of range"),
        ({"flags": "attested"}, "'flags' is a list of strings"),
        ({"flags": [1]}, "'flags' is a list of strings"),
        ({"category": "luck"}, "unknown category 'luck'"),
        ({"channel": 5}, "'channel' is a string"),
        ({"transaction": []}, "'transaction' is a string"),
    ],
)
def test_json_of_another_form_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(EvidenceInvalid) as refusal:
        Evidence.from_json({**used("password").to_json(), **change})
    assert str(refusal.value) == message


def test_an_unknown_or_missing_key_is_refused() -> None:
    good = used("password").to_json()
    bads: tuple[object, ...] = (
        {**good, "level": "high"}, {key: good[key] for key in good if key != "flags"}, [], None,
    )  # fmt: skip
    for bad in bads:
        with pytest.raises(EvidenceInvalid, match="exactly the keys"):
            Evidence.from_json(bad)
