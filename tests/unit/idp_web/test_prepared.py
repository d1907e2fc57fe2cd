"""Pages that are written once and filled in for each visitor."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from markupsafe import escape

from idp.web import pages, passkeys, sign_in_page
from idp.web.interaction import BeginInteraction
from idp.web.passkeys import Asked
from idp.web.prepared import Blanks, Pages
from tests.fakes.idp import Idp
from tests.unit.idp_web.interactions import plain, signature

_OF_ONE_PAGE = (r'name="ticket" value="[^"]*"', r'data-options="[^"]*"')


def _without_what_is_made_anew(page: str) -> str:
    for pattern in _OF_ONE_PAGE:
        page = re.sub(pattern, "", page)
    return page


def _both(browser: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch, **headers: str) -> tuple[str, str]:
    """The page as it is filled in, and as its template makes it."""
    written: list[str] = []
    inner = sign_in_page.written

    def watched(*given: Any) -> str:
        written.append(inner(*given))
        return written[-1]

    with monkeypatch.context() as beside:
        beside.setattr(sign_in_page, "written", watched)
        filled = browser.get(path, headers=headers).text
    assert written == [filled]
    with monkeypatch.context() as direct:
        # As if certificates were asked for, so that it is not filled in; the template itself asks elsewhere.
        direct.setattr(pages, "trust", lambda: True)
        return filled, browser.get(path, headers=headers).text


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("asked", [plain(), plain(return_to=""), signature(client_name='A <b> & "c" party')])
def test_a_page_that_is_filled_in_is_what_its_template_makes(
    idp: Idp, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch, asked: BeginInteraction, language: str
) -> None:
    given = {"Accept-Language": language}
    stranger = idp.client()
    stranger.get(idp.path(stranger, asked), headers=given)
    filled, direct = _both(browser, idp.path(browser, asked), monkeypatch, **given)
    assert _without_what_is_made_anew(filled) == _without_what_is_made_anew(direct)
    assert f'lang="{language}"' in filled


def test_SES_09_what_passkeys_are_asked_for_is_filled_in_as_the_template_would(
    idp: Idp, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked('a "ticket"', '{"challenge": "<&\'>", "label": "é"}')
    monkeypatch.setattr(passkeys, "offered", lambda *_: asked)
    filled, direct = _both(browser, idp.path(browser, plain()), monkeypatch)
    assert filled == direct
    for text in (asked.ticket, asked.options):
        assert f'="{escape(text)}"' in filled


def test_each_visitor_gets_what_is_theirs(idp: Idp, browser: FlaskClient) -> None:
    other = idp.client()
    paths = idp.path(browser, plain()), idp.path(other, plain())
    shown = browser.get(paths[0]).text, other.get(paths[1]).text
    tokens = [re.findall(r'name="csrf_token" value="([^"]+)"', page) for page in shown]
    assert all(len(set(each)) == 1 for each in tokens)
    assert tokens[0][0] != tokens[1][0]
    for path, page in zip(paths, shown, strict=True):
        assert f'action="{path}/password"' in page
    assert paths[0] not in shown[1]


def test_what_is_put_into_a_blank_is_escaped() -> None:
    blanks = Blanks[str]()
    page = blanks.prepared(f"<p>{blanks.blank(lambda visitor: visitor)}</p>")
    assert page.filled('"<&') == f"<p>{html.escape(chr(34) + '<&').replace('&quot;', '&#34;')}</p>"


def test_one_pages_blank_is_a_text_in_another() -> None:
    foreign = Blanks[str]().blank(lambda visitor: visitor)
    blanks = Blanks[str]()
    page = blanks.prepared(f"{foreign} {blanks.blank(lambda visitor: visitor)}")
    assert page.filled("mine") == f"{foreign} mine"


def test_a_page_is_written_once_and_the_oldest_are_forgotten() -> None:
    kept = Pages[str]()
    written: list[int] = []

    def page(key: int) -> str:
        def write(blanks: Blanks[str]) -> str:
            written.append(key)
            return blanks.blank(lambda visitor: visitor)

        return kept.page(key, write).filled("x")

    assert [page(0), page(0)] == ["x", "x"]
    assert written == [0]
    for key in range(1, 257):
        page(key)
    assert page(1) == "x"
    assert len(written) == 257
    page(0)
    assert written[-1] == 0
