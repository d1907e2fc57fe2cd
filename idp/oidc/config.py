"""What the authorization server is told about itself: names and lifetimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from idp.settings import IdpSettings


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """Names and lifetimes (seconds) of one authorization server."""

    issuer: str
    """Issuer identifier: scheme, host, optional port; no path, query or trailing slash (RFC 8414 2)."""
    resource: str
    """The CSC resource: ``aud`` of service tokens, and the default of ``resource``."""
    sad_audience: str
    """Identifier of the signature activation module: ``aud`` of every SAD."""
    code_seconds: int = 60
    pushed_request_seconds: int = 90
    """RFC 9126 2.2: 5 to 600."""
    access_token_seconds: int = 600
    refresh_seconds: int = 12 * 60 * 60
    """Life of a whole refresh family from the sign-in: rotation does not prolong it."""
    sad_seconds: int = 300
    transaction_seconds: int = 900
    """From the issue of a transaction's first SAD until the last one that took its place has expired."""
    extensions: int = 4
    """How often a SAD may be replaced in one transaction; 0: never."""
    id_token_seconds: int = 600
    order_seconds: int = 600
    """Of an order about a credential, and of the token that carries it."""
    profiles: tuple[str, ...] = ("default",)
    """Of the credentials that may be ordered; the first one where nobody says which."""
    device_profiles: frozenset[str] = frozenset()
    """Of these, those whose credentials have a device of their person's from birth."""
    qualifiers: Mapping[str, str] = field(default_factory=dict)
    """``signatureQualifier`` of what each profile makes, where the operator claims one."""

    @classmethod
    def of(cls, settings: IdpSettings) -> OidcConfig:
        """What the settings say."""
        tokens = settings.tokens
        return cls(
            issuer=settings.issuer,
            resource=settings.signing.csc_base,
            sad_audience=settings.signing.sam_id,
            code_seconds=tokens.code_seconds,
            pushed_request_seconds=tokens.par_seconds,
            access_token_seconds=tokens.access_token_seconds,
            refresh_seconds=tokens.refresh_token_seconds,
            sad_seconds=tokens.sad_seconds,
            transaction_seconds=tokens.transaction_seconds,
            extensions=tokens.extensions,
            id_token_seconds=tokens.id_token_seconds,
            order_seconds=settings.signing.order_seconds,
            profiles=settings.signing.profiles,
            device_profiles=frozenset(() if settings.approval is None else settings.approval.profiles),
            qualifiers=settings.signing.qualifiers,
        )

    @property
    def token_endpoint(self) -> str:
        """Also an audience of client assertions (OIDC Core 9)."""
        return f"{self.issuer}/oauth2/token"

    @property
    def pushed_endpoint(self) -> str:
        """What DPoP proofs of pushed requests are for."""
        return f"{self.issuer}/oauth2/pushed_authorize"

    @property
    def backchannel_endpoint(self) -> str:
        """Another audience of client assertions (CIBA Core 1.0, 7.1)."""
        return f"{self.issuer}/oauth2/bc-authorize"

    @property
    def locations(self) -> tuple[str, ...]:
        """What ``locations`` in authorization details may name: the CSC resource, its first version, or its origin."""
        parts = urlsplit(self.resource)
        return (self.resource, f"{self.resource.rpartition('/')[0]}/v1", f"{parts.scheme}://{parts.netloc}")
