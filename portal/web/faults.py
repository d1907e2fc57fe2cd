"""Errors as pages: what a person can do about them, and nothing about the inside."""

from __future__ import annotations

from typing import Final

from flask import Flask, abort, make_response, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response

from foundation import log
from portal.errors import (
    DocumentNotAcceptable,
    NotApproved,
    PortalError,
    SignedOut,
    SignInAgain,
    SigningRefused,
    TooManyRequests,
)
from portal.web.language import duration
from portal.web.language import gettext as _
from portal.web.parts import parts

_SERVER_ERROR: Final = 500
_MAX_DRAIN: Final = 256 * 1024 * 1024
_CHUNK: Final = 1024 * 1024
_logger = log.get(__name__)


def install(app: Flask) -> None:
    """Answer errors of an app with pages."""
    app.before_request(_refuse_nul)
    app.register_error_handler(SignedOut, _signed_out)
    app.register_error_handler(SignInAgain, _sign_in_again)
    app.register_error_handler(TooManyRequests, _too_many)
    app.register_error_handler(PortalError, _ours)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unknown)


def _refuse_nul() -> None:
    """No identifier in an address has a NUL, and PostgreSQL does not even look one up."""
    if "\0" in request.path:
        abort(404)


def page(title: str, text: str, status: int, *, detail: str = "") -> Response:
    """An error page.

    :param detail: what another service said, in its own words.
    """
    return make_response(render_template("error.html", title=title, text=text, detail=detail), status)


def sentence(error: PortalError) -> str:
    """What went wrong and what can be done about it, for the person."""
    if isinstance(error, DocumentNotAcceptable):
        return _reason(error.reason)
    limits = parts().settings.limits
    megabytes = limits.file_octets // (1024 * 1024)
    texts = {
        "form_not_current": _("The form you sent does not belong to this browser, or is too old. Nothing was changed."),
        "no_such_document": _("It was deleted, it has expired, or it never was yours."),
        "nothing_chosen": _("Choose at least one document first."),
        "already_signed": _("This document is signed. To add a signature, upload the signed file."),
        "not_pdf": _("This file is not a PDF, or its end is missing."),
        "too_large": _("A file may have at most %(count)s MB.", count=megabytes),
        "quota_reached": _("You keep as many documents here as one person may. Delete some, then try again."),
        "too_many_at_once": _("These are more documents than can be signed with one approval. Choose fewer."),
        "place_invalid": _("The numbers for the visible signature do not make a place on a page."),
        "no_credential": _("You have no signing credential that can sign now. Order one on your account pages."),
        "answer_not_ours": _("This answer belongs to no request from this browser, or came twice. Please start again."),
        "id_token_invalid": _("The identity provider's answer cannot be believed. Nobody was signed in."),
        "not_approved": _("Nothing was signed. Your documents are unchanged."),
        "signing_refused": _("The signing service did not sign. Your documents are unchanged."),
        "not_validated": _("This file cannot be validated here: it is too large or too complicated."),
        "too_often": _("Too many files are being validated just now. Please try again in a moment."),
        "service_unavailable": _("A service that is needed for this does not answer. Please try again later."),
    }
    return texts.get(error.code, _("The request could not be completed. Please try again later."))


def _reason(reason: str) -> str:
    """Why a PDF is not one to be signed (``documents.errors.REASONS``)."""
    texts = {
        "encrypted": _("This PDF is encrypted. Remove the password, then upload it again."),
        "hybrid": _("This PDF can be read in two ways that may differ. Save it anew with another program."),
        "xfa": _("This PDF is an XFA form, which cannot be signed. Print it to a PDF first."),
        "too_large": _("This PDF is too large."),
        "signature_broken": _("A signature that this PDF already has does not fit the document."),
        "changed_after_signature": _("This PDF was changed after it was signed, beyond what its signature permits."),
        "certified_final": _("This PDF is certified against any further signature."),
        "finding_refused": _("This PDF contains something that is not accepted here."),
        "malformed": _("This PDF is damaged. Save it anew with another program."),
        "not_a_pdf": _("This file is not a PDF, or its end is missing."),
    }
    return texts.get(reason, _("This PDF is too large or too complicated to be read safely."))


def _ours(error: PortalError) -> Response:
    if error.status >= _SERVER_ERROR:
        _logger.error("a request failed", extra={"fields": {"code": error.code}}, exc_info=error)
    titles = {
        "form_not_current": _("This page is out of date"),
        "no_such_document": _("There is no such document"),
        "no_credential": _("Nothing to sign with"),
        "not_approved": _("The signature was not approved"),
        "signing_refused": _("The documents were not signed"),
    }
    detail = ""
    if isinstance(error, SigningRefused):
        detail = error.reason
    elif isinstance(error, NotApproved) and str(error) != "access_denied":
        detail = str(error)
    return page(titles.get(error.code, _("That did not work")), sentence(error), error.status, detail=detail)


def _signed_out(error: SignedOut) -> Response:
    return make_response(render_template("sign_in.html", again=False, error=None), error.status)


def _sign_in_again(error: SignInAgain) -> Response:
    return make_response(render_template("sign_in.html", again=True, error=error), error.status)


def _let_go_by() -> None:
    """A browser that is still sending reads no answer; what it sends within reason is read and thrown away."""
    stream, left = request.environ["wsgi.input"], min(request.content_length or 0, _MAX_DRAIN)
    while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
        left -= len(chunk)


def _too_many(error: TooManyRequests) -> Response:
    _let_go_by()
    text = _(
        "Too much was asked for from your network just now. Nothing was changed. Please try again in %(time)s.",
        time=duration(error.seconds),
    )
    response = page(_("One moment, please"), text, error.status)
    response.headers["Retry-After"] = str(error.seconds)
    return response


def _too_large(_error: RequestEntityTooLarge) -> Response:
    _let_go_by()
    limits = parts().settings.limits
    text = _(
        "What you sent is larger than %(count)s MB together. Send fewer or smaller files.",
        count=limits.request_octets // (1024 * 1024),
    )
    return page(_("That is too much at once"), text, 413)


def _http(error: HTTPException) -> Response:
    status = error.code or _SERVER_ERROR
    if status == 404:
        return page(_("There is no such page"), _("Please check the address."), status)
    response = page(_("The request cannot be answered"), _("Please go back and start again."), status)
    if error.response is None and "Allow" in dict(error.get_headers()):
        response.headers["Allow"] = dict(error.get_headers())["Allow"]
    return response


def _unknown(error: Exception) -> Response:
    _logger.error("a request failed", extra={"fields": {"code": type(error).__name__}}, exc_info=error)
    text = _("The request could not be completed. Please try again later.")
    return page(_("Something went wrong"), text, _SERVER_ERROR)
