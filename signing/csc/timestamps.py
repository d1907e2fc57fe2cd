"""``signatures/timestamp`` (CSC API 2.0.0.2 11.13): stamps of the operator's authorities, asked in order."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from connectors.ports.tsa import IMPRINT_OCTETS, HashName
from signing.csc import errors, parameters
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.stamper import TimestampRequest
from signing.settings import WebSettings

_HASH_NAMES: Final[Mapping[str, HashName]] = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def offered(settings: WebSettings) -> bool:
    """Whether there is an authority."""
    return bool(settings.timestamp_authorities)


def timestamp(rssp: Rssp, call: Call) -> Answer:
    """``signatures/timestamp`` (11.13): for whoever has a service token.

    :raises errors.CscError: with the specification's words.
    """
    if call.bearer.kind != "service":
        raise errors.InvalidToken
    rssp.service_token(call.bearer)
    token = rssp.stamper.stamp(parse_timestamp(call.body))
    return Answer({"timestamp": base64.b64encode(token.der).decode()})


def parse_timestamp(body: Mapping[str, Any]) -> TimestampRequest:
    """:raises errors.InvalidRequest: with the specification's description."""
    text = parameters.required_text(body, "hash")
    name = _HASH_NAMES.get(parameters.oid(body, "hashAlgo"))
    if name is None:
        raise errors.invalid("hashAlgo")
    try:
        imprint = parameters.base64_octets(text)
    except ValueError as error:
        raise errors.InvalidRequest(errors.INVALID_BASE64) from error
    if len(imprint) != IMPRINT_OCTETS[name]:
        raise errors.InvalidRequest(errors.INVALID_LENGTH)
    nonce = parameters.optional_text(body, "nonce")
    return TimestampRequest(imprint, name, None if nonce is None else _number(nonce))


def _number(nonce: str) -> int:
    try:
        return int(nonce, 16)
    except ValueError as error:
        raise errors.invalid("nonce") from error
