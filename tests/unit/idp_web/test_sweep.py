"""Every page and endpoint there is, found in the app's own map: what all answers have in common, and what none may do.

A page that somebody adds is looked at here without being named.  What is exempt is listed, and the lists are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

import idp
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.authn.roles import Role
from idp.storage.authenticators import NewAuthenticator, bind
from idp.storage.models import metadata
from tests.fakes.idp import NOW, Idp
from tests.unit.idp_web.admin import administrator, make_admin_idp
from tests.unit.idp_web.interactions import SHA256, signature

PUBLIC: Final = {"static", "oidc.metadata", "oidc.keys"}
"""What is the same for everybody and may be kept by caches (SES-11)."""
NOT_BROWSERS: Final = {
    "approval.answer", "approval.show", "sheets.file", "sheets.large", "certificate.present",
    "oidc.activation_challenge", "oidc.activation_options", "oidc.authorize", "oidc.backchannel_authorize",
    "oidc.introspect", "oidc.logout", "oidc.pushed_authorize", "oidc.revoke", "oidc.token",
    "oidc.userinfo",
}  # fmt: skip
"""POSTs without a form token (SES-04): clients authenticate themselves; ``authorize`` and ``logout`` only lead to a
page of ours, as their GET does; where certificates are shown or devices approve there is no cookie, and a session's
ticket or handle instead."""
BEGINS: Final = {"sessions", "interactions"}
"""What a GET of somebody who is not signed in may add to: it leads them to the page where they sign in."""
RECORDED: Final = {"admin.export": {"audit_entries", "audit_head"}}
"""GETs that leave a record: whoever takes the audit chain away is in it."""
SVG_AND_QR: Final = {"enrol_totp.html"}
"""Templates that insert markup of ours as it is."""
HOSTILE: Final = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idp]:
    made = make_admin_idp(tmp_path_factory.mktemp("sweep"))
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def signed_in(world: Idp) -> FlaskClient:
    """A person who holds every role."""
    return administrator(world, "alice", *get_args(Role))


def rules(world: Idp, method: str) -> list[Rule]:
    return sorted(
        (rule for rule in world.app.url_map.iter_rules() if method in (rule.methods or ())), key=lambda rule: rule.rule
    )


def address(rule: Rule, browser: FlaskClient, world: Idp) -> str:
    """The rule's path; an interaction is one of this browser's."""
    if "<interaction_id>" in rule.rule:
        world.begin(browser, signature())
        path = re.sub(r"<int:[a-z]+>", "1", rule.rule)
        return path.replace("<interaction_id>", world.begin(browser, signature()).location.rpartition("/")[2])
    return re.sub(r"<[^>]*>", "style.css" if rule.endpoint == "static" else "A" * 22, rule.rule)


def answers(world: Idp, browser: FlaskClient, **values: Any) -> Iterator[tuple[str, TestResponse]]:
    """What every GET and every POST of the app answers to this browser; a POST comes without what it wants."""
    for method in ("GET", "POST"):
        for rule in rules(world, method):
            if rule.endpoint == "test_begin" or rule.endpoint == "account.sign_out":
                continue
            yield (
                f"{method} {rule.rule} {rule.endpoint}",
                browser.open(address(rule, browser, world), method=method, buffered=True, **values),
            )


def rows(world: Idp) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the database but when a session was last seen."""
    with world.engine.connect() as connection:
        return {
            table.name: sorted(
                (tuple(repr(value) for value in row) for row in connection.execute(select(
                    *[c for c in table.c if (table.name, c.name) not in SEEN]
                ))),
            )
            for table in metadata.sorted_tables
        }  # fmt: skip


SEEN: Final = {("sessions", "last_seen_at"), ("sessions", "pauses"), ("sessions", "seal")}


def test_SES_02_SES_05_SES_11_every_answer_carries_the_headers(world: Idp, signed_in: FlaskClient) -> None:
    wrong = []
    for browser in (world.client(), signed_in):
        for name, answer in answers(world, browser):
            given, policy = answer.headers, answer.headers.get("Content-Security-Policy", "")
            expected = {
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
                "Referrer-Policy": "no-referrer",
                "Cross-Origin-Opener-Policy": "same-origin",
            }
            wrong += [f"{name}: {key}" for key, value in expected.items() if given.get(key) != value]
            if "default-src 'none'" not in policy or "frame-ancestors 'none'" not in policy or "unsafe" in policy:
                wrong.append(f"{name}: policy {policy}")
            if name.rpartition(" ")[2] not in PUBLIC and "no-store" not in given.get("Cache-Control", ""):
                wrong.append(f"{name}: {given.get('Cache-Control')}")
            for cookie in given.getlist("Set-Cookie"):
                if not {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; ")) or "Domain=" in cookie:
                    wrong.append(f"{name}: {cookie}")
            if answer.status_code >= 500 and answer.status_code != 503:
                wrong.append(f"{name}: {answer.status}")
    assert wrong == []


def test_SES_09_no_page_has_a_script_a_style_or_a_handler_in_it(world: Idp, signed_in: FlaskClient) -> None:
    wrong = []
    for browser in (world.client(), signed_in):
        for name, answer in answers(world, browser, headers={"User-Agent": HOSTILE}):
            if answer.mimetype == "text/html":
                wrong += [f"{name}: {found}" for found in inline(answer.text)]
    folder = Path(idp.__file__).parent / "web" / "templates"
    for path in folder.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        wrong += [f"{path.name}: {found}" for found in inline(text)]
        if re.search(r"\|\s*safe|autoescape|Markup", text) and path.name not in SVG_AND_QR:
            wrong.append(f"{path.name}: inserts markup")
    assert wrong == []


class _Tags(HTMLParser):
    """What a page has that a content security policy is there to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        bad = tag in {"style", "base", "iframe", "object", "embed"} or (tag == "script" and not given.get("src"))
        handlers = [name for name in given if name.startswith("on") or name in {"style", "srcdoc"}]
        scripts = [value for value in given.values() if value and value.strip().lower().startswith("javascript:")]
        if bad or handlers or scripts:
            self.found.append(self.get_starttag_text() or tag)


def inline(page: str) -> list[str]:
    parser = _Tags()
    parser.feed(re.sub(r"\{#.*?#\}|\{%.*?%\}", "", re.sub(r"\{\{.*?\}\}", "x", page), flags=re.DOTALL))
    return parser.found


def test_SES_04_every_post_without_the_form_token_is_refused_and_changes_nothing(
    world: Idp, signed_in: FlaskClient
) -> None:
    exempt = {
        rule.endpoint
        for rule in rules(world, "POST")
        if getattr(world.app.view_functions[rule.endpoint], "privyseal_csrf_exempt", False)
    }
    assert exempt == NOT_BROWSERS
    for rule in rules(world, "POST"):
        if rule.endpoint in exempt:
            continue
        path = address(rule, signed_in, world)
        before = rows(world)
        for token in (None, "A" * 43):
            answer = signed_in.post(path, data={} if token is None else {"csrf_token": token})
            assert answer.status_code == 400, rule.rule
            assert "This page is out of date" in answer.text, rule.rule
        assert rows(world) == before, rule.rule


def test_a_get_changes_nothing(world: Idp, signed_in: FlaskClient) -> None:
    """Twice each: what a link, a preview or a reload asks for is only shown."""
    for rule in rules(world, "GET"):
        if rule.endpoint == "test_begin":
            continue
        stranger = world.client()
        path = address(rule, signed_in, world)
        before = rows(world)
        for _ in range(2):
            signed_in.get(path, buffered=True)
        after = rows(world)
        changed = {name for name in after if after[name] != before[name]}
        assert changed == RECORDED.get(rule.endpoint, set()), rule.rule
        before = after
        for _ in range(2):
            stranger.get(path, buffered=True)
        after = rows(world)
        assert {name for name in after if after[name] != before[name]} <= BEGINS, rule.rule


def test_SES_10_what_a_request_says_of_its_host_is_in_no_answer(world: Idp, signed_in: FlaskClient) -> None:
    spoofed = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Server": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/evil.example",
        "X-Forwarded-Port": "666",
        "X-Original-URL": "/evil.example",
        "Forwarded": "host=evil.example;proto=https",
        "X-Forwarded-For": "evil.example",
    }
    for browser in (world.client(), signed_in):
        for name, answer in answers(world, browser, headers=spoofed):
            said = f"{answer.headers}{answer.get_data(as_text=True)}"
            assert "evil.example" not in said, name
            assert ":666" not in said, name
    found = world.client().get("/.well-known/openid-configuration", headers=spoofed).get_json()
    assert found["issuer"] == world.settings.issuer
    assert {value for value in found.values() if isinstance(value, str) and "://" in value} == {
        value for value in found.values() if isinstance(value, str) and value.startswith(world.settings.issuer)
    }


def test_SES_09_what_others_named_is_shown_as_text(world: Idp) -> None:
    browser = world.client()
    browser.environ_base["HTTP_USER_AGENT"] = HOSTILE
    document = SignatureIntent("cred-1", SHA256, (DocumentDigest(b"\x01" * 32, HOSTILE),), "dtbsr", 1)
    asked = signature(
        client_name=HOSTILE, intent=document, login_hint=HOSTILE, ui_locales=(HOSTILE,), client_id="hostile"
    )
    with world.engine.begin() as connection:
        label = HOSTILE[:64]
        bind(connection, world.seals, NewAuthenticator("hostile-totp", world.alice, "totp", label=label), NOW)
    path = world.path(browser, asked)
    pages = [browser.get(path).text]
    world.sign_in(browser, path)
    pages.append(browser.get(f"{path}?choose=1").text)
    pages.append(world.post(browser, path, "/factor", factor="sms_otp").text + browser.get(path).text)
    pages.append(world.post(browser, path, "/code", code=HOSTILE).text)
    pages.append(browser.get(f"{path}?factor={HOSTILE}&then={HOSTILE}").text)
    world.post(browser, path, "/code", code=world.inbox.code)
    pages.append(browser.get(path).text)
    other = world.path(browser, signature())
    pages += [browser.get(other).text, browser.get("/account/").text, browser.get("/account/credentials").text]
    pages.append(browser.get("/oauth2/authorize", query_string={"client_id": HOSTILE, "state": HOSTILE}).text)
    pages.append(browser.get("/oauth2/logout", query_string={"client_id": HOSTILE, "id_token_hint": HOSTILE}).text)
    pages.append(browser.get(f"/{HOSTILE}").text)
    world.clock.advance(900)
    pages.append(browser.get(path).text)
    assert sum("&lt;img" in page for page in pages) >= 5, "it is there, as text"
    for page in pages:
        assert "<img src=x" not in page
        assert "<script>" not in page
        assert inline(page) == []
