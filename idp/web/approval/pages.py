"""The pages on the host where devices approve, and the way back.

1. ``GET /approve``: the handle is in the address's fragment; a script puts it into a form.  2. ``POST /approve``: what
is asked is shown, with the pages of documents that are at hand, and nothing changes.  3. ``POST /approve/answer``: the
device's answer is verified and kept, and the browser goes back with a code, again in the fragment.  4. There, with the
session's cookie, the code is used.

There is no session on this host: whoever has the handle may look, and needs the device to approve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Flask, make_response, render_template, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from contract import proof as proofs
from contract.errors import ProofInvalid
from idp.authn.stepup import Allowed
from idp.errors import ConsentMismatch, InteractionLost, PasskeyRefused
from idp.storage import device_visits
from idp.storage.device_visits import StoredVisit
from idp.web import browser, passkeys, progress
from idp.web.approval import devices, place, sheets, signing
from idp.web.headers import allow_form_target
from idp.web.interaction import load
from idp.web.language import gettext as _
from idp.web.services import services

blueprint = Blueprint("approval", __name__)
back = Blueprint("approved", __name__, url_prefix="/interaction/<interaction_id>/approved")
_FORBIDDEN: Final = 403


def setup(app: Flask) -> None:
    """Serve the pages on their host, and there nothing else."""
    app.register_blueprint(blueprint)
    app.register_blueprint(back)
    app.register_blueprint(sheets.blueprint)
    app.before_request(place.apart)


@blueprint.get("/approve")
def arrive() -> Response:
    """Where a browser comes with a handle that no server sees: the page's script sends it on."""
    return make_response(render_template("approval_arrive.html"))


@blueprint.post("/approve")
@browser.csrf_exempt
def show() -> Response:
    """What is asked of the device; nothing changes.  The handle stands for the session, whose cookie does not come."""
    found = place.visited()
    allow_form_target(services().settings.issuer)
    return _device(found) if found.visit.purpose == "device" else _signature(found)


@blueprint.post("/approve/answer")
@browser.csrf_exempt
def answer() -> Response:
    """The device has answered.  A wrong answer ends the visit: the person begins again on the page that asked."""
    found = place.visited()
    if found.visit.purpose != "device":
        return _proved(found)
    asked = devices.agreeing(found)
    return _made(found) if asked is None else _agreed(found, asked)


def _proved(found: StoredVisit) -> Response:
    asked, with_services = signing.approving(found), services()
    try:
        proof = signing.proved(asked, request.form.get("answer", ""))
    except (PasskeyRefused, ProofInvalid) as error:
        cause = error.cause if isinstance(error, PasskeyRefused) else error.code
        with with_services.engine.begin() as connection:
            device_visits.end(connection, found)
            signing.record_refused(connection, asked, found, cause)
        return _refused(found, _("Your device's answer was not accepted. Nothing was signed."))
    code, claim = place.new_code(), proofs.to_claim(proof)
    with with_services.engine.begin() as connection:
        _keep(connection, found, claim, code)
        signing.record_given(connection, asked, found, proof)
    return place.back_to(f"/interaction/{found.visit.target}/approved", code)


def _made(found: StoredVisit) -> Response:
    account, with_services = devices.owner(found), services()
    try:
        made = devices.made(found, account, request.form.get("answer", ""))
    except PasskeyRefused as error:
        passkeys.refused(error)
        with with_services.engine.begin() as connection:
            device_visits.end(connection, found)
        return _refused(found, _("This passkey cannot approve signatures. Nothing was set up."))
    if found.visit.asked["wanted"].get("removed") is not None:
        with with_services.engine.begin() as connection:
            asked = {**found.visit.asked, "made": made}
            if not device_visits.ask_more(connection, with_services.seals, found, asked):
                raise InteractionLost("the visit has had its answer")
        allow_form_target(with_services.settings.issuer)
        return _device(place.visited())
    code = place.new_code()
    with with_services.engine.begin() as connection:
        _keep(connection, found, made, code)
    return place.back_to("/account/device", code)


def _agreed(found: StoredVisit, asked: devices.Agreeing) -> Response:
    try:
        given = devices.agreed(found, asked, request.form.get("answer", ""))
    except (PasskeyRefused, ProofInvalid):
        with services().engine.begin() as connection:
            device_visits.end(connection, found)
        return _refused(found, _("Your device's answer was not accepted. Nothing was set up."))
    code = place.new_code()
    with services().engine.begin() as connection:
        _keep(connection, found, given, code)
    return place.back_to("/account/device", code)


def _keep(connection: Connection, found: StoredVisit, given: Mapping[str, Any], code: str) -> None:
    now = services().clock.now()
    if not device_visits.answer(connection, services().seals, found, given, code=code, now=now):
        raise InteractionLost("the visit has had its answer")


@back.get("")
def arrived(interaction_id: str) -> Response:
    """Back where it was asked for, with a code that the page's script puts into its form."""
    interaction, session = load(interaction_id), browser.current()
    if interaction.request.return_to:
        allow_form_target(interaction.request.return_to)
    page = render_template(
        "approval_back.html",
        action=url_for("approved.finish", interaction_id=interaction.id),
        again=url_for("interaction.show", interaction_id=interaction.id),
        csrf="" if session is None else session.csrf,
    )
    return make_response(page)


@back.post("")
def finish(interaction_id: str) -> Response:
    """What the device approved is approved, if this browser asked for it and the policy still allows it.

    :raises InteractionLost: nothing waits under the code for this browser's session and this interaction.
    """
    interaction, session = load(interaction_id), browser.current()
    if session is None:
        raise InteractionLost("the browser has no session")
    found = place.taken(session.id, "signature", interaction.id)
    if found.visit.asked["binding"] != interaction.binding or found.answer is None:
        raise ConsentMismatch("what the device approved is not what this transaction is about")
    # Documents may have been fetched since: the record would say that the person was shown what the device's text
    # calls unseen.
    if signing.approving(found).statement.display != proofs.from_claim(found.answer).display:
        raise ConsentMismatch("what is known of the documents is not what the device's text said")
    assessed = progress.assess(interaction)
    if assessed is None or not isinstance(assessed.step, Allowed):
        return progress.advance(interaction)
    return progress.approve(interaction, assessed, signer_proof=found.answer)


def _signature(found: StoredVisit) -> Response:
    asked = signing.approving(found)
    showing = sheets.shown(asked, request.form)
    return _page("approval.html", found, lines=asked.lines, options=signing.options_for(asked), **showing)


def _device(found: StoredVisit) -> Response:
    account, asked = devices.owner(found), devices.agreeing(found)
    if asked is not None:
        return _page("approval.html", found, lines=asked.lines, options=devices.options_to_agree(asked), change=True)
    return _page("approval_device.html", found, account=account, options=devices.options_for(found, account))


def _page(template: str, found: StoredVisit, **values: Any) -> Response:
    common = {"handle": request.form.get("handle", ""), "until": found.expires_at, "back": _page_of(found)}
    return make_response(render_template(template, **common, **values))


def _refused(found: StoredVisit, text: str) -> Response:
    page = render_template("approval_refused.html", text=text, back=_page_of(found))
    return make_response(page, _FORBIDDEN)


def _page_of(found: StoredVisit) -> str:
    """Where the browser came from, at the issuer's own address: no header decides it (SES-10)."""
    path = "/account/credentials" if found.visit.purpose == "device" else f"/interaction/{found.visit.target}"
    return f"{services().settings.issuer}{path}"
