"""Which tokens a request carries.

Over CSC a request may carry a service token as bearer with the SAD in the body, a SAD as bearer alone, or a SAD as
bearer with the identical SAD in the body.  Two different SADs are refused: a service that checks the one and spends the
other has been fooled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from contract.sad import SAD_TYPE
from foundation.errors import TokenMalformed
from foundation.jose import decode_base64url, parse_json_object
from signing.csc import errors
from signing.csc.binding import Shown

_BEARER: Final = re.compile(r"(?i:(bearer|dpop)) ([A-Za-z0-9._~+/=-]+)\Z")
_NOTHING: Final = Shown()
_MAX_OCTETS: Final = 24 * 1024
_MAX_REMEMBERED: Final = 512
"""Characters of a token's header; ours have some 110."""
Kind = Literal["service", "sad"]


@dataclass(frozen=True, slots=True)
class Bearer:
    """The token of the ``Authorization`` header, not yet verified."""

    kind: Kind
    token: str = field(repr=False)
    scheme: str = "bearer"
    """Or ``dpop``: in small letters."""
    shown: Shown = field(default_factory=Shown)


def parse_authorization(header: str | None, shown: Shown = _NOTHING) -> Bearer:
    """Read an ``Authorization`` header (RFC 6750 2.1, RFC 9449 7.1); what kind a token is, its own ``typ`` says.

    The kind only chooses who verifies: a token that lies about it fails there.

    :raises errors.MissingToken: no header.
    :raises errors.InvalidRequest: another scheme or form.
    :raises errors.InvalidToken: not a JWS with a type.
    """
    if header is None:
        raise errors.MissingToken
    match = _BEARER.match(header)
    if match is None or len(header) > _MAX_OCTETS:
        raise errors.InvalidRequest(errors.MALFORMED_HEADER)
    scheme, token = match.groups()
    head = token.partition(".")[0]
    try:
        kind = _kind(head) if len(head) <= _MAX_REMEMBERED else _kind.__wrapped__(head)
    except TokenMalformed as error:
        raise errors.InvalidToken from error
    return Bearer(kind, token, scheme.lower(), shown)


@lru_cache(maxsize=256)
def _kind(head: str) -> Kind:
    """What the first segment of a token says; nearly all of a key's tokens have the same one.

    Remembered by itself: it says nothing of who signed, nor of what.
    """
    typ = parse_json_object(decode_base64url(head.encode())).get("typ")
    if not isinstance(typ, str):
        raise TokenMalformed("a token without a type")
    return "sad" if typ.lower().removeprefix("application/") == SAD_TYPE else "service"


def sad_of(bearer: Bearer, sad_parameter: str | None) -> str:
    """The one SAD of a request.

    :raises errors.InvalidRequest: none, or two different ones.
    """
    if bearer.kind == "service":
        if sad_parameter is None:
            raise errors.missing_string("SAD")
        return sad_parameter
    if sad_parameter is not None and sad_parameter != bearer.token:
        raise errors.invalid("SAD")
    return bearer.token
