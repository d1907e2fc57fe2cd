"""An authenticator app: bound on the account's pages, asked for where the policy wants a further factor."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from idp.authn.totp import code_at
from idp.code_settings import CodeSettings
from idp.storage import authenticators
from idp.storage.engine import reading
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.factors import POLICY, enrolment
from tests.unit.idp_web.interactions import signature


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=POLICY)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return idp.client()


def bound(idp: Idp, browser: FlaskClient) -> bytes:
    """Bind an app; returns its seed.  The code that proved it is spent, so a step goes by."""
    path = enrolment(idp, browser, "totp")
    shown = re.search(r'<p class="mono seed">([A-Z2-7 ]+)</p>', browser.get(path).text)
    assert shown is not None
    text = shown.group(1).replace(" ", "")
    seed = base64.b32decode(text)
    assert idp.post(browser, path, code=code_at(seed, idp.clock.now()), label="my phone").location == "/account/"
    return seed


def at_step_up(idp: Idp, browser: FlaskClient) -> str:
    """A relying party asks for a signature; the person, who is signed in, is asked for a further factor."""
    path = idp.path(browser, signature())
    if 'data-form="sign-in"' in browser.get(path).text:
        idp.sign_in(browser, path)
    return path


@pytest.mark.parametrize("step", [30, 60])
def test_whoever_types_the_key_is_told_of_a_step_that_apps_do_not_take_by_themselves(tmp_path: Path, step: int) -> None:
    idp = make_idp(tmp_path, policy=POLICY, codes=CodeSettings(totp_step_seconds=step))
    browser = idp.client()
    page = browser.get(enrolment(idp, browser, "totp")).text
    assert ("a new code every 60 seconds" in page) is (step == 60)
    assert ("a new code every" in page) is (step == 60)
    idp.engine.dispose()


def test_an_app_is_bound_and_asked_for(idp: Idp, browser: FlaskClient) -> None:
    seed = bound(idp, browser)
    idp.clock.advance(30)
    path = at_step_up(idp, browser)
    assert 'value="totp"' in browser.get(path).text
    assert idp.post(browser, path, "/factor", factor="totp").location == f"{path}?factor=totp"
    assert "Yours: <bdi>my phone</bdi>" in browser.get(f"{path}?factor=totp").text
    done = idp.post(browser, path, "/totp", code=code_at(seed, idp.clock.now()))
    assert done.status_code == 303
    assert 'data-form="consent"' in browser.get(path).text


def test_OTP_03_the_code_that_proved_the_app_is_spent_and_so_is_every_other_one(idp: Idp, browser: FlaskClient) -> None:
    seed = bound(idp, browser)
    path = at_step_up(idp, browser)
    assert idp.post(browser, path, "/totp", code=code_at(seed, idp.clock.now())).status_code == 403
    idp.clock.advance(30)
    code = code_at(seed, idp.clock.now())
    assert idp.post(browser, path, "/totp", code=code).status_code == 303
    other = at_step_up(idp, browser)
    assert idp.post(browser, other, "/totp", code=code).status_code == 403
    former = code_at(seed, idp.clock.now() - timedelta(seconds=30))
    assert idp.post(browser, other, "/totp", code=former).status_code == 403


def test_OTP_06_the_seed_is_encrypted_and_goes_with_its_authenticator(idp: Idp, browser: FlaskClient) -> None:
    seed = bound(idp, browser)
    with reading(idp.engine) as connection:
        (item,) = [
            own
            for own in authenticators.of_account(connection, idp.seals, "account-alice")
            if own.kind == "totp"
        ]
    assert item.label == "my phone"
    assert item.secret_box is not None
    assert seed not in base64.urlsafe_b64decode(item.secret_box + "==")
