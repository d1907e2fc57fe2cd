"""Which language a page is in: what the relying party asked for, else what the person chose on their account pages,
else what the browser asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from gettext import NullTranslations
from typing import Any, Final, cast

import flask_babel  # type: ignore[import-untyped] # met here only; the functions below are its typed face
from flask import Flask, current_app, g, request
from jinja2 import pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup

from idp.web.services import services

_EXTENSION: Final = "privyseal.texts"
_MOST_TEXTS: Final = 4096
"""Of a language; there are some hundreds."""
_DAY: Final = {"de": "d. MMM y"}
"""How a date is written where it is not as elsewhere."""
_NAMES: Final = frozenset({"name", "party", "person", "username"})
"""Values of texts that are names of people, relying parties, documents and devices."""
_CATALOGUE: Final = "catalogue"
"""In ``g``: the texts in the language that was chosen."""
_FORCED: Final = "language_of_somebody"
"""In ``g``: the language of texts that are not for whoever sent the request."""


class _Texts:
    """A language's texts, and those of its templates that have no values as they stand in pages; safe to share."""

    def __init__(self, catalogue: NullTranslations) -> None:
        self.catalogue = catalogue
        self._ready: dict[str, Markup] = {}

    def on_page(self, text: str) -> Markup:
        """The text as a template has it: a format, also where it has no values."""
        found = self._ready.get(text)
        if found is None:
            found = Markup(self.catalogue.gettext(text)) % {}  # noqa: S704 - as Jinja does: the catalogues are ours
            if len(self._ready) < _MOST_TEXTS:
                self._ready[text] = found
        return found


def gettext(text: str, **values: Any) -> str:
    """A text in the language of this request's answer."""
    translated = _texts().catalogue.gettext(text)
    return translated % values if values else translated


def ngettext(singular: str, plural: str, num: int, **values: Any) -> str:
    """A text that tells one from many."""
    return _texts().catalogue.ngettext(singular, plural, num) % {"num": num, **values}


def _texts() -> _Texts:
    """The texts in the language of this request's answer, looked for once: a page has dozens of them."""
    found: _Texts | None = g.get(_CATALOGUE)
    if found is None:
        known = cast("dict[str, _Texts]", current_app.extensions[_EXTENSION])
        # As flask_babel has it, which looks for the language among those that Babel knows, in files, for each answer.
        language = g.get(_FORCED) or select()
        found = known.get(language)
        if found is None:
            found = known.setdefault(language, _Texts(flask_babel.get_translations()))
        setattr(g, _CATALOGUE, found)
    return found


@pass_eval_context
def _text_on_page(context: EvalContext, text: str, /, **values: Any) -> str:
    # What Jinja's own newstyle functions do, without making the same text of the same parts for every page.
    if not context.autoescape:
        return _texts().catalogue.gettext(text) % values
    return text_on_page(text, **values)


def text_on_page(text: str, **values: Any) -> Markup:
    """A text with values, as it stands in a page: names in it stand by themselves."""
    if not values:
        return _texts().on_page(text)
    return Markup(_texts().catalogue.gettext(text)) % _with_names(values)  # noqa: S704 - as above: the catalogues are ours


def _plural_on_page(singular: str, plural: str, num: int, **values: Any) -> str:
    text = _texts().catalogue.ngettext(singular, plural, num)
    return Markup(text) % _with_names({"num": num, **values})  # noqa: S704 - as above: the catalogues are ours


def name(text: Any) -> Markup:
    """A name on a page: whichever way it is written, it changes nothing around it (HTML, ``bdi``)."""
    return text if isinstance(text, Markup) else Markup("<bdi>{}</bdi>").format(text)


def _with_names(values: dict[str, Any]) -> dict[str, Any]:
    return {key: name(value) if key in _NAMES else value for key, value in values.items()}


def day(at: datetime) -> str:
    """A date as people write it in the language of this request's answer."""
    return _written(at, _day_pattern())


def moment(at: datetime) -> str:
    """A date and the time of day, in UTC."""
    return _written(at, f"{_day_pattern()}, HH:mm")


def exact(at: datetime) -> str:
    """A date and the time of day to the second, in UTC."""
    return _written(at, f"{_day_pattern()}, HH:mm:ss")


def clock(at: datetime) -> str:
    """The time of day, in UTC."""
    return _written(at, "HH:mm")


def on_page(written: Callable[[datetime], str]) -> Callable[[datetime], Markup]:
    """A way of writing times, for pages: with the time as programs read it (HTML, ``time``)."""

    def marked(at: datetime) -> Markup:
        return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), written(at))

    return marked


def _day_pattern() -> str:
    return _DAY.get(str(flask_babel.get_locale()), "d MMM y")


def _written(at: datetime, pattern: str) -> str:
    return str(flask_babel.format_datetime(at, pattern))


def _choose_anew() -> None:
    flask_babel.refresh()
    g.pop(_CATALOGUE, None)


def prefer(tags: tuple[str, ...]) -> None:
    """What the relying party asked for (OIDC Core 3.1.2.1 ``ui_locales``), in its order of preference."""
    if g.get("ui_locales", ()) != tags:
        g.ui_locales = tags
        _choose_anew()


def remember(locale: str | None) -> None:
    """What the person who is signed in chose for themselves: no cookie says it."""
    if g.get("account_locale") != locale:
        g.account_locale = locale
        _choose_anew()


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
    language = _first((tag or "").replace("_", "-").split()) or services().settings.languages[0]
    outside, before = g.pop(_CATALOGUE, None), g.get(_FORCED)
    setattr(g, _FORCED, language)
    try:
        with flask_babel.force_locale(language):
            yield
    finally:
        setattr(g, _FORCED, before)
        setattr(g, _CATALOGUE, outside)


def install(app: Flask) -> None:
    """Hook the catalogues into an app."""
    app.extensions[_EXTENSION] = {}
    flask_babel.Babel(
        app, default_translation_directories="web/locales", default_domain="messages", locale_selector=select
    )
    environment = app.jinja_env
    # In the place of Flask-Babel's, which look for language and catalogue with every text.
    install_texts = environment.install_gettext_callables  # type: ignore[attr-defined] # the extension adds it
    install_texts(
        gettext=gettext,
        ngettext=ngettext,
        newstyle=True,
    )
    environment.globals["_"] = environment.globals["gettext"] = _text_on_page
    environment.globals["ngettext"] = _plural_on_page
    environment.globals["language"] = select
    environment.filters["name"] = name
    environment.filters |= {form.__name__: on_page(form) for form in (day, moment, exact, clock)}
