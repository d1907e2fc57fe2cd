"""The language of the pages, kept on the account: no cookie remembers it."""

from __future__ import annotations

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from idp.storage import accounts
from idp.web.account.common import blueprint, me, page, refused, signed_in
from idp.web.services import services


@blueprint.get("/language")
@signed_in
def language() -> Response:
    """The form."""
    chosen = (me().locale or "").replace("_", "-").lower().partition("-")[0]
    return page("account_language.html", languages=services().settings.languages, chosen=chosen)


@blueprint.post("/language")
@signed_in
def choose() -> Response:
    """Keep the choice; an empty one leaves it to the browser."""
    chosen = request.form.get("language", "")
    if chosen and chosen not in services().settings.languages:
        return refused()
    with services().engine.begin() as connection:
        accounts.set_locale(connection, me().id, chosen or None)
    return redirect(url_for("account.language"), 303)
