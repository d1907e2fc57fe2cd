"""The pages of documents, as pictures; and the form by which a person asks for what could not be fetched."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, abort, redirect, url_for
from werkzeug.wrappers import Response

from documents.errors import DocumentRefused, RenderBusy, RenderFailed
from documents.render import LARGE_WIDTH, PAGE_WIDTH
from idp.authn.stepup import Allowed
from idp.errors import CredentialNotChosen, CredentialUnavailable, CredentialUnusable
from idp.web import progress
from idp.web.interaction import Interaction, load
from idp.web.shown import documents

blueprint = Blueprint("shown", __name__, url_prefix="/interaction/<interaction_id>/documents")

_BUSY_SECONDS: Final = 5


@blueprint.post("")
def fetch(interaction_id: str) -> Response:
    """The person asks once more for the documents that are missing."""
    interaction = _at_approval(interaction_id)
    documents.fetch_again(interaction)
    return redirect(url_for("interaction.show", interaction_id=interaction.id, _anchor="documents"), 303)


@blueprint.get("/<int:position>/<int:number>.png")
def page(interaction_id: str, position: int, number: int) -> Response:
    """A page as it would be printed; both numbers count from 1.  For whom the approval is shown, and nobody else."""
    return picture_of(_at_approval(interaction_id), position, number, PAGE_WIDTH)


@blueprint.get("/<int:position>/<int:number>/large.png")
def large(interaction_id: str, position: int, number: int) -> Response:
    """The same page, larger."""
    return picture_of(_at_approval(interaction_id), position, number, LARGE_WIDTH)


@blueprint.get("/<int:position>/file")
def file(interaction_id: str, position: int) -> Response:
    """The document itself, to be kept and read elsewhere: a picture tells nothing to whoever cannot see it."""
    return file_of(_at_approval(interaction_id), position)


def file_of(interaction: Interaction, position: int) -> Response:
    """A document's octets, for whoever may see it: the caller has looked into that.

    :param position: from 1.
    """
    there = 1 <= position <= documents.count(interaction)
    content = documents.content(interaction, position - 1) if there else None
    if content is None:
        abort(404)
    kind = "pdf" if content.startswith(b"%PDF-") else "bin"
    response = Response(content, content_type="application/octet-stream")
    response.headers["Content-Disposition"] = f'attachment; filename="document-{position}.{kind}"'
    return response


def picture_of(interaction: Interaction, position: int, number: int, width: int) -> Response:
    """A page's picture, for whoever may see it: the caller has looked into that."""
    if not 1 <= position <= documents.count(interaction):
        abort(404)
    try:
        picture = documents.page(interaction, position - 1, number, width)
    except RenderBusy:
        return Response("", 503, {"Retry-After": str(_BUSY_SECONDS)})
    except (RenderFailed, DocumentRefused):
        abort(404)
    if picture is None:
        abort(404)
    return Response(picture, content_type="image/png")


def _at_approval(interaction_id: str) -> Interaction:
    """The interaction, if its person may approve it now: until then nobody sees a document."""
    interaction = load(interaction_id)
    if not documents.has_documents(interaction):
        abort(404)
    try:
        found = progress.assess(interaction)
    except (CredentialNotChosen, CredentialUnavailable, CredentialUnusable):
        found = None
    if found is None or not isinstance(found.step, Allowed):
        abort(404)
    return interaction
