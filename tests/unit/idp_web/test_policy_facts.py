"""What a policy's conditions and limits see of a real request: the account, the address, the clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from idp.storage import accounts, authenticators
from idp.storage.engine import reading
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import POLICY, Idp, make_idp

SIGN_IN = BeginInteraction("test", "sign_in", "example-contracts", {})
STRICT = POLICY.replace(
    b"rules:\n",
    b"""rules:
  - id: lawyers
    action: sign_in
    when: {attribute: {department: [legal]}, network: [198.51.100.0/24], time: {days: [mon], zone: Europe/Berlin}}
    require: substantial
""",
)
"""The fakes' clock stands on a Monday."""


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=STRICT)
    yield made
    made.engine.dispose()


def describe(idp: Idp, **attributes: tuple[str, ...]) -> None:
    with idp.engine.begin() as connection:
        account = accounts.find(connection, idp.alice)
        assert account is not None
        accounts.describe(connection, account, attributes=attributes)


def browser_at(idp: Idp, address: str) -> FlaskClient:
    browser = idp.client()
    browser.environ_base["REMOTE_ADDR"] = address
    return browser


def asked_for_more(idp: Idp, browser: FlaskClient) -> bool:
    """Whether a password alone does not sign in."""
    before = len(idp.finished)
    idp.sign_in(browser, idp.path(browser, SIGN_IN))
    return len(idp.finished) == before


def test_a_rule_sees_the_persons_attributes_the_address_and_the_time(idp: Idp) -> None:
    assert not asked_for_more(idp, browser_at(idp, "198.51.100.7"))
    describe(idp, department=("sales", "legal"))
    assert asked_for_more(idp, browser_at(idp, "198.51.100.7"))
    assert asked_for_more(idp, browser_at(idp, "::ffff:198.51.100.7"))
    assert not asked_for_more(idp, browser_at(idp, "203.0.113.7"))
    idp.clock.advance(24 * 3600)
    assert not asked_for_more(idp, browser_at(idp, "198.51.100.7"))


def test_an_address_that_the_browser_claims_is_not_believed(idp: Idp) -> None:
    describe(idp, department=("legal",))
    browser = browser_at(idp, "198.51.100.7")
    browser.environ_base["HTTP_X_FORWARDED_FOR"] = "203.0.113.7"
    browser.environ_base["HTTP_FORWARDED"] = "for=203.0.113.7"
    assert asked_for_more(idp, browser)


def limited(directory: Path, text: bytes) -> Idp:
    return make_idp(directory, policy=POLICY.replace(b"levels:", b"factors: " + text + b"\nlevels:", 1))


def code_accepted(idp: Idp, after: int) -> bool:
    """Whether a code that is some seconds old is taken."""
    browser = idp.client()
    path = idp.path(browser, BeginInteraction("test", "sign_in", "strict", {}))
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    idp.clock.advance(after)
    before = len(idp.finished)
    idp.post(browser, path, "/code", code=idp.inbox.code)
    return len(idp.finished) > before


def test_a_code_lives_no_longer_than_the_policy_lets_it(tmp_path: Path) -> None:
    idp = limited(tmp_path, b"{sms_otp: {lifetime: 60s}, email_otp: {lifetime: 1h}}")
    assert code_accepted(idp, 59)
    assert not code_accepted(idp, 60)
    idp.engine.dispose()


def test_a_policy_does_not_let_a_code_live_longer_than_the_settings(tmp_path: Path) -> None:
    idp = limited(tmp_path, b"{sms_otp: {lifetime: 1h}}")
    assert code_accepted(idp, 299)
    assert not code_accepted(idp, 300)
    idp.engine.dispose()


def test_as_many_failures_as_the_policy_says_disable_a_factor(tmp_path: Path) -> None:
    idp = limited(tmp_path, b"{sms_otp: {max_failures: 2}, password: {max_failures: 3}}")
    browser = idp.client()
    path = idp.path(browser, BeginInteraction("test", "sign_in", "strict", {}))
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    wrong = f"{(int(idp.inbox.code) + 1) % 10**6:06d}"
    for disabled in (False, True):
        idp.post(browser, path, "/code", code=wrong)
        assert is_disabled(idp, "sms_otp") == disabled
    other = idp.client()
    for disabled in (False, False, True):
        idp.sign_in(other, idp.path(other, SIGN_IN), password="not the password")
        assert is_disabled(idp, "password") == disabled
        idp.clock.advance(3600)
    idp.engine.dispose()


def is_disabled(idp: Idp, kind: str) -> bool:
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, idp.alice)
    return all(item.disabled for item in owned if item.kind == kind)
