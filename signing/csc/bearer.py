"""Which tokens a request carries.

Over CSC a request may carry a service token as bearer with the SAD in the body, a SAD as bearer alone, or a SAD as
bearer with the identical SAD in the body.  Two different SADs are refused: a service that checks the one and spends the
other has been fooled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from contract.sad import SAD_TYPE
from foundation.errors import TokenMalformed
from foundation.jose import decode_base64url, parse_json_object
from signing.csc import errors
from signing.csc.binding import Shown

_BEARER: Final = re.compile(r"(?i:(bearer|dpop)) ([A-Za-z0-9._~+/=-]+)\Z")
_NOTHING: Final = Shown()
_MAX_OCTETS: Final = 24 * 1024


@dataclass(frozen=True, slots=True)
class Bearer:
    """The token of the ``Authorization`` header, not yet verified."""

    kind: Literal["service", "sad"]
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
    try:
        typ = parse_json_object(decode_base64url(token.partition(".")[0].encode())).get("typ")
    except TokenMalformed as error:
        raise errors.InvalidToken from error
    if not isinstance(typ, str):
        raise errors.InvalidToken
    kind: Literal["service", "sad"] = "service"
    if typ.lower().removeprefix("application/") == SAD_TYPE:
        kind = "sad"
    return Bearer(kind, token, scheme.lower(), shown)


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
