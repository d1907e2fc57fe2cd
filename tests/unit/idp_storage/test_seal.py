"""A seal is that of exactly these values under exactly this key."""

from __future__ import annotations

import hashlib
import hmac
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from idp.errors import SealBroken
from idp.storage.enrolments import enrolments
from idp.storage.grants import oidc_grants
from idp.storage.models import authenticators, interactions, sessions
from idp.storage.pushed_requests import oidc_pushed_requests
from idp.storage.seal import Altered, tag, verify
from tests.fakes.seals import make_sealer

KEY = bytes(32)
PARTS = {"id": "a", "n": 1, "none": None, "list": [{"x": "1", "y": True}], "text": "é\ud800"}


def test_the_seal_is_hmac_sha256_over_canonical_json() -> None:
    text = '{"id":"a","list":[{"x":"1","y":true}],"n":1,"none":null,"text":"\\u00e9\\ud800"}'
    assert tag(KEY, PARTS) == hmac.new(KEY, b"privyseal-row-1\n" + text.encode(), hashlib.sha256).hexdigest()
    assert tag(KEY, dict(reversed(PARTS.items()))) == tag(KEY, PARTS)
    verify(KEY, PARTS, tag(KEY, PARTS))


def test_seals_that_threads_make_at_once_under_the_same_keys_are_each_their_own() -> None:
    """What has begun for a key is copied, and nobody's values come into somebody else's."""
    keys = [bytes([each]) * 32 for each in range(3)]

    def sealed(number: int) -> tuple[str, str]:
        key, text = keys[number % 3], b'{"n":%d}' % number
        return tag(key, {"n": number}), hmac.new(key, b"privyseal-row-1\n" + text, hashlib.sha256).hexdigest()

    with ThreadPoolExecutor(8) as threads:
        assert all(made == expected for made, expected in threads.map(sealed, range(2000)))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"},
        {"n": "1"},
        {"n": 1.0},
        {"n": True},
        {"none": ""},
        {"none": []},
        {"list": []},
        {"list": [{"x": "1", "y": False}]},
        {"more": None},
    ],
)
def test_other_values_do_not_verify(change: dict[str, Any]) -> None:
    with pytest.raises(SealBroken):
        verify(KEY, {**PARTS, **change}, tag(KEY, PARTS))


@pytest.mark.parametrize("given", ["", "0" * 64, tag(KEY, PARTS)[:-1], tag(KEY, PARTS).upper(), "é", "\ud800"])
def test_another_seal_does_not_verify(given: str) -> None:
    with pytest.raises(SealBroken):
        verify(KEY, PARTS, given)


def test_a_part_that_is_missing_or_moved_to_another_name_does_not_verify() -> None:
    with pytest.raises(SealBroken):
        verify(KEY, {"a": "x"}, tag(KEY, {"a": "x", "b": None}))
    with pytest.raises(SealBroken):
        verify(KEY, {"a": "x", "b": "yz"}, tag(KEY, {"a": "xy", "b": "z"}))
    with pytest.raises(SealBroken):
        verify(bytes([1] * 32), PARTS, tag(KEY, PARTS))


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        tag(KEY, {"n": float("nan")})


def test_each_table_has_its_own_key() -> None:
    seals = make_sealer()
    names = {name for table in (sessions, interactions) for name in table.info["sealed"]}
    values: dict[str, Any] = dict.fromkeys(names)
    assert seals.seal(sessions, values) != seals.seal(interactions, values)


UNSEALED = {
    # What ends a row takes its seal away, so these need not be in it.
    "sessions": {"revoked_at"},
    "authenticators": {"disabled_at", "failures", "blocked_until", "last_success_at", "counter"},
    "enrolments": {"failures"},
    "interactions": {"state"},
    "oidc_grants": {"revoked_at", "revoked_for", "issued_at"},
    "oidc_pushed_requests": set(),
}


TABLES = (authenticators, enrolments, sessions, interactions, oidc_grants, oidc_pushed_requests)


@pytest.mark.parametrize("table", TABLES, ids=lambda item: item.name)
def test_every_column_is_sealed_but_those_that_need_not_be(table: Any) -> None:
    assert {column.name for column in table.columns} - set(table.info["sealed"]) == {"seal"} | UNSEALED[table.name]


def test_what_was_altered_is_said_once_and_kept_until_it_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    seals = make_sealer()
    found, other = Altered("sessions", "s-1", "seal"), Altered("sessions", "s-2", "seal")
    with caplog.at_level(logging.CRITICAL):
        for item in (found, found, other):
            seals.report(item)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"] * 2
    assert seals.take() == found
    seals.give_back(found)
    assert [seals.take(), seals.take(), seals.take()] == [found, other, None]
