"""Browsers in which somebody has signed in before, and how many wrong passwords come from where.

Whoever knows a user name can type wrong passwords, so the limits on them must not be a way to keep a person out
(OTP-12).  A browser that was let in gets a cookie that opens nothing: it says that wrong passwords from here are
counted apart.  Strangers' failures close a password to strangers, and to no browser that carries the cookie.

The cookie is a random identifier, an end and an HMAC over both and the password that it was got with.  It names
nobody, and it is worth nothing for another account or after the password was replaced.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from foundation.clock import epoch
from foundation.jose import encode_base64url
from foundation.json_text import encoder
from idp.authn.password import back_off_seconds

LIFETIME: Final = timedelta(days=180)
_JSON: Final = encoder()
MAX_STRANGERS_FAILURES: Final = 50
"""In a row; then only browsers in which the password was right before may try it.  Half of what NIST SP 800-63B r4
3.2.2 allows, so that strangers alone never come to the number that disables the password."""
MAX_BROWSERS_FAILURES: Final = 10
"""In all, of one cookie; then its browser is a stranger's."""

_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class BrowserStanding:
    """A browser that has the cookie."""

    device_id: str
    failures: int
    blocked_until: datetime


def make_cookie(key: bytes, device_id: str, authenticator_id: str, now: datetime) -> str:
    """The cookie of a browser in which a password was right.

    :param key: 32 octets, for this purpose only.
    :param device_id: 128 random bits in base64url.
    """
    until = epoch(now + LIFETIME)
    return f"{device_id}.{until}.{_mac(key, device_id, until, authenticator_id)}"


def read_cookie(key: bytes, value: str, authenticator_id: str, now: datetime) -> str | None:
    """The browser's identifier, if the cookie was made for this password and has not expired."""
    found = _COOKIE.match(value)
    device_id, until, mac = found.groups() if found else ("", "0", "")
    # Computed for whatever came: the time must not tell whether there is such an account (OTP-11).
    right = hmac.compare_digest(_mac(key, device_id, int(until), authenticator_id), mac)
    return device_id if right and int(until) > epoch(now) else None


def named_in(value: str) -> str:
    """The identifier that a cookie names, whoever made it: to look for, and to believe only once it was read."""
    found = _COOKIE.match(value)
    return found.group(1) if found else ""


def may_try(failures: int, blocked_until: datetime, browser: BrowserStanding | None, now: datetime) -> bool:
    """Whether a password may be tried now.

    :param failures: :param blocked_until: the password's.
    :param browser: None: a browser without a cookie for this password.
    """
    if browser is not None and is_known(browser):
        return browser.blocked_until <= now
    return failures < MAX_STRANGERS_FAILURES and blocked_until <= now


def is_known(browser: BrowserStanding) -> bool:
    """Whether its failures are still counted apart."""
    return browser.failures < MAX_BROWSERS_FAILURES


def after_failure(browser: BrowserStanding, now: datetime) -> BrowserStanding:
    """The browser with one failure more."""
    failures = browser.failures + 1
    return BrowserStanding(browser.device_id, failures, now + timedelta(seconds=back_off_seconds(failures)))


def _mac(key: bytes, device_id: str, until: int, authenticator_id: str) -> str:
    message = _JSON(["device", device_id, until, authenticator_id]).encode()
    return encode_base64url(hmac.new(key, message, hashlib.sha256).digest())
