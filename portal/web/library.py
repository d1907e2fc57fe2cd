"""A person's documents: brought, listed, downloaded, deleted."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import Final

from flask import Blueprint, redirect, render_template, request, send_file, url_for
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response

from documents.errors import DocumentRefused, DocumentsError, ExaminerUnavailable
from documents.findings import ACTIVE, APPEARANCE, Examination, Page
from portal.errors import (
    DocumentNotAcceptable,
    NoSuchDocument,
    NothingChosen,
    PortalError,
    ServiceUnavailable,
    TooLarge,
)
from portal.names import check_pdf, clean_name
from portal.placement import Sheet
from portal.store import documents, sessions
from portal.store.documents import KINDS, Document
from portal.store.sessions import Session
from portal.web import browser, faults
from portal.web.parts import parts

blueprint = Blueprint("library", __name__)
_ID_OCTETS: Final = 16


@blueprint.get("/documents")
def show() -> str:
    """The list."""
    return _page(browser.person(), request.args.getlist("new"))


def _page(person: Session, new: list[str], faulty: list[tuple[str, str]] | None = None) -> str:
    with_parts = parts()
    with with_parts.engine.connect() as connection:
        found = documents.everyone_of(connection, with_parts.seal, person.owners, with_parts.now)
    return render_template(
        "documents.html",
        documents=found,
        new=new,
        faulty=faulty or [],
        limits=with_parts.settings.limits,
        kept=with_parts.settings.keeping.document_seconds,
    )


@blueprint.post("/documents")
def bring() -> Response | tuple[str, int]:
    """Keep what was sent: each file by itself, so that one that cannot be kept does not cost the others."""
    person = browser.person()
    sent = [each for each in request.files.getlist("file") if each.filename]
    if not sent:
        raise NothingChosen("no file was sent")
    kept: list[str] = []
    faulty: list[tuple[str, str]] = []
    worst = 400
    for each in sent:
        name = clean_name(each.filename or "")
        try:
            kept.append(_keep(person, name, each).id)
        except PortalError as error:
            if error.status >= 500:
                raise
            faulty.append((name, faults.sentence(error)))
            worst = error.status
    if faulty:
        return _page(person, kept, faulty), worst
    return redirect(url_for("library.show", new=kept), 303)


def _keep(person: Session, name: str, sent: FileStorage) -> Document:
    with_parts = parts()
    limits = with_parts.settings.limits
    content = sent.stream.read(limits.file_octets + 1)
    if len(content) > limits.file_octets:
        raise TooLarge("the file is larger than one may be")
    check_pdf(content)
    found = _examined(content)
    now = with_parts.now
    made = Document(
        id=with_parts.random(_ID_OCTETS).hex(),
        owner=person.owner,
        name=name,
        octets=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        brought=now,
        until=now + with_parts.settings.keeping.document_seconds,
        sheets=tuple(map(_sheet, found.pages)),
        notes=_notes(found),
    )
    with with_parts.engine.begin() as connection:
        sessions.hold(connection, person)
        documents.add(connection, with_parts.seal, limits, made, content, owners=person.owners)
    return made


def _examined(content: bytes) -> Examination:
    """What the confined processes find.

    :raises DocumentNotAcceptable: it is not one to be signed.
    :raises ServiceUnavailable: nobody was there to look.
    """
    try:
        return parts().examine(content)
    except DocumentRefused as error:
        raise DocumentNotAcceptable(error.reason) from error
    except ExaminerUnavailable as error:
        raise ServiceUnavailable("no document can be examined now") from error


def _sheet(page: Page) -> Sheet:
    # What is no quarter turn is none: readers ignore it (ISO 32000-2 table 31).
    turn = page.rotation if page.rotation in {90, 180, 270} else 0
    return Sheet(page.width, page.height, turn, page.left, page.bottom)


def _notes(found: Examination) -> tuple[str, ...]:
    codes = {each.code for each in found.findings}
    kinds = (("active", ACTIVE), ("appearance", APPEARANCE))
    return tuple(name for name, kind in kinds if codes & kind)


@blueprint.get("/documents/<document_id>/<any(original, signed):kind>.pdf")
def download(document_id: str, kind: str) -> Response:
    """A document, to be saved: a PDF that somebody else made is not shown under our name."""
    person, with_parts = browser.person(), parts()
    with with_parts.engine.connect() as connection:
        found = documents.find(connection, with_parts.seal, person.owners, document_id, with_parts.now)
        content = documents.content_of(connection, with_parts.seal, found, next(k for k in KINDS if k == kind))
    name = found.signed_name if kind == "signed" else found.name
    return send_file(BytesIO(content), mimetype="application/pdf", as_attachment=True, download_name=name)


@blueprint.get("/documents/<document_id>/page/<int:number>.png")
def picture(document_id: str, number: int) -> Response:
    """A page of a document as it was brought, to place the signature on."""
    person, with_parts = browser.person(), parts()
    with with_parts.engine.connect() as connection:
        found = documents.find(connection, with_parts.seal, person.owners, document_id, with_parts.now)
        if not 1 <= number <= len(found.sheets):
            raise NoSuchDocument("there is no such page")
        content = documents.content_of(connection, with_parts.seal, found, "original")
    try:
        drawn = with_parts.draw(content, number)
    except DocumentsError as error:
        raise ServiceUnavailable("the page cannot be drawn") from error
    return send_file(BytesIO(drawn), mimetype="image/png")


@blueprint.post("/documents/<document_id>/delete")
def delete(document_id: str) -> Response:
    """Delete a document, with its signed form, at once."""
    person = browser.person()
    with parts().engine.begin() as connection:
        documents.remove(connection, person.owners, document_id)
    return redirect(url_for("library.show"), 303)
