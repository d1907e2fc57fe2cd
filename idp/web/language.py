"""Which language a page is in: what the relying party asked for, else what the browser asks for."""

from __future__ import annotations

from flask import Flask, g, request
from flask_babel import Babel, refresh

from idp.web.services import services


def prefer(tags: tuple[str, ...]) -> None:
    """What the relying party asked for (OIDC Core 3.1.2.1 ``ui_locales``), in its order of preference."""
    g.ui_locales = tags
    refresh()


def select() -> str:
    """The language of this request's answer."""
    known = services().settings.languages
    for tag in g.get("ui_locales", ()):
        for language in (tag.lower(), tag.lower().partition("-")[0]):
            if language in known:
                return language
    return request.accept_languages.best_match(known) or known[0]


def install(app: Flask) -> None:
    """Hook the catalogues into an app."""
    Babel(app, default_translation_directories="web/locales", default_domain="messages", locale_selector=select)
    app.jinja_env.globals["language"] = select
