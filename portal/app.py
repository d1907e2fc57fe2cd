"""Puts the portal together."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from io import BytesIO
from typing import IO, Any, Final

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface, SessionMixin
from sqlalchemy import Engine

from documents.bounds import Bounds
from documents.examiner import Examiner, ExaminerSettings
from documents.findings import Examination
from documents.render import Renderer
from foundation.clock import Clock, SystemClock
from portal.outside.provider import Outside
from portal.settings import PortalSettings
from portal.store import keys
from portal.store.database import check_schema, open_engine
from portal.web import browser, faults, headers, language, library, limits, pages, shown, signing, validation
from portal.web.parts import Parts, install, parts

_FORM_OCTETS: Final = 256 * 1024
"""Of a form apart from its files."""


class _Request(Request):
    """Files stay in memory: the default writes larger ones to a temporary file, in clear."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return BytesIO()


class _NoSession(SessionInterface):
    """Flask's own session is always empty: what there is of a browser is kept by :mod:`portal.web.browser`."""

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """Without a look at any cookie."""
        return self.make_null_session(app)

    def save_session(self, app: Flask, session: SessionMixin, response: Any) -> None:
        """Nothing."""


class _Portal(Flask):
    request_class = _Request
    session_interface = _NoSession()


def create_app(
    settings: PortalSettings,
    *,
    clock: Clock | None = None,
    engine: Engine | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
    examine: Callable[[bytes], Examination] | None = None,
    draw: Callable[[bytes, int], bytes] | None = None,
) -> Flask:
    """The WSGI application.

    :param examine: :param draw: in the place of confined processes of our own.

    :raises PrivySealError: the database, a key or a setting cannot be used.
    """
    engine = engine or open_engine(settings)
    check_schema(engine)
    app = _Portal("portal", template_folder="web/templates", static_folder="web/static")
    most = settings.limits.request_octets + _FORM_OCTETS
    app.config.update(MAX_CONTENT_LENGTH=most, MAX_FORM_MEMORY_SIZE=_FORM_OCTETS, MAX_FORM_PARTS=1000)
    seal = keys.load(settings.key_file, random)
    examine = examine or Examiner(ExaminerSettings(bounds=Bounds(octets=settings.limits.file_octets))).examine
    draw = draw or Renderer(workers=1).page
    install(app, Parts(settings, clock or SystemClock(), random, engine, seal, Outside(settings), examine, draw))
    headers.install(app)
    language.install(app)
    faults.install(app)
    # Before the form is looked at: until then nothing of the body was read.
    limits.install(app, settings.limits)
    browser.install(app)
    for blueprint in (pages.blueprint, library.blueprint, signing.blueprint, shown.blueprint, validation.blueprint):
        app.register_blueprint(blueprint)
    app.context_processor(_page_values)
    return app


def _page_values() -> dict[str, Any]:
    settings = parts().settings
    return {"service_name": settings.service_name, "validates": settings.validate_url is not None}
