"""To whose key a token is bound: ``cnf`` (RFC 7800 3.1) with exactly one of two thumbprints."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from contract.errors import ConfirmationInvalid

Method = Literal["jkt", "x5t#S256"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

_SHA256: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")
"""Base64url of 32 octets, in its one canonical form."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The key that whoever uses the token has to show."""

    method: Method
    """``jkt``: a DPoP key (RFC 9449 6.1); ``x5t#S256``: a TLS client certificate (RFC 8705 3.1)."""
    thumbprint: str
    """Of a JWK (RFC 7638), or of a certificate's DER octets: SHA-256, in base64url."""

    def to_json(self) -> dict[str, str]:
        """The claim."""
        return {self.method: self.thumbprint}

    def is_of(self, thumbprint: str) -> bool:
        """Whether that is the thumbprint."""
        return hmac.compare_digest(self.thumbprint.encode(), thumbprint.encode("utf-8", "surrogatepass"))


def confirmation_of(value: Mapping[str, Any]) -> Confirmation:
    """Read the claim: with two methods, or one unknown, it would be a condition of which somebody checks a part.

    :raises ConfirmationInvalid: anything but exactly one known member with a thumbprint.
    """
    if len(value) != 1:
        raise ConfirmationInvalid("cnf does not have exactly one member")
    ((method, thumbprint),) = value.items()
    if method not in METHODS:
        raise ConfirmationInvalid("cnf names a method that is not accepted")
    if not isinstance(thumbprint, str) or not _SHA256.match(thumbprint):
        raise ConfirmationInvalid("cnf does not hold a SHA-256 thumbprint in base64url")
    return Confirmation(method, thumbprint)
