"""Where certificates are presented: a host of its own, whose TLS server asks browsers for one.

1. A page of a session sends the browser here with a ticket.  2. The certificate of the handshake is validated and
checked for revocation.  3. What it says waits under a code, which goes into this browser alone, in a form that leads
back to the page.  There the session's cookie has to be the one that the ticket was made for: a certificate that
somebody presented because another person's page sent them here is of no use to that other person (SES-07).

There is no session on this host, and nothing else is served.
"""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Flask, abort, make_response, render_template, request
from werkzeug.wrappers import Response

from foundation.certificates.reading import identity as identity_of
from foundation.jose import encode_base64url
from idp.authn.certificate.errors import CertificateRefused, NotChecked
from idp.authn.certificate.facts import CertificateFacts
from idp.authn.certificate.presented import Presented
from idp.errors import InteractionLost
from idp.storage import handovers, interactions
from idp.storage.engine import reading
from idp.storage.handovers import Handover
from idp.web import browser, language
from idp.web.certificates import refusal, ticket, transport
from idp.web.certificates.offer import offer
from idp.web.certificates.trust import Trust, facts_to_json, trust
from idp.web.certificates.words import explained
from idp.web.headers import allow_form_target
from idp.web.interaction import BeginInteraction
from idp.web.services import services

blueprint = Blueprint("certificate", __name__)
_CODE_OCTETS: Final = 32
_FORBIDDEN: Final = 403
_UNAVAILABLE: Final = 503
_SHARED: Final = frozenset({"certificate.present", "static"})
"""What is served where certificates are presented."""


def setup(app: Flask) -> None:
    """Serve the page, and there nothing else."""
    app.register_blueprint(blueprint)
    app.before_request(_apart)
    app.add_template_global(offer, "certificate_offer")


def _apart() -> None:
    believed = trust()
    here = believed is not None and transport.is_certificate_host(request, believed)
    if here and request.endpoint not in _SHARED:
        abort(404)
    if not here and request.endpoint == "certificate.present":
        abort(404)


@blueprint.post("/certificate")
@browser.csrf_exempt
def present() -> Response:
    """Judge the certificate of this connection.  The ticket stands for the session, whose cookie is not sent here."""
    believed = trust()
    if believed is None:
        abort(404)
    wanted = ticket.read(request.form.get("certificate_ticket", ""))
    back = _way_back(wanted)
    shown: Presented | None = None
    try:
        shown = transport.presented(request, believed)
        if shown is None:
            raise CertificateRefused("missing", "the browser presented no certificate")
        found = believed.accept(shown, services())
    except CertificateRefused as error:
        identity = None if shown is None else identity_of(shown.certificate)
        refusal.record(error, session_id=wanted.session_id, purpose=wanted.purpose, identity=identity)
        status = _UNAVAILABLE if isinstance(error, NotChecked) else _FORBIDDEN
        page = render_template("certificate_refused.html", text=explained(error.cause), cause=error.cause, back=back)
        return make_response(page, status)
    return _accepted(believed, wanted, found, back)


def _accepted(believed: Trust, wanted: Handover, found: CertificateFacts, back: str) -> Response:
    with_services = services()
    code = encode_base64url(with_services.random(_CODE_OCTETS))
    with with_services.engine.begin() as connection:
        handovers.leave(
            connection,
            with_services.seals,
            code,
            wanted,
            facts_to_json(found),
            now=with_services.clock.now(),
            life_seconds=believed.settings.handover_seconds,
        )
    allow_form_target(with_services.settings.issuer)
    values: dict[str, Any] = {
        "facts": found,
        "code": code,
        "csrf": browser.form_token(wanted.session_id),
        "enrolling": wanted.purpose == "enrolment",
        "action": back if wanted.purpose == "enrolment" else f"{back}/certificate",
        "back": back,
    }
    return make_response(render_template("certificate_accepted.html", **values))


def _way_back(wanted: Handover) -> str:
    """The page that sent the browser here, at the issuer's own address: no header decides it (SES-10).

    :raises InteractionLost: it is over.
    """
    issuer = services().settings.issuer
    if wanted.purpose == "enrolment":
        return f"{issuer}/account/factors/new/{wanted.target}"
    with reading(services().engine) as connection:
        stored = interactions.find(
            connection, services().seals, wanted.target, wanted.session_id, services().clock.now()
        )
    if stored is None:
        raise InteractionLost("the interaction is over")
    asked = BeginInteraction.from_json(stored.request)
    language.prefer(asked.ui_locales)
    if asked.return_to:
        # The form that leads back may end the interaction, and then at the relying party.
        allow_form_target(asked.return_to)
    return f"{issuer}/interaction/{wanted.target}"
