"""A person adds and removes what they sign in with: at the level that it leads to, with everybody told (ENR-02)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from idp.storage import accounts, authenticators, enrolments, notices, sessions
from idp.storage.audit import TABLES
from idp.storage.authenticators import NewAuthenticator
from idp.storage.engine import reading
from idp.storage.enrolments import NewEnrolment
from idp.web.enrol import hotp, totp
from tests.fakes.idp import NOW, Idp, make_idp
from tests.unit.idp_web.factors import POLICY, account_post, approve, enrolment
from tests.unit.idp_web.interactions import SUBSTANTIAL, plain, signature
from tests.unit.idp_web.passkeys import Person
from tests.unit.idp_web.test_totp import bound
from tests.unit.idp_web.typed import give

LOOSE = POLICY.replace(
    b"action: [account.enrol_factor, account.reset_factor], require: substantial",
    b"action: [account.enrol_factor, account.reset_factor], require: low",
)
"""Its rule about factors would let a password add one: what the person can reach decides."""


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=LOOSE)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return idp.client()


def signed_in(idp: Idp, browser: FlaskClient, username: str = "alice") -> FlaskClient:
    idp.sign_in(browser, browser.get("/account/").location, username)
    return browser


def owned(idp: Idp) -> dict[str, authenticators.Authenticator]:
    """What Alice has, by kind."""
    with reading(idp.engine) as connection:
        found = authenticators.of_account(connection, idp.seals, idp.alice)
    return {item.kind: item for item in found if not item.disabled}


def told(idp: Idp) -> set[tuple[str, str, str]]:
    """Notices on their way: change, kind, channel."""
    with reading(idp.engine) as connection:
        due = notices.due(connection, idp.seals, NOW.replace(year=2027), 50)
    return {(item.change, item.factor, item.channel) for item in due}


def audited(idp: Idp, event: str) -> list[str]:
    """The fields of the records of an event."""
    with reading(idp.engine) as connection:
        found = connection.execute(select(TABLES.entries.c.fields).where(TABLES.entries.c.event == event))
        return [str(fields) for fields in found.scalars()]


def test_ENR_02_another_device_needs_what_the_person_can_prove_whatever_the_rule_says(
    idp: Idp, browser: FlaskClient
) -> None:
    path = account_post(signed_in(idp, browser), "/account/factors/add", factor="totp").location
    page = browser.get(path).text
    assert 'data-form="choose"' in page
    assert 'data-rule="enrolled"' in page, "the page says why"
    assert "totp" not in owned(idp)
    idp.pass_otp(browser, path)
    assert approve(idp, browser, path).location.startswith("/account/factors/new/")


def test_ENR_02_whoever_has_a_password_only_adds_a_first_one_with_it(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bert", phone=None)
    path = account_post(signed_in(idp, browser, "bert"), "/account/factors/add", factor="totp").location
    assert 'data-form="consent"' in browser.get(path).text


def test_ENR_02_an_enrolment_raises_no_login(idp: Idp, browser: FlaskClient) -> None:
    bound(idp, browser)
    path = idp.path(browser, signature())
    assert 'data-form="choose"' in browser.get(path).text, "nothing of it counts for a signature"
    with reading(idp.engine) as connection:
        (session,) = sessions.of_account(connection, idp.seals, idp.alice, NOW, idp.settings.session)
    assert "totp" not in {item.factor for item in session.evidence}


def test_ENR_03_every_channel_is_told_of_what_was_added_and_what_was_removed(idp: Idp, browser: FlaskClient) -> None:
    bound(idp, browser)
    assert told(idp) == {("added", "totp", "sms_otp"), ("added", "totp", "email_otp")}
    idp.clock.advance(60)
    remove(idp, browser, "email_otp")
    assert ("removed", "email_otp", "email_otp") in told(idp), "the address that goes is told"
    assert ("removed", "email_otp", "sms_otp") in told(idp)


def remove(idp: Idp, browser: FlaskClient, kind: str) -> None:
    """Remove one, with the step-up that it takes."""
    path = account_post(browser, f"/account/factors/{owned(idp)[kind].id}/remove").location
    if 'data-form="choose"' in browser.get(path).text:
        idp.pass_otp(browser, path)
    assert approve(idp, browser, path).status_code == 303
    assert kind not in owned(idp)


def test_the_last_way_to_sign_in_is_not_removed(idp: Idp, browser: FlaskClient) -> None:
    refused = account_post(signed_in(idp, browser), f"/account/factors/{owned(idp)['password'].id}/remove")
    assert refused.status_code == 409
    assert "password" in owned(idp)


def test_of_two_removals_at_once_the_one_that_would_leave_no_way_to_sign_in_does_nothing(
    idp: Idp, browser: FlaskClient
) -> None:
    """Each left the other when it was begun."""
    Person(idp, browser).hold()
    tabs = []
    for kind in ("passkey", "password"):
        path = account_post(browser, f"/account/factors/{owned(idp)[kind].id}/remove").location
        assert idp.pass_otp(browser, path).status_code == 303
        tabs.append(path)
    assert approve(idp, browser, tabs[0]).status_code == 303
    assert approve(idp, browser, tabs[1]).status_code == 409
    assert {"password"} <= set(owned(idp)) <= {"password", "sms_otp", "email_otp"}
    assert len(audited(idp, "authenticator.removed")) == 1


def test_SES_03_browsers_in_which_a_removed_factor_was_used_are_signed_out(idp: Idp, browser: FlaskClient) -> None:
    other = signed_in(idp, idp.client())
    path = idp.path(other, plain(acr_values=(SUBSTANTIAL,)))
    idp.pass_otp(other, path)
    assert other.get("/account/").status_code == 200
    enrolment(idp, browser, "totp")  # signs in and steps up
    remove(idp, browser, "sms_otp")
    assert other.get("/account/").status_code == 303, "it has to sign in again"
    assert browser.get("/account/").status_code == 200
    assert any("authenticator_changed" in fields for fields in audited(idp, "session.ended"))


@pytest.mark.parametrize("meanwhile", ["signed out", "disabled"])
def test_ENR_02_whoever_is_signed_out_while_a_proof_is_judged_binds_nothing_behind_that(
    idp: Idp, browser: FlaskClient, meanwhile: str
) -> None:
    """The help desk resets a person's factors, or locks the account, while whoever took it over is binding one."""
    path = enrolment(idp, browser, "totp")

    def slow(enrolment_: Any, account: Any, _form: Any) -> NewAuthenticator:
        with idp.engine.begin() as connection:
            if meanwhile == "disabled":
                accounts.set_status(connection, idp.alice, "disabled")
            else:
                sessions.revoke_several(connection, sessions.lock_all(connection, idp.alice), NOW)
        return NewAuthenticator(enrolment_.id, account.id, "totp", data={"step": 30})

    idp.app.extensions["privyseal.enrol"]["totp"] = replace(totp.ENROLLER, confirm=slow)
    assert idp.post(browser, path, code="123456").status_code == 400
    assert "totp" not in owned(idp)


@pytest.mark.parametrize("way", ["too many wrong codes", "a number that does not count yet"])
def test_ENR_02_whoever_puts_the_second_factor_out_of_use_adds_none_with_the_password_alone(
    idp: Idp, browser: FlaskClient, way: str
) -> None:
    """A stolen password, and a rule by which a first second factor takes no more: wrong codes make it the first."""
    idp.add_account("bert")
    with idp.engine.begin() as connection:
        if way == "too many wrong codes":
            for _ in range(100):
                authenticators.failed(connection, "bert-sms_otp", NOW, most=100)
        else:
            authenticators.replace(
                connection,
                idp.seals,
                authenticator_id="new",
                account_id="account-bert",
                kind="sms_otp",
                now=NOW,
                address="+34600000005",
                not_before=NOW + timedelta(hours=72),
            )
    path = account_post(signed_in(idp, browser, "bert"), "/account/factors/add", factor="totp").location
    assert approve(idp, browser, path).status_code == 403
    with idp.engine.begin() as connection:
        # What the help desk's activation does, or time.
        later = NewAuthenticator("helped", "account-bert", "email_otp", "bert@example.org")
        authenticators.bind(connection, idp.seals, later, NOW + timedelta(seconds=1))
    idp.clock.advance(73 * 60 * 60)
    again = signed_in(idp, idp.client(), "bert")
    path = account_post(again, "/account/factors/add", factor="totp").location
    idp.pass_otp(again, path, "email_otp")
    assert approve(idp, again, path).location.startswith("/account/factors/new/")


def test_DOS_04_of_enrolments_that_a_person_begins_the_latest_stay(idp: Idp) -> None:
    idp.add_account("bob")
    with idp.engine.begin() as connection:
        for number in range(enrolments.MAX_OPEN + 3):
            for account_id in (idp.alice, "account-bob"):
                new = NewEnrolment(f"{account_id}-{number}", account_id, "session", "totp", "txn", "decision")
                enrolments.begin(connection, idp.seals, new, idp.clock.now() + timedelta(seconds=number))
        kept = connection.execute(select(enrolments.enrolments.c.id)).scalars().all()
        latest = range(3, enrolments.MAX_OPEN + 3)
        assert sorted(kept) == sorted(f"{name}-{number}" for name in (idp.alice, "account-bob") for number in latest)
        enrolments.purge(connection, idp.clock.now() + timedelta(days=1))
        assert connection.execute(select(enrolments.enrolments.c.id)).all() == []


def test_DOS_04_nobody_binds_authenticators_without_end(idp: Idp, browser: FlaskClient) -> None:
    for number in range(20):
        give(idp, "hotp", f"device-{number}")
    path = enrolment(idp, browser, "hotp")

    def proved(enrolment_: Any, account: Any, _form: Any) -> NewAuthenticator:
        return NewAuthenticator(enrolment_.id, account.id, "hotp", data={"digits": 6, "serial": "x"})

    idp.app.extensions["privyseal.enrol"]["hotp"] = replace(hotp.ENROLLER, confirm=proved, bound=lambda *_: None)
    answer = idp.post(browser, path)
    assert (answer.status_code, "as many of these as you may have" in answer.text) == (400, True)
