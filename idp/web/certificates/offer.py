"""What a page needs to send the browser to where certificates are presented, and what comes back from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.facts import CertificateFacts
from idp.storage import handovers
from idp.storage.handovers import Handover
from idp.web import browser
from idp.web.certificates import ticket
from idp.web.certificates.ticket import Purpose
from idp.web.certificates.trust import facts_from_json, trust
from idp.web.headers import allow_form_target
from idp.web.services import services

_MAX_CODE: Final = 128


@dataclass(frozen=True, slots=True)
class Offer:
    """A form that posts to where certificates are presented."""

    action: str
    ticket: str


def offer(purpose: Purpose, target: str) -> Offer | None:
    """The form for this browser's session; None: certificates are not asked for here, or there is no session.

    The page's forms may end there from now on.  Nothing is stored.
    """
    believed, session = trust(), browser.current()
    if believed is None or session is None:
        return None
    allow_form_target(believed.settings.origin)
    return Offer(f"{believed.settings.origin}/certificate", ticket.issue(session.id, purpose, target))


def handed_over(purpose: Purpose, target: str, code: str) -> CertificateFacts:
    """What this very browser presented for this very purpose, once (SES-07).

    :raises CertificateRefused: ``missing``: nothing is under this code, for this session and purpose, any more.
    """
    session, with_services = browser.current(), services()
    found = None
    if session is not None and code:
        wanted = Handover(session.id, purpose, target)
        with with_services.engine.begin() as connection:
            found = handovers.take(
                connection, with_services.seals, code[:_MAX_CODE], wanted, with_services.clock.now()
            )
    if found is None:
        raise CertificateRefused("missing", "no certificate waits under this code")
    return facts_from_json(found)
