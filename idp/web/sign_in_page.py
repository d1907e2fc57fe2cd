"""The sign-in page as almost everybody gets it: nobody has typed anything yet, and nothing else is under way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from flask import Flask, current_app, render_template, request

from idp.policy.model import Reason
from idp.web import language
from idp.web.interaction import Interaction
from idp.web.passkeys import Asked
from idp.web.prepared import Blanks, Pages
from idp.web.services import services

TEMPLATE: Final = "sign_in.html"
_EXTENSION: Final = "privyseal.sign_in_pages"


@dataclass(frozen=True, slots=True)
class Visitor:
    """What differs from one visitor's page to the next."""

    interaction_id: str
    csrf: str
    until: datetime
    passkey: Asked | None


@dataclass(frozen=True, slots=True)
class _Request:
    """All that the page looks at of what is asked."""

    action: str
    display_name: str
    return_to: bool
    """Whether there is anywhere to go back to."""


@dataclass(frozen=True, slots=True)
class _Key:
    """All that the page says but for the blanks."""

    asked: _Request
    language: str
    service_name: str
    root: str
    """The path below which the pages are."""
    passkey: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Id:
    id: str


class _Until:
    """Stands for the time, in whatever form the template asks for it."""

    def __init__(self, blanks: Blanks[Visitor]) -> None:
        self._blanks = blanks

    def isoformat(self) -> str:
        """A blank."""
        return self._blanks.blank(lambda visitor: visitor.until.isoformat())

    def strftime(self, form: str) -> str:
        """A blank."""
        return self._blanks.blank(lambda visitor: visitor.until.strftime(form))


def install(app: Flask) -> None:
    """Keep pages for an app."""
    app.extensions[_EXTENSION] = Pages[Visitor]()


def written(interaction: Interaction, csrf: str, reasons: tuple[Reason, ...], passkey: Asked | None) -> str:
    """The page, for somebody of whom no user name is known, where no certificates are asked for."""
    asked = interaction.request
    key = _Key(
        _Request(asked.action, asked.display_name, bool(asked.return_to)),
        language.select(),
        services().settings.service_name,
        request.script_root,
        passkey is not None,
        reasons,
    )
    visitor = Visitor(interaction.id, csrf, interaction.stored.expires_at, passkey)
    pages = cast("Pages[Visitor]", current_app.extensions[_EXTENSION])
    return pages.page(key, lambda blanks: _write(key, blanks)).filled(visitor)


def _write(key: _Key, blanks: Blanks[Visitor]) -> str:
    def of_passkey(name: str) -> str:
        return blanks.blank(lambda visitor: str(getattr(visitor.passkey, name)))

    values: dict[str, Any] = {
        "interaction": _Id(blanks.blank(lambda visitor: visitor.interaction_id)),
        "asked": key.asked,
        "csrf": blanks.blank(lambda visitor: visitor.csrf),
        "until": _Until(blanks),
        "passkey": Asked(of_passkey("ticket"), of_passkey("options")) if key.passkey else None,
        "reasons": key.reasons,
        "username": "",
        "again": False,
        "notice": "",
        "because": (),
        "unfinished": tuple,
        "then": "",
    }
    return render_template(TEMPLATE, **values)
