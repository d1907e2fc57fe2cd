"""Challenges: derived from a key outside the database and everything that the answer will be for.

As with one-time codes (:mod:`idp.authn.otp`), nothing is stored while a challenge is out: a page that is looked at
writes no row, however often (DOS-04).  The challenge is 32 octets of HMAC-SHA-256, so the browser's session, the
purpose, the interaction or enrolment and the transaction's content are in what the authenticator signs: an answer for
one of them is wrong for every other.  What makes it good once is the row of its use (:mod:`idp.storage.passkeys`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from foundation.clock import epoch, from_epoch
from foundation.jose import encode_base64url
from idp.errors import PasskeyRefused

LIFETIME: Final = timedelta(minutes=5)
"""WebAuthn 15.1 recommends five to ten minutes."""
NONCE_OCTETS: Final = 32
"""WebAuthn 13.4.3 asks for 16 at least."""

Purpose = Literal["register", "prove", "sign_in"]
_TICKET: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What an answer is asked for."""

    purpose: Purpose
    session_id: str
    """The browser's session, anonymous or not."""
    subject: str
    """The interaction or the enrolment."""
    content: str = ""
    """The hash of what the transaction is about; empty where there is nothing to bind to."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What goes through the browser beside the challenge; of no use to whoever has no key."""

    nonce: str
    """32 random octets in base64url."""
    expires_at: datetime

    def __str__(self) -> str:
        return f"{self.nonce}.{epoch(self.expires_at)}"


def issue(random: bytes, now: datetime) -> Ticket:
    """A ticket for an answer that may come until five minutes from now.

    :param random: 32 octets.
    """
    return Ticket(encode_base64url(random), from_epoch(epoch(now + LIFETIME)))


def read(text: str, now: datetime) -> Ticket:
    """The ticket that a form brought back.  One that we never gave out stands for a challenge that nobody has seen.

    :raises PasskeyRefused: it is none, or is over; its expiry is the first second refused.
    """
    found = _TICKET.match(text[:64])
    if found is None:
        raise PasskeyRefused("malformed", "the form carries no ticket")
    expires_at = int(found[2])
    if expires_at <= epoch(now):
        raise PasskeyRefused("expired", "the challenge is over")
    return Ticket(found[1], from_epoch(expires_at))


def derive(key: bytes, ticket: Ticket, occasion: Occasion) -> bytes:
    """The challenge: 32 octets.

    :param key: 32 octets, for this purpose only.
    """
    message = json.dumps(
        [
            "passkey",
            str(ticket),
            occasion.purpose,
            occasion.session_id,
            occasion.subject,
            occasion.content,
        ]
    ).encode()
    return hmac.new(key, message, hashlib.sha256).digest()


def user_handle(key: bytes, account_id: str) -> bytes:
    """What an authenticator keeps as the person's identifier: 32 octets that name nobody (WebAuthn 14.6.1).

    The same for all passkeys of an account, so that one that is made anew takes the place of the former one.
    """
    return hmac.new(key, json.dumps(["user handle", account_id]).encode(), hashlib.sha256).digest()
