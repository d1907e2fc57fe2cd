"""The host on which devices approve, and how browsers get there and back."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from flask import abort, redirect, request
from werkzeug.wrappers import Response

from contract.assertion import ProofOrigin
from foundation.jose import encode_base64url
from idp.approval_settings import DeviceApprovalSettings
from idp.authn.passkey.options import RelyingParty
from idp.errors import InteractionLost
from idp.storage import device_visits
from idp.storage.device_visits import StoredVisit, Visit
from idp.storage.engine import reading
from idp.web.headers import allow_form_target
from idp.web.services import services

PAGES: Final = frozenset({"approval.arrive", "approval.show", "approval.answer", "sheets.large", "sheets.file"})
_SHARED: Final = PAGES | {"static"}
"""What is served on the host where devices approve."""
_SECRET_OCTETS: Final = 32
_MAX_SECRET: Final = 128


def settings() -> DeviceApprovalSettings:
    """Where devices approve.

    :raises InteractionLost: nowhere.
    """
    found = services().settings.approval
    if found is None:
        raise InteractionLost("no device approves here")
    return found


def apart() -> None:
    """Before every request: each host serves its own pages only."""
    found = services().settings.approval
    here = found is not None and request.host == urlsplit(found.origin).netloc
    if here and request.endpoint not in _SHARED:
        abort(404)
    if not here and request.endpoint in PAGES:
        abort(404)


def party() -> RelyingParty:
    """Who those pages are to authenticators."""
    return RelyingParty(settings().party_id, settings().origin, services().settings.service_name)


def origin() -> ProofOrigin:
    """Where proofs are made."""
    return ProofOrigin(settings().party_id, settings().origin)


def send(visit: Visit) -> Response:
    """Send the browser there.  The handle is in the part of the address that no server and no other page sees."""
    handle, with_services = encode_base64url(services().random(_SECRET_OCTETS)), services()
    with with_services.engine.begin() as connection:
        device_visits.begin(
            connection,
            with_services.seals,
            handle,
            visit,
            with_services.clock.now(),
            seconds=settings().seconds,
        )
    allow_form_target(settings().origin)
    return redirect(f"{settings().origin}/approve#{handle}", 303)


def visited() -> StoredVisit:
    """The visit that this request's form is for.

    :raises InteractionLost: there is none, it has had its answer, or its time is over.
    """
    handle, with_services = request.form.get("handle", ""), services()
    found = None
    if 0 < len(handle) <= _MAX_SECRET:
        with reading(with_services.engine) as connection:
            found = device_visits.find(connection, with_services.seals, handle, with_services.clock.now())
    if found is None:
        raise InteractionLost("no such visit is open")
    return found


def new_code() -> str:
    """By which the answer is found again, by the browser that gave it."""
    return encode_base64url(services().random(_SECRET_OCTETS))


def back_to(path: str, code: str) -> Response:
    """Send the browser back to a page of the issuer's, with the code where no server sees it."""
    return redirect(f"{services().settings.issuer}{path}#{code}", 303)


def taken(session_id: str, purpose: device_visits.Purpose, target: str) -> StoredVisit:
    """What this very browser's device answered, once.

    :raises InteractionLost: nothing is under the form's code, for this session and purpose, any more.
    """
    code, with_services = request.form.get("approved", ""), services()
    found = None
    if 0 < len(code) <= _MAX_SECRET:
        with with_services.engine.begin() as connection:
            found = device_visits.take(
                connection,
                with_services.seals,
                code,
                session_id=session_id,
                purpose=purpose,
                target=target,
                now=with_services.clock.now(),
            )
    if found is None:
        raise InteractionLost("no answer of a device waits under this code")
    return found
