"""Tickets: what a page of a session gives along when it sends the browser to present a certificate.

A ticket says for which session and purpose, until when, under an HMAC of this server; nothing is stored, since a GET
makes it.  Whoever has one can leave a certificate for that session, and cannot use it there: for that, the answer has
to come back to the session's own browser.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Final, Literal

from foundation.clock import epoch
from foundation.errors import JoseError
from foundation.jose import decode_base64url, encode_base64url
from idp.errors import InteractionLost
from idp.storage.handovers import Handover
from idp.web.services import services

Purpose = Literal["interaction", "enrolment"]
_LIFE_SECONDS: Final = 15 * 60
_MAX_LENGTH: Final = 1024
_DOMAIN: Final = b"privyseal-certificate-ticket-1\n"


def issue(session_id: str, purpose: Purpose, target: str) -> str:
    """A ticket: JSON and its HMAC-SHA-256, base64url, with a dot between."""
    body = json.dumps([session_id, purpose, target, epoch(services().clock.now()) + _LIFE_SECONDS]).encode()
    return f"{encode_base64url(body)}.{encode_base64url(_tag(body))}"


def read(text: str) -> Handover:
    """For whom and what a ticket is.

    :raises InteractionLost: it is not ours, or has expired.
    """
    body, _, tag = text.partition(".")
    try:
        if len(text) > _MAX_LENGTH:
            raise ValueError("too long")
        octets = decode_base64url(body.encode())
        if not hmac.compare_digest(_tag(octets), decode_base64url(tag.encode())):
            raise ValueError("not ours")
        session_id, purpose, target, expires = json.loads(octets)
    except (ValueError, JoseError) as error:
        raise InteractionLost("the ticket is not one of ours") from error
    if epoch(services().clock.now()) >= expires:
        raise InteractionLost("the ticket has expired")
    return Handover(session_id, purpose, target)


def _tag(body: bytes) -> bytes:
    return hmac.new(services().keys.secret("certificate tickets"), _DOMAIN + body, hashlib.sha256).digest()
