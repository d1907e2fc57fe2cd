"""Service tokens: RFC 9068 access tokens whose audience is this API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from contract.confirmation import Confirmation, confirmation_of
from contract.errors import ConfirmationInvalid
from foundation import claims as read
from foundation.errors import JoseError, TokenExpired
from signing.csc import errors
from signing.csc.authentication import Authentication, authentication_of

ACCESS_TOKEN_TYPE: Final = "at+jwt"
SERVICE_SCOPE: Final = "service"
_LEEWAY_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """What a verified service token says."""

    subject: str
    client_id: str
    scopes: frozenset[str]
    jti: str
    authentication: Authentication = field(default_factory=Authentication)
    cnf: Confirmation | None = None
    """The key that whoever uses it has to show."""
    actor: str | None = None
    """Who acts for the subject, where somebody does (RFC 8693 4.1)."""
    order: str | None = field(default=None, repr=False)
    """The order for the activation module that it carries."""
    qualifier: str | None = None
    """The ``signatureQualifier`` that the identity provider claims for what is ordered."""

    @property
    def user_specific(self) -> bool:
        """Whether it speaks for a person; a client's own token has the client as its subject (RFC 9068 2.2)."""
        return self.subject != self.client_id


def service_token_of(
    claims: Mapping[str, Any], *, issuer: str, resource: str, now: datetime, scope: str = SERVICE_SCOPE
) -> ServiceToken:
    """Judge the claims of a token whose signature has been verified (RFC 9068 4).

    :raises errors.InvalidToken: another issuer or audience, not that scope, or a claim missing or malformed.
    :raises errors.ExpiredToken: ``exp`` has been reached.
    """
    try:
        # 1. Who made it, and for whom.  One audience only: a token for several services could be replayed among them.
        if read.text(claims, "iss") != issuer or _audience(claims) != resource:
            raise errors.InvalidToken
        # 2. When.
        read.check_not_expired(read.numeric_date(claims, "exp"), now)
        read.check_issued(read.numeric_date(claims, "iat"), now, leeway_seconds=_LEEWAY_SECONDS)
        # 3. What for.
        scopes = frozenset(read.text(claims, "scope").split())
        if scope not in scopes:
            raise errors.InvalidToken
        return ServiceToken(
            subject=read.text(claims, "sub", max_length=255),
            client_id=read.text(claims, "client_id", max_length=255),
            scopes=scopes,
            jti=read.text(claims, "jti", max_length=128),
            authentication=authentication_of(claims),
            cnf=confirmation_of(read.mapping(claims, "cnf")) if "cnf" in claims else None,
            actor=read.text(read.mapping(claims, "act"), "sub") if "act" in claims else None,
            order=read.text(claims, "order") if "order" in claims else None,
            qualifier=read.text(claims, "signature_qualifier") if "signature_qualifier" in claims else None,
        )
    except TokenExpired as error:
        raise errors.ExpiredToken from error
    except (JoseError, ConfirmationInvalid) as error:
        raise errors.InvalidToken from error


def _audience(claims: Mapping[str, Any]) -> object:
    audience = claims.get("aud")
    return audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
