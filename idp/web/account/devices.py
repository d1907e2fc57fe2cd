"""A device that was set up to approve signatures comes back, and the order that it is for begins."""

from __future__ import annotations

from flask import make_response, render_template, request, url_for
from werkzeug.wrappers import Response

from idp.errors import CredentialUnavailable, InteractionLost
from idp.settings import ACCOUNT_CLIENT_ID
from idp.web import browser, faults
from idp.web.account import credentials
from idp.web.account.common import blueprint, me, refused, signed_in
from idp.web.approval import devices as approval_devices
from idp.web.approval import place, signing
from idp.web.language import gettext as _
from idp.web.services import services


@blueprint.post("/credentials/device")
@signed_in
def replace_device() -> Response:
    """Put another device in the place of one that approves signatures: the new one is made, then the other agrees."""
    session, approving = browser.current(), services().settings.approval
    credential_id, removed = request.form.get("credential_id", ""), request.form.get("device", "")
    held = services().credentials.of_account(me().id, ACCOUNT_CLIENT_ID)
    own = next((item for item in held if item.credential_id == credential_id), None)
    if session is None or approving is None or own is None:
        return refused()
    former = signing.usable_keys(own)
    if removed not in {key.kid for key in former}:
        return refused()
    wanted = {"credential_id": own.credential_id, "removed": removed, "former": list(own.proof_keys)}
    return approval_devices.send(session.id, me().id, wanted)


@blueprint.errorhandler(CredentialUnavailable)
def unavailable(_error: CredentialUnavailable) -> Response:
    """The signing service does not say which devices there are."""
    text = _("Your signing credentials cannot be read now. Please try again later.")
    return faults.page(_("The request cannot be answered"), text, 503)


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
    if found.answer is None:
        raise InteractionLost("no answer of a device waits under this code")
    if "credential_id" in found.answer["wanted"]:
        return credentials.begin_change(found.answer)
    if found.answer["wanted"]["profile"] not in services().settings.signing.profiles:
        raise InteractionLost("the device is for nothing that is offered")
    return credentials.begin_order(found.answer["wanted"]["profile"], found.answer)
