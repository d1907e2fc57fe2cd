"""Which language a page is in: what the relying party asked for, else what the person chose on their account pages,
else what the browser asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import flask_babel  # type: ignore[import-untyped] # met here only; the functions below are its typed face
from flask import Flask, g, request

from idp.web.services import services


def gettext(text: str, **values: Any) -> str:
    """A text in the language of this request's answer."""
    translated: str = flask_babel.gettext(text, **values)
    return translated


def ngettext(singular: str, plural: str, num: int, **values: Any) -> str:
    """A text that tells one from many."""
    translated: str = flask_babel.ngettext(singular, plural, num, **values)
    return translated


def prefer(tags: tuple[str, ...]) -> None:
    """What the relying party asked for (OIDC Core 3.1.2.1 ``ui_locales``), in its order of preference."""
    g.ui_locales = tags
    flask_babel.refresh()


def remember(locale: str | None) -> None:
    """What the person who is signed in chose for themselves: no cookie says it."""
    if g.get("account_locale") != locale:
        g.account_locale = locale
        flask_babel.refresh()


def select() -> str:
    """The language of this request's answer."""
    known = services().settings.languages
    chosen = (g.get("account_locale") or "").replace("_", "-")
    asked = _first((*g.get("ui_locales", ()), *chosen.split()))
    return asked or request.accept_languages.best_match(known) or known[0]


def _first(tags: Iterable[str]) -> str | None:
    """The first language that there are pages in, of language tags (RFC 5646) such as ``de-AT``."""
    for tag in tags:
        for language in (tag.lower(), tag.lower().partition("-")[0]):
            if language in services().settings.languages:
                return language
    return None


@contextmanager
def in_language(tag: str | None) -> Iterator[None]:
    """Texts in somebody's language, whoever asks; the first of the settings where there are none in it."""
    with flask_babel.force_locale(_first((tag or "").replace("_", "-").split()) or services().settings.languages[0]):
        yield


def install(app: Flask) -> None:
    """Hook the catalogues into an app."""
    flask_babel.Babel(
        app, default_translation_directories="web/locales", default_domain="messages", locale_selector=select
    )
    app.jinja_env.globals["language"] = select
