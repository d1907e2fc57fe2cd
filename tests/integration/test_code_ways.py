"""What a sign-in with a code by text message asks of PostgreSQL: what can go together does (ADR 67)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.idp import POLICY, Idp, make_idp
from tests.integration.ways import watched

TWO_FACTORS = b"""\
  - id: own-pages
    action: sign_in
    when: {client: privyseal-account}
    require: substantial
"""
READ = "SELECT SELECT"


@pytest.fixture
def idp(tmp_path: Path, postgres_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, postgres_url, policy=POLICY + TWO_FACTORS)
    yield made
    made.engine.dispose()


def test_a_code_is_sent_and_judged_in_as_few_ways_to_the_database_as_may_be(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = idp.client()
    path = browser.get("/account/").location
    idp.sign_in(browser, path)
    token = {"csrf_token": idp.csrf(browser, path)}
    browser.post(f"{path}/factor", data={**token, "factor": "sms_otp"})  # what is made once a process
    idp.clock.advance(600)
    browser.get(path)  # notes that the session is used
    ways = watched(monkeypatch)
    assert browser.post(f"{path}/factor", data={**token, "factor": "sms_otp"}).status_code == 303
    # Session and interaction; the person; behind the authenticator's lock; under all caps; the commits; the record.
    assert ways == [
        READ,
        READ,
        "BEGIN SELECT SELECT SELECT",
        "UPDATE INSERT SELECT INSERT",
        "INSERT COMMIT",
        "BEGIN INSERT SELECT",
        "INSERT UPDATE COMMIT",
    ]
    ways.clear()
    assert 'data-form="otp"' in browser.get(path).text
    assert ways == [READ, "SELECT SELECT SELECT"]
    ways.clear()
    assert browser.post(f"{path}/code", data={**token, "code": idp.inbox.code}).location == "/account/"
    assert ways == [
        READ,
        "SELECT SELECT SELECT",
        "BEGIN SELECT SELECT SELECT",
        "UPDATE",
        "UPDATE SELECT",
        "UPDATE INSERT SELECT",
        "INSERT UPDATE COMMIT",
        READ,
        "BEGIN UPDATE INSERT",
        "SELECT",
        "INSERT UPDATE COMMIT",
    ]
