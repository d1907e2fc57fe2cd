"""The pages of documents, where devices approve: whoever has the handle sees what they are asked to approve.

No session's cookie comes to this host, and no address may have the handle in it: pages are leafed through by forms, and
the picture is inside the page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, request
from werkzeug.wrappers import Response

from documents.errors import DocumentsError
from documents.render import LARGE_WIDTH, PAGE_WIDTH
from idp.web import browser
from idp.web.approval import place, signing
from idp.web.approval.signing import Approving
from idp.web.headers import allow_pictures_inside
from idp.web.language import gettext as _
from idp.web.shown import documents
from idp.web.shown.choice import Choice, show_documents
from idp.web.shown.pages import file_of, picture_of

blueprint = Blueprint("sheets", __name__, url_prefix="/approve")


def shown(asked: Approving, wanted: Mapping[str, str]) -> dict[str, Any]:
    """What the page's template needs to show documents; empty: there are none to be shown.

    :param wanted: the form by which the person leafs.
    """
    showing = show_documents(asked.interaction, wanted)
    if showing is None:
        return {}
    # With their numbers, as in the text: two documents may be named alike.
    names = [f"{at}. {item.label or _('Without a name')}" for at, item in enumerate(asked.intent.digests, 1)]
    return {"showing": showing, "names": names, "picture": _picture(asked, showing)}


@blueprint.post("/page")
@browser.csrf_exempt
def large() -> Response:
    """The page that is looked at, larger."""
    asked, showing = _asked()
    return picture_of(asked.interaction, showing.document, showing.page, LARGE_WIDTH)


@blueprint.post("/file")
@browser.csrf_exempt
def file() -> Response:
    """The document itself."""
    asked, showing = _asked()
    return file_of(asked.interaction, showing.document)


def _asked() -> tuple[Approving, Choice]:
    asked = signing.approving(place.visited())
    showing = show_documents(asked.interaction, request.form)
    if showing is None:
        abort(404)
    return asked, showing


def _picture(asked: Approving, showing: Choice) -> str:
    """As an address that is the picture; empty: there is none, or nobody to draw it now."""
    if not showing.at(showing.document).pages:
        return ""
    try:
        found = documents.page(asked.interaction, showing.document - 1, showing.page, PAGE_WIDTH)
    except DocumentsError:
        return ""
    if found is None:
        return ""
    allow_pictures_inside()
    return f"data:image/png;base64,{base64.b64encode(found).decode()}"
