"""Names of people, relying parties and devices change nothing around them, whichever way they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import update

from idp.oidc.client import Registration
from idp.storage import authenticators, clients
from idp.storage.authenticators import NewAuthenticator
from idp.storage.models import accounts
from idp.web import language
from tests.fakes.idp import NOW, Idp, make_idp
from tests.unit.idp_web.interactions import plain, signature

PERSON: Final = "نور الدين 𝕹 (3)"
PARTY: Final = "חוזים בע״מ 12"
DEVICE: Final = "الهاتف 2"
OVERRIDE: Final = "Alice \u202emoc.live\u202c"
_TAG: Final = re.compile(r"<(/?)([a-zA-Z0-9]+)[^>]*?(/?)>")


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    with made.engine.begin() as connection:
        connection.execute(update(accounts).values(name=PERSON))
        app = NewAuthenticator("app", made.alice, "totp", label=DEVICE)
        authenticators.bind(connection, made.seals, app, NOW)
        registration = Registration("example-contracts", PARTY, "none", ("http://rp.localhost:8405/callback",))
        clients.create(connection, registration, NOW, bytes)
    yield made
    made.engine.dispose()


def bare(page: str) -> list[str]:
    """Where a name stands in the body outside a `bdi`, an attribute left out: what is beside it there."""
    body = page[page.index("<body") :]
    found = []
    for name in (PERSON, PARTY, DEVICE):
        for at in re.finditer(re.escape(name), body):
            before = body[: at.start()]
            in_attribute = before.rfind("<") > before.rfind(">")
            if not in_attribute and not before.endswith("<bdi>"):
                found.append(body[at.start() - 40 : at.end() + 20])
    return found


def test_names_stand_by_themselves_on_every_page_that_a_person_sees(idp: Idp) -> None:
    browser = idp.client()
    path = idp.path(browser, signature(client_name=PARTY))
    pages = [browser.get(path).text]
    idp.sign_in(browser, path)
    pages.append(browser.get(path).text)
    idp.pass_otp(browser, path)
    pages.append(browser.get(path).text)
    idp.approve(browser, path)
    pages.append(browser.get(path).text)
    going_on = idp.path(idp.client(), plain(client_name=PARTY))
    pages.append(browser.get(going_on).text)
    own = ("", "applications", "history", "language", "credentials", "approvals", "ways/app")
    pages += [browser.get(f"/account/{name}").text for name in own]
    assert [bare(page) for page in pages] == [[] for _ in pages]
    for name in (PERSON, PARTY, DEVICE):
        assert sum(f"<bdi>{name}</bdi>" in page for page in pages) > 1, "the name is on the pages"


def test_in_attributes_and_titles_names_are_plain_text(idp: Idp) -> None:
    """Where there can be no markup, its characters would be read as they are."""
    browser = idp.client()
    path = idp.path(browser, signature(client_name=PARTY))
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    for page in (browser.get(path).text, browser.get("/account/credentials").text):
        assert not re.search(r'="[^"]*(<|&lt;)bdi', page)
        assert not re.search(r"<title>[^<]*(<bdi|&lt;bdi)", page)
        assert not re.search(r"&lt;/?bdi", page)


@pytest.mark.parametrize("where", ["label", "name"])
def test_overrides_of_the_direction_are_in_nobodys_name(idp: Idp, where: str) -> None:
    from idp.errors import InputRefused
    from idp.storage.accounts import NewAccount, check_new

    with pytest.raises(InputRefused):
        authenticators.check_label(OVERRIDE) if where == "label" else check_new(NewAccount("bob", OVERRIDE))


def test_a_name_that_is_markup_is_still_text(idp: Idp) -> None:
    with idp.app.test_request_context("/"):
        written = language.text_on_page("Go back to %(party)s", party="<b>")
        assert written == "Go back to <bdi>&lt;b&gt;</bdi>"
