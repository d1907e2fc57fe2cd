"""Codes that are typed: apps, devices and paper, over the pages."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, select

from idp.authn import hotp
from idp.authn.totp import code_at
from idp.code_settings import CodeSettings
from idp.storage import authenticators, boxes, notices
from idp.storage import recovery as codes
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.storage.enrolments import enrolments
from idp.storage.hotp_devices import hotp_devices
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.factors import POLICY, enrolment
from tests.unit.idp_web.typed import (
    SEED,
    at_step_up,
    give,
    give_recovery_codes,
    standing,
    stock,
    type_code,
)

OTHER = b"another-seed-of-an-app"


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=POLICY)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return idp.client()


def told(idp: Idp) -> list[tuple[str, str, str]]:
    """Change, factor and channel of the notices that wait."""
    columns = (notices.notices.c.change, notices.notices.c.factor, notices.notices.c.channel)
    with reading(idp.engine) as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(select(*columns))]


def shown(idp: Idp, at: float = 0, seed: bytes = SEED) -> str:
    """What an app shows, so many seconds from now."""
    return code_at(seed, idp.clock.now() + timedelta(seconds=at))


def wrong(idp: Idp) -> str:
    """No code of either app in the last or the next minutes."""
    near = {shown(idp, 30 * steps, seed) for steps in range(-25, 5) for seed in (SEED, OTHER)}
    return next(code for code in (f"{number:06d}" for number in range(1000)) if code not in near)


# Apps


def test_OTP_03_a_code_that_was_used_is_called_that_and_so_is_a_clock_that_is_slow(
    idp: Idp, browser: FlaskClient
) -> None:
    give(idp, "totp")
    path = at_step_up(idp, browser)
    slow = type_code(idp, browser, path, "totp", shown(idp, -180))
    assert slow.status_code == 403
    assert "This code is from 3 minutes ago." in slow.text
    assert "That is not the right code." in type_code(idp, browser, path, "totp", shown(idp, 180)).text
    assert type_code(idp, browser, path, "totp", shown(idp)).status_code == 303
    again = type_code(idp, browser, at_step_up(idp, browser), "totp", shown(idp))
    assert again.status_code == 403
    assert "This code was used before." in again.text


def test_OTP_02_a_wrong_code_counts_for_every_app_and_the_success_of_one_takes_nothing_back_from_another(
    idp: Idp, browser: FlaskClient
) -> None:
    first, second = give(idp, "totp", "phone"), give(idp, "totp", "tablet", seed=OTHER)
    path = at_step_up(idp, browser)
    for _ in range(3):
        assert type_code(idp, browser, path, "totp", wrong(idp)).status_code == 403
    assert type_code(idp, browser, path, "totp", shown(idp, seed=OTHER)).status_code == 303
    assert (standing(idp, first).failures, standing(idp, second).failures) == (3, 0)
    # Nor does another kind's.
    path = at_step_up(idp, browser)
    assert idp.pass_otp(browser, path).status_code == 303
    assert standing(idp, first).failures == 3


def test_OTP_02_after_five_wrong_codes_there_are_pauses_that_the_page_tells(idp: Idp, browser: FlaskClient) -> None:
    item = give(idp, "totp")
    path = at_step_up(idp, browser)
    for _ in range(5):
        assert type_code(idp, browser, path, "totp", wrong(idp)).status_code == 403
    paused = type_code(idp, browser, path, "totp", shown(idp))
    assert (paused.status_code, paused.headers["Retry-After"]) == (429, "2")
    assert "You can try again in 2 seconds." in paused.text
    assert standing(idp, item).failures == 5
    idp.clock.advance(2)
    assert type_code(idp, browser, path, "totp", shown(idp)).status_code == 303


def test_OTP_02_OTP_12_sixteen_wrong_codes_within_a_day_lock_the_apps_and_nothing_else(
    idp: Idp, browser: FlaskClient
) -> None:
    item = give(idp, "totp")
    tried = 0
    while True:
        idp.clock.advance(900)
        path = at_step_up(idp, browser)
        answer = type_code(idp, browser, path, "totp", wrong(idp))
        if "locked for now" in answer.text:
            break
        tried += 1
        if tried == 10:
            # Success begins the pauses anew, and not the day.
            assert type_code(idp, browser, path, "totp", wrong(idp)).status_code == 429
            idp.clock.advance(900)
            path = at_step_up(idp, browser)
            assert type_code(idp, browser, path, "totp", shown(idp)).status_code == 303
    assert tried == 16
    idp.clock.advance(900)
    path = at_step_up(idp, browser)
    assert "locked for now" in type_code(idp, browser, path, "totp", shown(idp)).text
    assert idp.pass_otp(browser, path).status_code == 303
    assert not standing(idp, item).disabled
    idp.clock.advance(24 * 60 * 60)
    fresh = idp.client()
    assert type_code(idp, fresh, at_step_up(idp, fresh), "totp", shown(idp, 30)).status_code == 303


def test_a_policys_step_and_failures_hold_where_they_are_tighter(tmp_path: Path) -> None:
    limits = b"factors:\n  totp: {step: 20s, max_failures: 2}\n  hotp: {max_failures: 3}\nrules:"
    idp = make_idp(tmp_path, policy=POLICY.replace(b"rules:", limits, 1), codes=CodeSettings(totp_step_seconds=60))
    browser = idp.client()
    path = enrolment(idp, browser, "totp")
    assert "period=20" in _provisioned(idp)
    app, device = give(idp, "totp", "app"), give(idp, "hotp", "device")
    path = at_step_up(idp, browser)
    for _ in range(2):
        type_code(idp, browser, path, "totp", wrong(idp))
    for _ in range(3):
        type_code(idp, browser, path, "hotp", "000000")
    assert standing(idp, app).disabled
    assert standing(idp, device).disabled
    idp.engine.dispose()


def _provisioned(idp: Idp) -> str:
    with reading(idp.engine) as connection:
        (data,) = connection.execute(select(enrolments.c.data)).scalars()
    return f"period={data['step']}"


@pytest.mark.parametrize("moment", ["before", "while it is bound"])
def test_an_account_has_no_more_apps_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Nor where another one is bound at the same moment: what counts is counted under the account's lock."""
    idp = make_idp(tmp_path, policy=POLICY, codes=CodeSettings(totp_apps=1))
    browser = idp.client()
    path = enrolment(idp, browser, "totp")
    if moment == "before":
        give(idp, "totp")
    else:
        close = boxes.close

        def slow(*arguments: Any) -> str:
            monkeypatch.setattr(boxes, "close", close)
            give(idp, "totp")
            return close(*arguments)

        monkeypatch.setattr(boxes, "close", slow)
    seed = re.search(r'<p class="mono seed">([A-Z2-7 ]+)</p>', browser.get(path).text)
    assert seed is not None
    code = code_at(base64.b32decode(seed.group(1).replace(" ", "")), idp.clock.now())
    refused = idp.post(browser, path, code=code)
    assert refused.status_code == 400
    assert "as many of these as you may have" in refused.text
    idp.engine.dispose()


def test_KEY_03_what_was_altered_after_its_seal_was_looked_at_is_not_believed(
    idp: Idp, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes to the database is quick: between the seal and the lock the app's step becomes another one."""
    give(idp, "totp")
    path, lock = at_step_up(idp, browser), authenticators.lock

    def altered(connection: Connection, authenticator_id: str) -> Authenticator:
        return replace(lock(connection, authenticator_id), data={"step": 60})

    monkeypatch.setattr(authenticators, "lock", altered)
    assert type_code(idp, browser, path, "totp", code_at(SEED, idp.clock.now(), 60)).status_code == 403
    assert type_code(idp, browser, path, "totp", shown(idp)).status_code == 303


# Devices


def test_OTP_03_a_devices_code_is_accepted_once_within_its_window(idp: Idp, browser: FlaskClient) -> None:
    item = give(idp, "hotp", digits=8)
    path = at_step_up(idp, browser)
    assert 'data-form="hotp-resync"' in browser.get(f"{path}?factor=hotp").text
    assert type_code(idp, browser, path, "hotp", hotp.code_of(SEED, 8, 10)).status_code == 403
    assert type_code(idp, browser, path, "hotp", hotp.code_of(SEED, 8, 9)).status_code == 303
    assert standing(idp, item).counter == 10
    path = at_step_up(idp, browser)
    for used in (9, 3):
        assert type_code(idp, browser, path, "hotp", hotp.code_of(SEED, 8, used)).status_code == 403
    ahead = [hotp.code_of(SEED, 8, counter) for counter in (80, 81)]
    assert type_code(idp, browser, path, "hotp", ahead[0]).status_code == 403
    assert type_code(idp, browser, path, "hotp", ahead[1], ahead[0]).status_code == 403
    idp.clock.advance(60)
    assert type_code(idp, browser, path, "hotp", *ahead).status_code == 303
    assert standing(idp, item).counter == 82


def test_a_person_binds_a_device_from_the_stock_with_two_codes_and_it_is_nobody_elses(
    idp: Idp, browser: FlaskClient
) -> None:
    stock(idp, "AX-1")
    path = enrolment(idp, browser, "hotp")
    pair = {"code": hotp.code_of(SEED, 6, 3), "second": hotp.code_of(SEED, 6, 4)}
    unknown = idp.post(browser, path, serial="AX-2", **pair)
    one = idp.post(browser, path, serial="AX-1", code=pair["code"], second=pair["code"])
    assert unknown.status_code == one.status_code == 400
    notice = re.compile(r'id="notice"[^>]*>([^<]+)<')
    assert notice.findall(unknown.text) == notice.findall(one.text)
    assert idp.post(browser, path, serial=" ax-1 ", **pair).location == "/account/"
    with reading(idp.engine) as connection:
        assert connection.execute(select(hotp_devices.c.serial)).all() == []
        owned = authenticators.of_kind(connection, idp.seals, idp.alice, "hotp")
    assert owned is not None
    assert (owned.label, owned.counter, owned.data) == ("AX-1", 5, {"serial": "AX-1", "digits": 6})
    assert {("added", "hotp", "email_otp"), ("added", "hotp", "sms_otp")} <= set(told(idp))
    assert type_code(idp, browser, at_step_up(idp, browser), "hotp", hotp.code_of(SEED, 6, 5)).status_code == 303


# Paper


def listed(page: str) -> list[str]:
    return re.findall(r'<li class="mono">([0-9A-Z-]{19})</li>', page)


def test_recovery_codes_are_shown_until_they_are_kept_and_stored_as_nothing_that_can_be_read(
    idp: Idp, browser: FlaskClient, tmp_path: Path
) -> None:
    path = enrolment(idp, browser, "recovery_code")
    page = browser.get(path)
    made = listed(page.text)
    assert len(set(made)) == 10
    assert page.headers["Cache-Control"] == "no-store"
    assert "<script" not in page.text
    assert idp.post(browser, path).status_code == 400
    assert idp.post(browser, path, kept="yes").location == "/account/"
    gone = browser.get(path)
    assert gone.status_code == 400
    assert listed(gone.text) == []
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("idp.sqlite*"))
    for code in made:
        assert code.encode() not in stored
        assert code.replace("-", "").encode() not in stored


def test_OTP_03_a_recovery_code_works_once_and_every_other_channel_is_told(idp: Idp, browser: FlaskClient) -> None:
    made = give_recovery_codes(idp)
    path = at_step_up(idp, browser)
    assert 'data-left="10"' in browser.get(f"{path}?factor=recovery_code").text
    assert type_code(idp, browser, path, "recovery_code", made[4].lower().replace("-", " ")).status_code == 303
    assert set(told(idp)) == {("used", "recovery_code", "email_otp"), ("used", "recovery_code", "sms_otp")}
    path = at_step_up(idp, browser)
    assert 'data-left="9"' in browser.get(f"{path}?factor=recovery_code").text
    refused = type_code(idp, browser, path, "recovery_code", made[4])
    assert refused.status_code == 403
    assert "That is not the right code." in refused.text


def test_new_recovery_codes_replace_all_that_are_left(idp: Idp, browser: FlaskClient) -> None:
    former = give_recovery_codes(idp)
    path = enrolment(idp, browser, "recovery_code")
    made = listed(browser.get(path).text)
    # Until the new ones are kept the old ones work.
    assert type_code(idp, browser, at_step_up(idp, browser), "recovery_code", former[0]).status_code == 303
    assert idp.post(browser, path, kept="yes").status_code == 303
    with reading(idp.engine) as connection:
        owned = authenticators.of_kind(connection, idp.seals, idp.alice, "recovery_code")
        assert owned is not None
        assert codes.left(connection, owned.id) == 10
        assert codes.left(connection, "alice-codes") == 0
    path = at_step_up(idp, browser)
    assert type_code(idp, browser, path, "recovery_code", former[1]).status_code == 403
    assert type_code(idp, browser, path, "recovery_code", made[1]).status_code == 303
    assert ("replaced", "recovery_code", "email_otp") in told(idp)


def test_the_account_page_asks_for_new_codes_when_three_are_left_and_when_none_is(
    idp: Idp, browser: FlaskClient
) -> None:
    give_recovery_codes(idp)
    idp.sign_in(browser, browser.get("/account/").location)
    for gone, expected in ((6, []), (1, ["3"]), (3, ["0"])):
        with idp.engine.begin() as connection:
            rows = connection.execute(select(codes.recovery_codes.c.digest).limit(gone)).scalars().all()
            for digest in rows:
                assert codes.use(connection, "alice-codes", digest)
        page = browser.get("/account/").text
        assert re.findall(r'data-left="([0-9]+)"', page) == expected
    assert "No recovery code is left" in page
