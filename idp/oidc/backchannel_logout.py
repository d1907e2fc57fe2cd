"""Telling relying parties that a session has ended (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from foundation.clock import epoch
from foundation.jose import encode_base64url

LOGOUT_TOKEN_TYPE: Final = "logout+jwt"
"""``typ``, explicit (2.4; RFC 8725 3.11): it passes for no ID token, and none passes for it."""
LOGOUT_TOKEN_SECONDS: Final = 120
"""The longest that 2.4 recommends; each attempt at a delivery makes a token of its own."""
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
MAX_URI: Final = 2048

_SID_DOMAIN: Final = b"privyseal-sid-1\0"
_SID_OCTETS: Final = 16
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def sid_of(session_id: str, client_id: str) -> str:
    """A session's identifier for one client (OIDC Front-Channel Logout 1.0, 3): another one for every client.

    From none can be told whether another client's is of the same session, nor the session's own identifier: that is 128
    random bits, and stands in no token.
    """
    digest = hashlib.sha256(_SID_DOMAIN + client_id.encode() + b"\0" + session_id.encode()).digest()
    return encode_base64url(digest[:_SID_OCTETS])


def logout_token_claims(
    *, issuer: str, client_id: str, subject: str, session_id: str, jti: str, now: datetime
) -> dict[str, Any]:
    """The claims of a Logout Token (2.4): with ``sub`` and ``sid`` of the client's ID tokens, and never a ``nonce``."""
    iat = epoch(now)
    return {
        "iss": issuer,
        "aud": client_id,
        "iat": iat,
        "exp": iat + LOGOUT_TOKEN_SECONDS,
        "jti": jti,
        "sub": subject,
        "sid": sid_of(session_id, client_id),
        "events": {LOGOUT_EVENT: {}},
    }


def is_plain(uri: str) -> bool:
    """Whether a URI is without TLS: for development."""
    # A scheme is written in either case (RFC 3986 3.1): HTTP: is http:.
    return uri.partition(":")[0].lower() == "http"


def uri_faults(uri: str | None, *, session_required: bool, scopes: Iterable[str]) -> Iterable[str]:
    """What is wrong with the ``backchannel_logout_uri`` that a client registers (2.2), one sentence each."""
    if uri is None:
        if session_required:
            yield "backchannel_logout_session_required: goes with backchannel_logout_uri"
        return
    if not _is_logout_uri(uri):
        yield (
            "backchannel_logout_uri: an absolute https URI without fragment and without user information "
            "(http only on the machine itself, for development)"
        )
    if "openid" not in set(scopes):
        yield "backchannel_logout_uri: needs the scope openid, with which a client is given ID tokens"


def _is_logout_uri(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return False
    host = (parts.hostname or "").lower()
    return (
        all("!" <= character <= "~" for character in uri)
        and port_is_valid
        and bool(host)
        and "@" not in parts.netloc
        and "#" not in uri
        and "\\" not in uri
        and len(uri) <= MAX_URI
        and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))
    )


def _is_loopback(host: str) -> bool:
    return host in _LOOPBACK or host.endswith(".localhost")
