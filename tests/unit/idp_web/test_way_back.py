"""Pages at which something ends lead on: to whoever asked, or to the person's own pages, and nowhere else (SES-08)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from markupsafe import Markup
from sqlalchemy import event, update

from idp.approval_settings import DeviceApprovalSettings
from idp.oidc.client import Registration
from idp.storage import clients
from idp.storage.models import interactions
from idp.web import faults
from idp.web import services as composition
from tests.fakes.idp import NOW, Idp, make_idp
from tests.unit.idp_web.admin import administrator, make_admin_idp
from tests.unit.idp_web.interactions import plain

ACCOUNT = ("/account/", "Your account")
CONTRACTS = ("http://rp.localhost:8405/", "Go back to Example & Contracts")
EVIL = "https://evil.example/"


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


def register(idp: Idp, client_id: str = "example-contracts", **values: Any) -> None:
    given: dict[str, Any] = {
        "name": "Example & Contracts",
        "auth_method": "none",
        "redirect_uris": ("http://rp.localhost:8405/callback",),
        **values,
    }
    with idp.engine.begin() as connection:
        clients.create(connection, Registration(client_id, **given), now=NOW, random=bytes)


def way_on(text: str) -> tuple[str, str]:
    """The one link of an error page's own."""
    ((address, words),) = re.findall(r'<a class="(?:primary|quiet)" href="([^"]*)">(.*?)</a>', text)
    return unescape(address), Markup(words).striptags()


def cookie(browser: FlaskClient) -> str:
    found = browser.get_cookie("privyseal_session")
    assert found is not None
    return str(found.value)


def finished(idp: Idp, browser: FlaskClient, **values: Any) -> str:
    """The address of an interaction that has come to its end in this browser."""
    path = idp.path(browser, plain(**values))
    assert idp.sign_in(browser, path).location.endswith("?ok")
    return path


@pytest.mark.parametrize("path", ["/nothing/here", "/interaction/" + "A" * 22, "/interaction/%00"])
def test_whoever_is_nowhere_is_led_to_their_own_pages(idp: Idp, path: str) -> None:
    assert way_on(idp.client().get(path).text) == ACCOUNT


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "Go back to Example & Contracts"),
        ("de", "Zurück zu Example & Contracts"),
        ("es", "Volver a Example & Contracts"),
        ("fr", "Revenir à Example & Contracts"),
    ],
)
def test_what_is_over_leads_back_to_whoever_asked(idp: Idp, language: str, words: str) -> None:
    register(idp)
    browser = idp.client()
    answer = browser.get(finished(idp, browser), headers={"Accept-Language": language})
    assert answer.status_code == 400
    assert way_on(answer.text) == (CONTRACTS[0], words)


def test_SES_08_where_it_leads_is_registered_and_not_what_the_row_says(idp: Idp) -> None:
    """A row that has ended has no seal any more."""
    register(idp)
    browser = idp.client()
    path = finished(idp, browser)
    with idp.engine.begin() as connection:
        request = plain(return_to=EVIL, client_name="Evil").to_json()
        connection.execute(update(interactions).values(request=request))
    assert way_on(browser.get(path).text) == CONTRACTS


def test_SES_07_nobody_elses_browser_is_told_whom_somebody_signed_in_to(idp: Idp) -> None:
    register(idp)
    path = finished(idp, idp.client())
    stranger = idp.client()
    stranger.get("/account/")
    assert way_on(stranger.get(path).text) == ACCOUNT


@pytest.mark.parametrize(
    "uris",
    [(), ("http://127.0.0.1:7000/callback",), ("http://[::1]:7000/callback",)],
)
def test_where_the_relying_party_has_no_site_the_person_is_led_to_their_own_pages(
    idp: Idp, uris: tuple[str, ...]
) -> None:
    register(idp, redirect_uris=uris, grant_types=("authorization_code",) if uris else ("client_credentials",),
             auth_method="none" if uris else "client_secret_basic")  # fmt: skip
    browser = idp.client()
    assert way_on(browser.get(finished(idp, browser)).text) == ACCOUNT


def test_a_relying_party_that_was_stopped_is_not_led_to(idp: Idp) -> None:
    register(idp)
    browser = idp.client()
    path = finished(idp, browser)
    with idp.engine.begin() as connection:
        clients.set_active(connection, "example-contracts", active=False)
    assert way_on(browser.get(path).text) == ACCOUNT


def test_in_production_no_way_back_is_without_TLS_whatever_was_registered_before(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(idp, redirect_uris=("http://rp.example/callback", "https://rp.example/callback"))
    browser = idp.client()
    path = finished(idp, browser)
    policies = composition.of(idp.app).policies
    view = replace(policies.current, settings=replace(policies.current.settings, mode="production"))
    monkeypatch.setattr(type(policies), "current", property(lambda _: view))
    assert way_on(browser.get(path).text) == ("https://rp.example/", CONTRACTS[1])


@pytest.mark.parametrize(("client_id", "way"), [("example-contracts", CONTRACTS), ("nobody", ACCOUNT)])
def test_SES_08_a_request_that_cannot_be_used_leads_to_the_site_that_is_registered(
    idp: Idp, client_id: str, way: tuple[str, str]
) -> None:
    register(idp)
    asked = {"client_id": client_id, "redirect_uri": EVIL, "response_type": "code", "scope": "openid"}
    answer = idp.client().get("/oauth2/authorize", query_string=asked)
    assert answer.status_code == 400
    assert way_on(answer.text) == way
    assert EVIL not in answer.text


@pytest.mark.parametrize(("client_id", "way"), [("example-contracts", CONTRACTS), (None, ACCOUNT)])
def test_whoever_signed_out_is_led_back_to_whoever_asked(
    idp: Idp, client_id: str | None, way: tuple[str, str]
) -> None:
    register(idp)
    asked = {} if client_id is None else {"client_id": client_id}
    assert way_on(idp.client().get("/oauth2/logout", query_string=asked).text) == way


def test_where_devices_approve_the_way_on_is_on_the_issuers_host(tmp_path: Path) -> None:
    """There are no pages of a person's own there."""
    idp = make_idp(tmp_path, approval=DeviceApprovalSettings("http://approve.localhost:8401"))
    answer = idp.client().get("/nothing/here", base_url="http://approve.localhost:8401")
    assert way_on(answer.text) == ("http://idp.localhost:8401/account/", "Your account")
    idp.engine.dispose()


def test_administrators_go_on_among_their_pages(tmp_path: Path) -> None:
    idp = make_admin_idp(tmp_path)
    browser = administrator(idp, "alice", "relying_parties")
    assert way_on(browser.get("/admin/clients/nobody").text) == ("/admin/", "Administration")
    idp.engine.dispose()


def test_where_something_is_broken_the_database_is_not_asked(idp: Idp) -> None:
    register(idp)
    browser = idp.client()
    path = finished(idp, browser)
    asked: list[object] = []
    event.listen(idp.engine, "checkout", lambda *given: asked.append(given))
    with idp.app.test_request_context(path, headers={"Cookie": f"privyseal_session={cookie(browser)}"}):
        assert way_on(faults.page("Title", "Text", 400).get_data(as_text=True)) == CONTRACTS
        assert asked
    asked.clear()
    with idp.app.test_request_context(path, headers={"Cookie": f"privyseal_session={cookie(browser)}"}):
        assert way_on(faults.page("Title", "Text", 500).get_data(as_text=True)) == ACCOUNT
    assert asked == []
