"""Signing: what is to be signed and how, the way to the approval, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from clients.csc import Bearer, Pending
from portal.errors import AlreadySigned, NoSuchDocument, NothingChosen, TooManyAtOnce
from portal.outside.provider import Line
from portal.outside.signing import Wish, best_level, chosen_credential, details, sign, usable_credentials
from portal.placement import CORNERS, MAX_STATED, Sheet, at_corner, packed, parse, properties
from portal.store import documents
from portal.store.documents import Document, Outcome
from portal.store.sessions import Session
from portal.web import browser, language, shown, way
from portal.web.parts import parts

blueprint = Blueprint("signing", __name__)


@blueprint.get("/sign")
def ask() -> str:
    """What is to be signed, with which credential, and where the signatures show."""
    person = browser.person()
    chosen = _chosen(person, request.args.getlist("document"))
    with parts().outside.line() as line:
        level = best_level(line.known.info)
        usable = usable_credentials(line.service, person.service_token)
    return render_template(
        "sign.html",
        documents=chosen,
        credentials=usable,
        level=level,
        issuer=parts().settings.issuer,
        corners=CORNERS,
        usual=at_corner(chosen[0].sheets[-1], "bottom-right"),
        pages=[[count, *Sheet(width, height, int(turn)).shown]
               for count, width, height, turn, _, _ in packed(chosen[0].sheets)],
        most=MAX_STATED,
    )  # fmt: skip


@blueprint.post("/sign")
def begin() -> Response:
    """One approval for all that was chosen: the person goes to the identity provider."""
    person = browser.person()
    chosen = _chosen(person, request.form.getlist("document"))
    placement = parse(request.form)
    with parts().outside.line() as line:
        level = best_level(line.known.info)
        usable = usable_credentials(line.service, person.service_token)
        credential = chosen_credential(usable, request.form.get("credential"))
        if len(chosen) > credential.multisign:
            raise TooManyAtOnce("the credential signs fewer at once")
        wanted = [properties(placement, each.sheets, credential.signer_name) for each in chosen]
        wishes = _wishes(person, chosen, wanted)
        pending = line.begin_approval(details(line.service, credential, wishes, level), language.select())
    value = {
        "what": "sign",
        "owner": person.owner,
        "documents": [each.id for each in chosen],
        "credential": credential.id,
        "level": level,
        "properties": wanted,
    }
    return way.send(pending, value)


def finish(line: Line, pending: Pending, parameters: Mapping[str, str], kept: Mapping[str, Any]) -> Response:
    """The approval came: sign, and keep what was signed.

    The credential and the documents are read before the code is redeemed: what is found wrong then costs no approval.
    """
    person = browser.person()
    if kept["owner"] != person.owner:
        # Somebody else signed in in this browser meanwhile.
        raise NothingChosen("the request is another person's")
    chosen = _chosen(person, kept["documents"])
    credential = line.service.credential(Bearer(person.service_token), kept["credential"])
    wishes = _wishes(person, chosen, kept["properties"])
    tokens = line.finish(pending, parameters)
    signed = sign(line.service, credential, tokens, wishes, kept["level"])
    for document, content in zip(chosen, signed, strict=True):
        _store(document, content, Outcome(kept["level"], credential.signer_name, len(content)))
    return redirect(url_for("library.show", new=[each.id for each in chosen]), 303)


def _store(document: Document, content: bytes, outcome: Outcome) -> None:
    """Each by itself: one that was deleted while it was being signed is gone, and costs the others nothing."""
    with_parts, now = parts(), parts().now
    until = now + with_parts.settings.keeping.document_seconds
    with suppress(NoSuchDocument), with_parts.engine.begin() as connection:
        documents.store_signed(connection, with_parts.seal, document, content, outcome=outcome, now=now, until=until)


def _chosen(person: Session, ids: Sequence[str]) -> list[Document]:
    """The documents of these identifiers, all of which are the person's.

    :raises NothingChosen: none.
    :raises NoSuchDocument: one is not there, or another person's.
    :raises AlreadySigned: one is signed.
    :raises TooManyAtOnce: more than one approval, or one request, takes.
    """
    with_parts, limits = parts(), parts().settings.limits
    if not ids:
        raise NothingChosen("no document was chosen")
    if len(ids) > limits.documents_at_once:
        raise TooManyAtOnce("more documents than one approval takes")
    with with_parts.engine.connect() as connection:
        found = documents.find_all(connection, with_parts.seal, person.owners, ids, with_parts.now)
    if any(each.outcome is not None for each in found):
        raise AlreadySigned("a document is signed already")
    if sum(each.octets for each in found) > limits.request_octets:
        raise TooManyAtOnce("more octets than one request takes")
    return found


def _wishes(
    person: Session, chosen: Sequence[Document], wanted: Sequence[Sequence[Mapping[str, Any]]]
) -> list[Wish]:
    """:param wanted: properties of each."""
    with_parts = parts()
    with with_parts.engine.connect() as connection:
        return [
            Wish(
                each.id,
                each.name,
                documents.content_of(connection, with_parts.seal, each, "original"),
                tuple(its),
                shown.address(each) if with_parts.settings.show_documents else None,
            )
            for each, its in zip(chosen, wanted, strict=True)
        ]
