"""One-time codes sent to a phone or a mail address: how a code is derived, and when one may be sent or tried.

Nothing of a code is stored.  It is derived from a key outside the database and everything that it is for: the
challenge, the authenticator, the browser's session, the transaction and the digests that it is about.  So a message
that is sent again carries the same code, a code for one transaction is wrong in every other (OTP-05), and a
thief of the database has nothing to try codes against (OTP-06).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from idp.errors import OtpCoolDown, OtpLocked
from idp.settings import OtpSettings

DIGITS: Final = 6
"""About 20 bits, the least that NIST SP 800-63B 5.1.3.2 allows."""

DAY: Final = timedelta(hours=24)
HOUR: Final = timedelta(hours=1)
_CODE: Final = re.compile(r"[0-9]{6}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Binding:
    """Everything that a code is for."""

    challenge_id: str
    authenticator_id: str
    session_id: str
    txn: str
    intent_sha256: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What happened to an authenticator so far."""

    disabled: bool
    not_before: datetime
    """A changed address counts only from then on (OTP-08)."""
    wrong_ever: int
    """Consecutive wrong codes since the last right one."""
    wrong_today: int
    """Those of the last 24 hours."""
    messages_this_hour: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A challenge that is live."""

    sends: int
    sent_at: datetime
    expires_at: datetime


def derive_code(key: bytes, binding: Binding) -> str:
    """The code of a challenge: six decimal digits.

    256 bits reduced modulo a million: the bias is below 2\\ :sup:`-230`.
    """
    message = json.dumps(
        [
            "otp",
            binding.challenge_id,
            binding.authenticator_id,
            binding.session_id,
            binding.txn,
            binding.intent_sha256,
        ]
    ).encode()
    value = int.from_bytes(hmac.new(key, message, hashlib.sha256).digest(), "big")
    return f"{value % 10**DIGITS:0{DIGITS}d}"


def matches(key: bytes, binding: Binding, typed: str) -> bool:
    """Whether what was typed is the code; blanks between digits are forgiven, and nothing else."""
    code = "".join(typed.split())
    if not _CODE.match(code):
        return False
    return hmac.compare_digest(derive_code(key, binding), code)


def check_usable(standing: Standing, now: datetime, limits: OtpSettings) -> None:
    """The authenticator may be used at all.

    :raises OtpLocked: disabled, too new, or too many wrong codes today or ever (OTP-02).
    """
    if standing.disabled or standing.wrong_ever >= limits.max_wrong_ever:
        raise OtpLocked("the authenticator is disabled")
    if now < standing.not_before:
        raise OtpLocked("the address was changed a short while ago")
    # Counted in wrong codes, so that leaving each challenge one try before its end gains nothing.
    if standing.wrong_today >= limits.max_failed_challenges_a_day * limits.max_wrong:
        raise OtpLocked("too many wrong codes today")


def check_may_send(standing: Standing, live: Sent | None, now: datetime, limits: OtpSettings) -> None:
    """A message may go out now.

    :param live: the live challenge of the same transaction, whose code would be sent again.
    :raises OtpLocked: see :func:`check_usable`.
    :raises OtpCoolDown: too soon after the last message, or too many of them.
    """
    check_usable(standing, now, limits)
    if standing.messages_this_hour >= limits.max_messages_an_hour:
        raise OtpCoolDown(int(HOUR.total_seconds()))
    if live is None:
        return
    if live.sends >= limits.max_sends:
        raise OtpCoolDown(_seconds(live.expires_at - now))
    ready = live.sent_at + timedelta(seconds=limits.cool_down_seconds)
    if now < ready:
        raise OtpCoolDown(_seconds(ready - now))


def seconds_until_resend(live: Sent, now: datetime, limits: OtpSettings) -> int:
    """Seconds until the code may be sent again; 0: now."""
    ready = live.sent_at + timedelta(seconds=limits.cool_down_seconds)
    if live.sends >= limits.max_sends:
        ready = live.expires_at
    return max(0, _seconds(ready - now))


def _seconds(span: timedelta) -> int:
    return max(1, -int(-span.total_seconds() // 1)) if span > timedelta() else 0


def mask(factor: str, address: str) -> str:
    """Enough of an address to recognise one's own, too little to learn it."""
    if factor == "sms_otp":
        return f"{address[:3]}{'•' * max(0, len(address) - 5)}{address[-2:]}"
    local, _, domain = address.partition("@")
    return f"{local[:1]}{'•' * max(2, len(local) - 1)}@{domain}"
