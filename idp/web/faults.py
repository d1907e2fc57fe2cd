"""Errors as pages: what a person can do about them, and nothing about the inside."""

from __future__ import annotations

from typing import Final

from flask import Flask, abort, make_response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from foundation import log
from foundation.certificates.errors import CertificateRefused
from foundation.errors import PrivySealError
from idp.errors import ConsentMismatch, CsrfRefused, DocumentsNotShown, IdpError, InteractionExpired, InteractionLost
from idp.web import way_back
from idp.web.language import gettext as _
from idp.web.way_back import WayOn

_SERVER_ERROR: Final = 500
_FORBIDDEN: Final = 403
_GONE: Final = 410
_logger = log.get(__name__)


def install(app: Flask) -> None:
    """Answer errors of an app with pages; a blueprint of a protocol registers its own handlers for its own errors."""
    app.before_request(_refuse_nul)
    app.register_error_handler(CsrfRefused, _csrf)
    app.register_error_handler(InteractionLost, _lost)
    app.register_error_handler(InteractionExpired, _expired)
    app.register_error_handler(ConsentMismatch, _mismatch)
    app.register_error_handler(DocumentsNotShown, _not_shown)
    app.register_error_handler(IdpError, _internal)
    app.register_error_handler(CertificateRefused, _internal)
    app.register_error_handler(HTTPException, _http)


def _refuse_nul() -> None:
    """No identifier in an address has a NUL, and PostgreSQL does not even look one up."""
    if "\0" in request.path:
        abort(404)


def page(title: str, text: str, status: int, detail: str = "", way_on: WayOn | None = None) -> Response:
    """An error page; the detail is for whoever has to repair the cause, in English.

    :param way_on: where the person can go on, already checked; None: back to whoever asked for what this request is
        about, or to their own pages.
    """
    if way_on is None:
        # Where something is broken, the database may be.
        way_on = way_back.account() if status >= _SERVER_ERROR else way_back.of_request()
    values = {"title": title, "text": text, "detail": detail, "way_on": way_on}
    return make_response(render_template("error.html", **values), status)


def not_approved(cause: str | None) -> Response:
    """The end of an interaction of our own pages that was not approved.

    :param cause: as :class:`idp.web.interaction.Finished` has it.
    """
    if cause == "denied":
        return page(_("Nothing was done"), _("You did not approve the request."), 403)
    return page(_("Nothing was done"), _("The rules of this service do not allow it."), 403)


def _csrf(_error: CsrfRefused) -> Response:
    from idp.web.interaction import expired

    late = expired((request.view_args or {}).get("interaction_id", ""))
    if late is not None:
        return _expired(late)
    return page(
        _("This page is out of date"),
        _(
            "The form you sent does not belong to your current session. Nothing was changed. "
            "Please go back and start again."
        ),
        400,
    )


def _lost(_error: InteractionLost) -> Response:
    return page(
        _("This request is over"),
        _(
            "It has ended, has expired, or was begun by somebody else in this browser. "
            "Please return to the application you came from and start again."
        ),
        400,
    )


def _expired(error: InteractionExpired) -> Response:
    """Too late: said plainly, with the way back to whoever asked."""
    return page(
        _("The time for this request is over"),
        _("It was not finished in time, so nothing was signed and nothing was changed. You can start again."),
        _GONE,
        way_on=way_back.of_expired(error),
    )


def _mismatch(_error: ConsentMismatch) -> Response:
    return page(
        _("Nothing was approved"),
        _(
            "What you were shown is not what this request is about. "
            "Please return to the application you came from and start again."
        ),
        400,
    )


def _not_shown(_error: DocumentsNotShown) -> Response:
    return page(_("Nothing was approved"), _("This cannot be approved: not every document could be shown."), _FORBIDDEN)


def _internal(error: PrivySealError) -> Response:
    _logger.error("a request failed", extra={"fields": {"code": error.code}}, exc_info=error)
    return _failed(_SERVER_ERROR)


def _failed(status: int) -> Response:
    text = _("The request could not be completed. Please try again later.")
    return page(_("Something went wrong"), text, status)


def _http(error: HTTPException) -> Response:
    status = error.code or _SERVER_ERROR
    if status == 404:
        return page(_("There is no such page"), _("Please check the address."), status)
    if status >= _SERVER_ERROR:
        return _failed(status)
    response = page(_("The request cannot be answered"), _("Please go back and start again."), status)
    if error.response is None and "Allow" in dict(error.get_headers()):
        response.headers["Allow"] = dict(error.get_headers())["Allow"]
    return response
