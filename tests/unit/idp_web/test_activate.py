"""ENR-01: an activation code opens a password and one further factor, once, in one browser, and signs nobody in."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select, update
from werkzeug.test import TestResponse

from idp.authn.activation import Code, new_code
from idp.authn.totp import code_at
from idp.storage import accounts, activations, authenticators
from idp.storage.activations import NewActivation
from idp.storage.activations import activations as table
from idp.storage.engine import reading
from idp.storage.enrolments import enrolments
from idp.storage.models import sessions
from idp.web import services as composition
from tests.fakes.idp import NOW, Idp, make_idp
from tests.unit.idp_web.admin import chain
from tests.unit.idp_web.factors import ALONE, POLICY

CHOSEN = "a long password of her own"
NAME = "newcomer"


@pytest.fixture
def idp(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=getattr(request, "param", POLICY))
    with made.engine.begin() as connection:
        new = accounts.NewAccount(NAME, "New Comer", proofing="substantial")
        accounts.create(connection, NAME, new, NOW)
    yield made
    made.engine.dispose()


def issue(idp: Idp, account_id: str = NAME, number: int = 1, hours: int = 72) -> Code:
    code = new_code(lambda count: bytes([number * 11 + at for at in range(count)]))
    with idp.engine.begin() as connection:
        activations.issue(
            connection,
            idp.seals,
            composition.of(idp.app).keys.secret,
            NewActivation(f"activation-{number}", account_id, "bootstrap", "command_line", timedelta(hours=hours)),
            code=code,
            now=idp.clock.now(),
        )
    return code


def wrong(code: Code) -> str:
    """One that is found by the same letters."""
    return code.locator + ("0" if code.letters[-1] != "0" else "1") * 16


def type_code(idp: Idp, browser: FlaskClient, code: str, username: str = NAME) -> TestResponse:
    return idp.post(browser, "/activate", username=username, code=code)


def choose(idp: Idp, browser: FlaskClient, kind: str) -> str:
    return idp.post(browser, "/activate", "/factors", factor=kind).location


def set_password(idp: Idp, browser: FlaskClient) -> TestResponse:
    page = choose(idp, browser, "password")
    return idp.post(browser, page, password=CHOSEN)


def kinds(idp: Idp, account_id: str = NAME) -> list[str]:
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, account_id)
    return sorted(item.kind for item in owned if not item.disabled)


def test_ENR_01_a_code_opens_a_password_and_one_further_factor_and_signs_nobody_in(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    browser.get("/activate")
    before = browser.get_cookie("privyseal_session")
    assert type_code(idp, browser, code.shown.lower().replace("0", "o")).location == "/activate"
    after = browser.get_cookie("privyseal_session")
    assert before is not None
    assert after is not None
    assert before.value != after.value, "SES-01"
    assert "First, a password" in browser.get("/activate").text
    assert set_password(idp, browser).location == "/activate"
    assert 'value="totp"' in browser.get("/activate").text
    page = choose(idp, browser, "totp")
    shown = re.search(r'<p class="mono seed">([A-Z2-7 ]+)</p>', browser.get(page).text)
    assert shown is not None
    seed = base64.b32decode(shown.group(1).replace(" ", ""))
    done = idp.post(browser, page, code=code_at(seed, idp.clock.now()), label="phone")
    assert done.location == "/activate/done"
    assert kinds(idp) == ["password", "totp"]
    assert "Sign in" in browser.get(done.location).text
    assert "/interaction/" in browser.get("/account/").location, "it is evidence of nothing"
    with reading(idp.engine) as connection:
        assert all(row.evidence == [] and row.account_id is None for row in connection.execute(select(sessions)))
    assert 'data-form="activate"' in browser.get("/activate").text, "it is over"
    used = chain(idp, "activation.used")
    assert [(item["factor"], item["finished"]) for item in used] == [("password", False), ("totp", True)]
    other = idp.client()
    signed_in = idp.sign_in(other, other.get("/account/").location, NAME, CHOSEN)
    assert signed_in.location == "/account/"


@pytest.mark.parametrize("idp", [ALONE], indirect=True, ids=["r4"])
def test_under_revision_4_a_first_password_that_stands_alone_has_fifteen_characters(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    assert type_code(idp, browser, code.shown).status_code == 303
    page = choose(idp, browser, "password")
    assert idp.post(browser, page, password="kxqw vzjt mfpb").status_code == 400
    assert idp.post(browser, page, password="kxqw vzjt mfpb7").status_code == 303


def test_ENR_01_a_code_is_taken_once_and_what_it_opened_is_one_browsers(idp: Idp) -> None:
    code, browser, other = issue(idp), idp.client(), idp.client()
    assert type_code(idp, browser, code.shown).status_code == 303
    assert type_code(idp, other, code.shown).status_code == 403
    page = choose(idp, browser, "password")
    other.get("/activate")
    assert other.get(page).status_code == 400
    token = idp.csrf(other, "/activate")
    fields = {"csrf_token": token, "password": CHOSEN, "factor": "password"}
    assert other.post(page, data=fields).status_code == 400
    assert other.post("/activate/factors", data=fields).status_code == 400
    assert other.post("/activate/finish", data=fields).status_code == 400
    assert kinds(idp) == []
    assert idp.post(browser, page, password=CHOSEN).status_code == 303


@pytest.mark.parametrize("case", ["another person", "nobody", "disabled", "expired", "replaced", "form", "nul"])
def test_ENR_01_OTP_11_a_code_that_is_not_right_is_refused_in_the_same_words(idp: Idp, case: str) -> None:
    code, username, browser = issue(idp), NAME, idp.client()
    text = code.shown
    if case == "another person":
        username = "alice"
    elif case == "nobody":
        username = "nobody"
    elif case == "disabled":
        with idp.engine.begin() as connection:
            accounts.set_status(connection, NAME, "disabled")
    elif case == "expired":
        idp.clock.advance(72 * 3600)
    elif case == "replaced":
        issue(idp, number=2)
    elif case == "form":
        text = "U" * 20
    else:
        username = "new\0comer"
    answer = type_code(idp, browser, text, username)
    expected = type_code(idp, idp.client(), wrong(issue(idp, number=3)), NAME)
    bare = re.compile(r'(name="csrf_token" value|id="username" name="username" type="text" value)="[^"]*"')
    assert answer.status_code == expected.status_code == 403
    assert bare.sub("", answer.text) == bare.sub("", expected.text)
    assert kinds(idp) == []


def test_OTP_11_whoever_has_an_activation_costs_as_many_statements_as_nobody(idp: Idp) -> None:
    issue(idp)
    browser = idp.client()
    said: list[str] = []

    def heard(*values: object) -> None:
        said.append(str(values[2]))

    counted = []
    for username in ("nobody", NAME, "alice"):
        token = idp.csrf(browser, "/activate")
        said.clear()
        event.listen(idp.engine, "before_cursor_execute", heard)
        browser.post("/activate", data={"csrf_token": token, "username": username, "code": "0" * 20})
        event.remove(idp.engine, "before_cursor_execute", heard)
        counted.append(tuple(said))
    assert counted[0] == counted[1] == counted[2]
    assert counted[0]


def test_ENR_01_five_wrong_codes_end_an_activation(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    for _attempt in range(5):
        assert type_code(idp, browser, wrong(code)).status_code == 403
    assert type_code(idp, browser, code.shown).status_code == 403
    assert [item["failures"] for item in chain(idp, "activation.refused")] == [1, 2, 3, 4, 5]


def test_OTP_12_a_stranger_who_knows_a_user_name_uses_up_no_tries(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    stranger = "0" * 20
    assert not stranger.startswith(code.locator)
    for _attempt in range(6):
        assert type_code(idp, browser, stranger).status_code == 403
    assert chain(idp, "activation.refused") == []
    assert type_code(idp, browser, code.shown).status_code == 303


def test_DOS_04_after_many_wrong_codes_from_one_address_no_more_are_tried_for_a_while(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    for _attempt in range(30):
        assert type_code(idp, browser, "nonsense").status_code == 403
    answer = type_code(idp, browser, code.shown)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) == 600
    idp.clock.advance(600)
    assert type_code(idp, browser, code.shown).status_code == 303


def test_ENR_01_a_lost_tab_goes_on_until_the_activation_expires(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    type_code(idp, browser, code.shown)
    page = choose(idp, browser, "password")
    idp.clock.advance(899)
    assert "First, a password" in browser.get("/activate").text
    fresh = choose(idp, browser, "password")
    assert browser.get(page).status_code == 400, "an enrolment is shorter"
    idp.clock.advance(1)
    assert idp.client().get(fresh).status_code == 400
    assert browser.get(fresh).status_code == 400
    assert 'data-form="activate"' in browser.get("/activate").text
    assert type_code(idp, browser, code.shown).status_code == 403
    assert kinds(idp) == []


def test_ENR_01_an_activation_replaces_nothing_and_does_nothing_else(idp: Idp) -> None:
    code, browser = issue(idp, idp.alice), idp.client()
    type_code(idp, browser, code.shown, "alice")
    page = browser.get("/activate").text
    assert 'value="password"' not in page
    for kind in ("password", "sms_otp", "recovery_code", "nonsense"):
        assert choose(idp, browser, kind) == "/activate"
    for path in ("/account/", "/admin/"):
        assert "/interaction/" in browser.get(path).location
    token = idp.csrf(browser, "/activate")
    assert browser.post("/account/factors/add", data={"csrf_token": token, "factor": "totp"}).status_code == 400
    assert browser.post("/account/factors/alice-sms_otp/remove", data={"csrf_token": token}).status_code == 400
    assert 'data-form="activate-finish"' in page
    assert idp.post(browser, "/activate", "/finish").location == "/activate/done"
    assert kinds(idp, idp.alice) == ["email_otp", "password", "sms_otp"]


def test_ENR_01_whoever_is_disabled_meanwhile_goes_on_with_nothing(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    type_code(idp, browser, code.shown)
    page = choose(idp, browser, "password")
    token = idp.csrf(browser, page)
    with idp.engine.begin() as connection:
        accounts.set_status(connection, NAME, "disabled")
    fields = {"csrf_token": token, "password": CHOSEN}
    assert browser.post(page, data=fields).status_code == 400
    assert kinds(idp) == []


@pytest.mark.parametrize("changes", [{"account_id": "account-alice"}, {"purpose": "reset"}, {"expires_at": 2**40}])
def test_ENR_01_an_activation_that_was_altered_opens_nothing(idp: Idp, changes: dict[str, object]) -> None:
    code = issue(idp)
    with idp.engine.begin() as connection:
        connection.execute(update(table).values(**changes))
    assert type_code(idp, idp.client(), code.shown).status_code == 403
    assert chain(idp, "record.altered")[0]["table"] == "activations"


def test_ENR_01_an_enrolment_that_was_written_over_to_an_approvals_goes_nowhere(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    type_code(idp, browser, code.shown)
    page = choose(idp, browser, "password")
    with idp.engine.begin() as connection:
        connection.execute(update(enrolments).values(origin="approval"))
    assert browser.get(page).status_code == 400
    assert chain(idp, "record.altered")[0]["table"] == "enrolments"


def test_whoever_is_signed_in_is_asked_to_sign_out_first(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    idp.sign_in(browser, browser.get("/account/").location)
    assert "Somebody is signed in here" in browser.get("/activate").text
    answer = browser.post("/activate", data={"csrf_token": idp.csrf(browser, "/activate"), "code": code.shown})
    assert answer.location == "/activate"


def test_OTP_06_of_a_code_the_database_has_a_keyed_hash_and_then_nothing(idp: Idp) -> None:
    code, browser = issue(idp), idp.client()
    assert code.letters not in repr(code)
    with reading(idp.engine) as connection:
        row = connection.execute(select(table)).one()
    assert code.letters[4:] not in str(row)
    type_code(idp, browser, code.shown)
    with reading(idp.engine) as connection:
        assert connection.execute(select(table.c.code_hash)).scalar_one() == ""
