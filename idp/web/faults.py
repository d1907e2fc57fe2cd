"""Errors as pages: what a person can do about them, and nothing about the inside."""

from __future__ import annotations

from typing import Final

from flask import Flask, abort, make_response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from foundation import log
from foundation.errors import PrivySealError
from idp.errors import ConsentMismatch, CsrfRefused, IdpError, InteractionLost
from idp.web.language import gettext as _

_SERVER_ERROR: Final = 500
_logger = log.get(__name__)


def install(app: Flask) -> None:
    """Answer errors of an app with pages; a blueprint of a protocol registers its own handlers for its own errors."""
    app.before_request(_refuse_nul)
    app.register_error_handler(CsrfRefused, _csrf)
    app.register_error_handler(InteractionLost, _lost)
    app.register_error_handler(ConsentMismatch, _mismatch)
    app.register_error_handler(IdpError, _internal)
    app.register_error_handler(HTTPException, _http)


def _refuse_nul() -> None:
    """No identifier in an address has a NUL, and PostgreSQL does not even look one up."""
    if "\0" in request.path:
        abort(404)


def page(title: str, text: str, status: int, detail: str = "") -> Response:
    """An error page; the detail is for whoever has to repair the cause, in English."""
    return make_response(render_template("error.html", title=title, text=text, detail=detail), status)


def not_approved(cause: str | None) -> Response:
    """The end of an interaction of our own pages that was not approved.

    :param cause: as :class:`idp.web.interaction.Finished` has it.
    """
    if cause == "denied":
        return page(_("Nothing was done"), _("You did not approve the request."), 403)
    return page(_("Nothing was done"), _("The rules of this service do not allow it."), 403)


def _csrf(_error: CsrfRefused) -> Response:
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


def _mismatch(_error: ConsentMismatch) -> Response:
    return page(
        _("Nothing was approved"),
        _(
            "What you were shown is not what this request is about. "
            "Please return to the application you came from and start again."
        ),
        400,
    )


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
