"""Giving a document to the identity provider, which shows its pages to the person before they approve.

The request says where the document is (`documentLocations`). Whoever comes for it shows a token that the provider
signed, about this very document; nobody else gets it, wherever they have the address from.
"""

from __future__ import annotations

import hmac

import requests
from joserfc import jwt
from joserfc.errors import JoseError

from examples.errors import ResponseForgedError
from examples.oauth_client import CLOCK_SKEW, ID_TOKEN_ALGORITHMS, Client, ServerMetadata, signing_keys

FETCH_TOKEN_TYPE = "document-fetch+jwt"


def location(address: str) -> dict[str, object]:
    """A member of `documentLocations`: the provider is to come with a token of its own.

    :param address: below a folder that is registered for the client.
    """
    return {"uri": address, "method": {"type": "OAuth_20"}}


def check_fetch(
    http: requests.Session, metadata: ServerMetadata, client: Client, authorization: str, digest: bytes
) -> None:
    """Whether it is the provider who comes, for this document, now.

    1. A bearer token, signed by a key of the provider's JWKS.
    2. Of the type that is made for this: an id_token or an access token opens nothing.
    3. `iss`, `aud`, `exp`: by the provider, for us, not over.
    4. About this document.

    :param authorization: the header of the request.
    :param digest: of the document that is asked for.
    :raises ResponseForgedError: any of it is missing or wrong.
    """
    scheme, _, token = authorization.partition(" ")
    try:
        # 1.
        if scheme.lower() != "bearer":
            raise ValueError
        found = jwt.decode(token, signing_keys(http, metadata), algorithms=list(ID_TOKEN_ALGORITHMS))
        # 2.
        if found.header.get("typ") != FETCH_TOKEN_TYPE:
            raise ValueError
        # 3.
        jwt.JWTClaimsRegistry(
            leeway=CLOCK_SKEW,
            iss={"essential": True, "value": metadata.issuer},
            aud={"essential": True, "value": client.client_id},
            exp={"essential": True},
        ).validate(found.claims)
        # 4.
        if not hmac.compare_digest(str(found.claims.get("digest")).encode(), digest.hex().encode()):
            raise ValueError
    except (JoseError, ValueError, KeyError, TypeError) as e:
        message = "Whoever asks for the document is not the identity provider."
        raise ResponseForgedError(message) from e
