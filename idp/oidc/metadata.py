"""What the server publishes about itself: OpenID Connect Discovery 1.0 and RFC 8414, one document for both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from foundation.jose import ALGORITHMS, VerificationKey
from idp.oidc.client import AUTH_METHODS, GRANT_TYPES, IN_BAND_GRANTS, SCOPES
from idp.oidc.rar import TYPES
from idp.oidc.wishes import PROMPTS

CONFIDENTIAL_METHODS = [method for method in AUTH_METHODS if method != "none"]
MUTUAL_TLS_ENDPOINTS: Final = {
    "token_endpoint": "/oauth2/token",
    "userinfo_endpoint": "/oauth2/userinfo",
    "pushed_authorization_request_endpoint": "/oauth2/pushed_authorize",
    "revocation_endpoint": "/oauth2/revoke",
    "introspection_endpoint": "/oauth2/introspect",
}
"""Paths that are served where clients show certificates, too (RFC 8705 5)."""


def discovery(
    issuer: str,
    *,
    keys: Iterable[VerificationKey],
    acr_values: Iterable[str],
    locales: Iterable[str],
    mutual_tls: str | None = None,
) -> dict[str, Any]:
    """The metadata document.

    :param keys: those that sign ID tokens.
    :param acr_values: levels that the policy in force can reach.
    :param mutual_tls: origin where clients show certificates.
    """
    oauth2 = f"{issuer}/oauth2"
    algorithms = list(ALGORITHMS)
    bound: dict[str, Any] = {}
    if mutual_tls is not None:
        aliases = {name: f"{mutual_tls}{path}" for name, path in MUTUAL_TLS_ENDPOINTS.items()}
        bound = {"tls_client_certificate_bound_access_tokens": True, "mtls_endpoint_aliases": aliases}
    return {
        **bound,
        "issuer": issuer,
        "authorization_endpoint": f"{oauth2}/authorize",
        "token_endpoint": f"{oauth2}/token",
        "jwks_uri": f"{oauth2}/jwks",
        "userinfo_endpoint": f"{oauth2}/userinfo",
        "end_session_endpoint": f"{oauth2}/logout",
        "pushed_authorization_request_endpoint": f"{oauth2}/pushed_authorize",
        "backchannel_authentication_endpoint": f"{oauth2}/bc-authorize",
        "backchannel_token_delivery_modes_supported": ["poll"],
        "backchannel_user_code_parameter_supported": False,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "revocation_endpoint": f"{oauth2}/revoke",
        "introspection_endpoint": f"{oauth2}/introspect",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        # What only the signing service may ask for is nobody else's business.
        "grant_types_supported": [name for name in GRANT_TYPES if name not in IN_BAND_GRANTS],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in keys}),
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": CONFIDENTIAL_METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "dpop_signing_alg_values_supported": algorithms,
        "code_challenge_methods_supported": ["S256"],
        "authorization_details_types_supported": list(TYPES),
        "authorization_response_iss_parameter_supported": True,
        "require_pushed_authorization_requests": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "claims_parameter_supported": True,
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash"],
        "prompt_values_supported": list(PROMPTS),
        "acr_values_supported": list(acr_values),
        "ui_locales_supported": list(locales),
    }


def jwks(keys: Iterable[VerificationKey]) -> dict[str, Any]:
    """The public halves of the token keys (RFC 7517 5)."""
    return {"keys": [key.as_jwk() for key in keys]}
