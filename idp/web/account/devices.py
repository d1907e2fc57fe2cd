"""A device that was set up to approve signatures comes back, and the order that it is for begins."""

from __future__ import annotations

from flask import make_response, render_template, url_for
from werkzeug.wrappers import Response

from idp.errors import InteractionLost
from idp.web import browser
from idp.web.account import credentials
from idp.web.account.common import blueprint, me, signed_in
from idp.web.approval import place
from idp.web.services import services


@blueprint.get("/device")
@signed_in
def device() -> Response:
    """Back from where devices approve, with a code that the page's script puts into its form."""
    session = browser.current()
    page = render_template(
        "approval_back.html",
        action=url_for("account.device_made"),
        again=url_for("account.credentials"),
        csrf="" if session is None else session.csrf,
    )
    return make_response(page)


@blueprint.post("/device")
@signed_in
def device_made() -> Response:
    """Begin the order that the device is for; policy, step-up and consent come before there is one.

    :raises InteractionLost: nothing waits under the code for this browser's session and person.
    """
    session = browser.current()
    if session is None:
        raise InteractionLost("the browser has no session")
    found = place.taken(session.id, "device", me().id)
    if found.answer is None or found.answer["wanted"]["profile"] not in services().settings.signing.profiles:
        raise InteractionLost("the device is for nothing that is offered")
    return credentials.begin_order(found.answer["wanted"]["profile"], found.answer)
