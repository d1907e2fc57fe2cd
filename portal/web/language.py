"""Which language a page is in: what the browser asks for, of those that the settings name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import babel.units
import flask_babel  # type: ignore[import-untyped] # met here only; the functions below are its typed face
from flask import Flask, request

from portal.web.parts import parts


def gettext(text: str, **values: Any) -> str:
    """A text in the language of this request's answer."""
    translated: str = flask_babel.gettext(text)
    return translated % values if values else translated


def select() -> str:
    """The language of this request's answer."""
    known = parts().settings.languages
    return request.accept_languages.best_match(known) or known[0]


def install(app: Flask) -> None:
    """Hook the catalogues into an app."""
    flask_babel.Babel(
        app, default_translation_directories="web/locales", default_domain="messages", locale_selector=select
    )
    app.jinja_env.globals["language"] = select
    app.jinja_env.filters["day"] = _day
    app.jinja_env.filters["moment"] = _moment
    app.jinja_env.filters["size"] = _size
    app.jinja_env.filters["duration"] = duration


def _day(seconds: int) -> str:
    """A time, in UTC, as the language writes it."""
    return _moment(datetime.fromtimestamp(seconds, UTC))


def _moment(at: datetime) -> str:
    """The same of an aware time."""
    at = at.astimezone(UTC)
    day, time = flask_babel.format_date(at, "medium", rebase=False), flask_babel.format_time(at, "short", rebase=False)
    return f"{day}, {time} UTC"


def _size(octets: int) -> str:
    """Octets in the unit that people read."""
    if octets < 1024 * 1024:
        return f"{flask_babel.format_decimal(max(1, round(octets / 1024)))} KB"
    return f"{flask_babel.format_decimal(round(octets / 1024 / 1024, 1))} MB"


def duration(seconds: int) -> str:
    """In days, hours, minutes or seconds; what is left of one more is not counted."""
    lengths = (("day", 24 * 60 * 60), ("hour", 60 * 60), ("minute", 60), ("second", 1))
    unit, length = next(each for each in lengths if seconds >= each[1])
    return babel.units.format_unit(seconds // length, f"duration-{unit}", locale=flask_babel.get_locale())
