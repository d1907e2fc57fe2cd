"""The relying party's half of OpenID Connect and OAuth 2.0, on Authlib's client and joserfc.

Two flows, both authorization code with PKCE S256 (RFC 7636):

- *sign in*: scopes `openid service`; gives an id_token and an access token for the signing service;
- *sign*: a pushed request (RFC 9126) whose `authorization_details` (RFC 9396) name the credential and the digests
  (CSC API v2.0.0.2 section 8.4.2); the access token that comes back is the signature activation data (SAD).

`begin_*` return a `Pending` to keep in the person's session and the URL to send the browser to; `finish` takes both
back with the parameters of the redirect, checks them, and exchanges the code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from examples.errors import (
    AuthorizationRefusedError,
    ProtocolError,
    ResponseForgedError,
    StepUpRequiredError,
    UnreachableError,
    UsageError,
)
from examples.http_local import prepare_session

SIGN_IN_SCOPE = "openid service"
SIGNING_SCOPE = "credential"
DOCUMENT_TYPE = "https://cloudsignatureconsortium.org/2025/credential"
"""Type of `authorization_details` in CSC API 2.2."""
ID_TOKEN_ALGORITHMS = ("ES256",)
CLOCK_SKEW = 30
"""Seconds by which the issuer's clock may differ from ours."""


@dataclass(frozen=True, slots=True)
class Client:
    """What was registered for this relying party."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """The part of RFC 8414 metadata that is used here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    pushed_authorization_request_endpoint: str
    jwks_uri: str
    revocation_endpoint: str | None
    end_session_endpoint: str | None


@dataclass(frozen=True, slots=True)
class Pending:
    """A request on its way: what the answer will be compared with. Keep it in the server-side session."""

    scope: str
    state: str = field(repr=False)
    code_verifier: str = field(repr=False)
    nonce: str | None = field(default=None, repr=False)
    """Only for `openid`."""
    authorization_details: str | None = None
    """The JSON that was pushed; only for signing."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token response, checked."""

    access_token: str = field(repr=False)
    """For scope `credential` this is the SAD."""
    expires_in: int | None
    refresh_token: str | None = field(default=None, repr=False)
    id_token: str | None = field(default=None, repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict)
    """Claims of the id_token, verified."""
    credential_id: str | None = None


def read_secret(path: Path) -> str:
    """One line from a file that only its owner can read.

    :raises UsageError: not readable, empty, or readable by others too.
    """
    try:
        mode = path.stat().st_mode
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        message = f"{path} cannot be read"
        raise UsageError(message) from e
    if mode & 0o077:
        message = f"{path} must be readable by its owner only (chmod 600)"
        raise UsageError(message)
    if not secret:
        message = f"{path} is empty"
        raise UsageError(message)
    return secret


def discover(http: requests.Session, issuer: str) -> ServerMetadata:
    """Fetch and check the provider's metadata (OpenID Connect Discovery section 4, RFC 8414 section 3.3).

    :raises UnreachableError: no answer.
    :raises ProtocolError: an answer without what we need.
    :raises ResponseForgedError: metadata of another issuer.
    """
    document = _json(_get(http, issuer.rstrip("/") + "/.well-known/openid-configuration"))
    # The issuer must be identical to the one asked, character by character; otherwise a mix-up is possible.
    if document.get("issuer") != issuer:
        message = "The provider's metadata name another issuer."
        raise ResponseForgedError(message)
    if "S256" not in document.get("code_challenge_methods_supported", []):
        message = "The provider does not announce PKCE with S256."
        raise ProtocolError(message)
    return ServerMetadata(
        issuer=issuer,
        authorization_endpoint=_required(document, "authorization_endpoint"),
        token_endpoint=_required(document, "token_endpoint"),
        pushed_authorization_request_endpoint=_required(document, "pushed_authorization_request_endpoint"),
        jwks_uri=_required(document, "jwks_uri"),
        revocation_endpoint=document.get("revocation_endpoint"),
        end_session_endpoint=document.get("end_session_endpoint"),
    )


def begin_sign_in(
    metadata: ServerMetadata,
    client: Client,
    *,
    scope: str = SIGN_IN_SCOPE,
    prompt: str | None = None,
    step_up: StepUpRequiredError | None = None,
) -> tuple[Pending, str]:
    """The URL that sends a person to sign in.

    :param step_up: the challenge that the new token shall meet (RFC 9470 section 4).
    """
    pending = Pending(
        scope=scope,
        state=secrets.token_urlsafe(32),
        code_verifier=secrets.token_urlsafe(48),
        nonce=secrets.token_urlsafe(32),
    )
    extra = {"prompt": prompt} if prompt else {}
    extra |= _authentication(step_up)
    with _authlib(client, scope) as session:
        url, _ = session.create_authorization_url(
            metadata.authorization_endpoint,
            state=pending.state,
            code_verifier=pending.code_verifier,
            nonce=pending.nonce,
            **extra,
        )
    return pending, url


def credential_details(
    credential_id: str, documents: Sequence[tuple[str, str]], hash_algorithm_oid: str, csc: str
) -> list[dict[str, object]]:
    """`authorization_details` for a signature (CSC API v2.0.0.2 section 8.4.2, type "credential").

    :param documents: (digest in base64, name to show to the signer), one for each signature.
    :param csc: base URL of the signing service at which the token shall be used.
    """
    return [
        {
            "type": "credential",
            "credentialID": credential_id,
            "documentDigests": [{"hash": digest, "label": label} for digest, label in documents],
            "hashAlgorithmOID": hash_algorithm_oid,
            "locations": [csc],
        }
    ]


def document_details(
    credential_id: str,
    documents: Sequence[tuple[str, str]],
    hash_algorithm_oid: str,
    csc: str,
    locations: Sequence[Mapping[str, object]] = (),
) -> list[dict[str, object]]:
    """The same for documents that are handed over: the digests are their own (CSC API 2.2, `hashType` `sdr`).

    :param locations: where the provider finds the documents, to show them; one for each, or none.
    """
    (details,) = credential_details(credential_id, documents, hash_algorithm_oid, csc)
    digests = [{"hash": digest, "hashType": "sdr", "label": label} for digest, label in documents]
    shown = {"documentLocations": list(locations)} if locations else {}
    return [{**details, "type": DOCUMENT_TYPE, "documentDigests": digests, **shown}]


def begin_signing(
    metadata: ServerMetadata,
    client: Client,
    details: Sequence[Mapping[str, object]],
    *,
    step_up: StepUpRequiredError | None = None,
) -> tuple[Pending, str]:
    """Push the request; the URL for the browser then carries nothing but its reference (RFC 9126 section 4).

    :param step_up: the challenge that the approval shall meet (RFC 9470 section 4).
    :raises AuthorizationRefusedError: the server refused the request before any person saw it.
    """
    pending = Pending(
        scope=SIGNING_SCOPE,
        state=secrets.token_urlsafe(32),
        code_verifier=secrets.token_urlsafe(48),
        authorization_details=json.dumps(details, ensure_ascii=False, separators=(",", ":")),
    )
    asked = {"authorization_details": pending.authorization_details or "", **_authentication(step_up)}
    return pending, _push(metadata, client, pending, asked)


def begin_order(
    metadata: ServerMetadata, client: Client, scope: str, credential_id: str | None = None
) -> tuple[Pending, str]:
    """Push a request for a new credential, or for the end of one (CSC API 2.2); the URL for the browser.

    :param scope: `credential-creation` or `credential-deletion`.
    :raises AuthorizationRefusedError: the server refused the request before any person saw it.
    """
    pending = Pending(scope=scope, state=secrets.token_urlsafe(32), code_verifier=secrets.token_urlsafe(48))
    return pending, _push(metadata, client, pending, {} if credential_id is None else {"credentialID": credential_id})


def _push(metadata: ServerMetadata, client: Client, pending: Pending, asked: Mapping[str, str]) -> str:
    """Push a request (RFC 9126); the URL for the browser."""
    form = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "scope": pending.scope,
        "state": pending.state,
        "code_challenge": _s256(pending.code_verifier),
        "code_challenge_method": "S256",
        **asked,
    }
    with _authlib(client, pending.scope) as session:
        try:
            response = session.post(
                metadata.pushed_authorization_request_endpoint,
                data=form,
                auth=(client.client_id, client.client_secret),
                allow_redirects=False,
            )
        except requests.RequestException as e:
            raise _unreachable(metadata.pushed_authorization_request_endpoint) from e
    pushed = _json(response)
    if response.status_code != requests.codes.created:
        raise AuthorizationRefusedError(
            str(pushed.get("error", f"HTTP {response.status_code}")), str(pushed.get("error_description", ""))
        )
    query = urlencode({"client_id": client.client_id, "request_uri": _required(pushed, "request_uri")})
    return f"{metadata.authorization_endpoint}?{query}"


def _authentication(step_up: StepUpRequiredError | None) -> dict[str, str]:
    if step_up is None:
        return {}
    asked = {"acr_values": " ".join(step_up.acr_values)} if step_up.acr_values else {}
    return asked if step_up.max_age is None else {**asked, "max_age": str(step_up.max_age)}


def response_parameters(url: str) -> dict[str, str]:
    """The query of a redirect back to us.

    :raises ResponseForgedError: a parameter twice (RFC 6749 section 3.1 forbids it).
    """
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        message = "The answer repeats a parameter."
        raise ResponseForgedError(message)
    return dict(pairs)


def check_response(metadata: ServerMetadata, pending: Pending, parameters: Mapping[str, str]) -> str:
    """The authorization code, if the answer is to our request and from our provider.

    1. `state` is the one of this person's session (RFC 6749 section 10.12).
    2. `iss` is present and is our issuer (RFC 9207 section 2.4; we require it, since discovery promises it).
    3. Only then is an error believed.
    4. There is a code.

    :raises ResponseForgedError: steps 1 and 2.
    :raises AuthorizationRefusedError: step 3.
    :raises ProtocolError: step 4.
    """
    # 1.
    if not hmac.compare_digest(parameters.get("state", "").encode(), pending.state.encode()):
        message = "This answer does not belong to a request from this browser."
        raise ResponseForgedError(message)
    # 2.
    if parameters.get("iss") != metadata.issuer:
        message = "This answer comes from another identity provider than the one asked."
        raise ResponseForgedError(message)
    # 3.
    if "error" in parameters:
        raise AuthorizationRefusedError(parameters["error"], parameters.get("error_description", ""))
    # 4.
    if not parameters.get("code"):
        message = "The answer contains no code."
        raise ProtocolError(message)
    return parameters["code"]


def finish(
    http: requests.Session,
    metadata: ServerMetadata,
    client: Client,
    pending: Pending,
    parameters: Mapping[str, str],
) -> Tokens:
    """Check the answer, exchange the code, check the tokens.

    :raises: what `check_response` and `verify_id_token` raise; `AuthorizationRefusedError` when the code is refused.
    """
    code = check_response(metadata, pending, parameters)
    extra = {}
    if pending.authorization_details is not None:
        # CSC API v2.0.0.2 section 8.4.4: to be repeated here if it was in the authorization request.
        extra["authorization_details"] = pending.authorization_details
    with _authlib(client, pending.scope) as session:
        token = _token_request(
            metadata,
            lambda: session.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=pending.code_verifier,
                **extra,
            ),
        )
    tokens = _tokens(token)
    if pending.nonce is None:
        return tokens
    claims = verify_id_token(http, metadata, client, tokens, pending.nonce)
    return Tokens(
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        refresh_token=tokens.refresh_token,
        id_token=tokens.id_token,
        claims=claims,
    )


def refresh(metadata: ServerMetadata, client: Client, refresh_token: str) -> Tokens:
    """A new access token. The refresh token is replaced with every use: keep the new one.

    :raises AuthorizationRefusedError: the refresh token is spent, expired or revoked.
    """
    with _authlib(client, None) as session:
        return _tokens(
            _token_request(
                metadata, lambda: session.refresh_token(metadata.token_endpoint, refresh_token=refresh_token)
            )
        )


def revoke(metadata: ServerMetadata, client: Client, token: str, hint: str) -> None:
    """Tell the provider that a token is no longer needed (RFC 7009)."""
    if metadata.revocation_endpoint is None:
        return
    with _authlib(client, None) as session:
        try:
            session.post(
                metadata.revocation_endpoint,
                data={"token": token, "token_type_hint": hint},
                auth=(client.client_id, client.client_secret),
            )
        except requests.RequestException as e:
            raise _unreachable(metadata.revocation_endpoint) from e


def end_session_url(metadata: ServerMetadata, client: Client, return_to: str) -> str | None:
    """Where to send a browser to sign out at the provider as well (OpenID Connect RP-Initiated Logout section 2).

    Without `id_token_hint`: the provider knows its own session, and a token in a URL ends up in histories and logs.
    """
    if metadata.end_session_endpoint is None:
        return None
    query = {"client_id": client.client_id, "post_logout_redirect_uri": return_to}
    return f"{metadata.end_session_endpoint}?{urlencode(query)}"


def verify_id_token(
    http: requests.Session, metadata: ServerMetadata, client: Client, tokens: Tokens, nonce: str
) -> dict[str, Any]:
    """The claims of the id_token (OpenID Connect Core section 3.1.3.7).

    1. Signature by a key of the provider's JWKS, with an algorithm of our choice, not of the token's.
    2. `iss`, `aud`, `exp`, `iat`, `nonce`, `azp`, `at_hash`, each required where the standard has it.

    :raises ResponseForgedError: any of it is missing or wrong.
    """
    if tokens.id_token is None:
        message = "The provider sent no id_token."
        raise ProtocolError(message)
    keys = signing_keys(http, metadata)
    try:
        # 1.
        token = jwt.decode(tokens.id_token, keys, algorithms=list(ID_TOKEN_ALGORITHMS))
        # 2.
        CodeIDToken(
            token.claims,
            token.header,
            options={
                "iss": {"essential": True, "value": metadata.issuer},
                "aud": {"essential": True, "value": client.client_id},
            },
            params={"nonce": nonce, "client_id": client.client_id, "access_token": tokens.access_token},
        ).validate(leeway=CLOCK_SKEW)
    except (JoseError, ValueError, KeyError, TypeError) as e:
        message = f"The id_token is not acceptable ({type(e).__name__})."
        raise ResponseForgedError(message) from e
    return dict(token.claims)


def signing_keys(http: requests.Session, metadata: ServerMetadata) -> KeySet:
    """The provider's public keys.

    :raises ResponseForgedError: they cannot be read.
    """
    keys = _json(_get(http, metadata.jwks_uri))
    try:
        return KeySet.import_key_set(keys)  # type: ignore[arg-type] # a document from the network, checked by the import
    except (JoseError, ValueError, KeyError, TypeError) as e:
        message = "The provider's keys cannot be read."
        raise ResponseForgedError(message) from e


def _s256(code_verifier: str) -> str:
    """The code challenge of RFC 7636 section 4.2."""
    digest = hashlib.sha256(code_verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _authlib(client: Client, scope: str | None) -> OAuth2Session:
    session = OAuth2Session(
        client.client_id,
        client.client_secret,
        token_endpoint_auth_method="client_secret_basic",
        scope=scope,
        redirect_uri=client.redirect_uri,
        code_challenge_method="S256",
    )
    prepare_session(session)
    return session


def _token_request(metadata: ServerMetadata, call: Any) -> Mapping[str, Any]:
    try:
        answer: Mapping[str, Any] = call()
    except OAuthError as e:
        raise AuthorizationRefusedError(str(e.error), str(e.description or "")) from e
    except requests.HTTPError as e:
        message = f"The token endpoint answered HTTP {e.response.status_code}."
        raise ProtocolError(message) from e
    except requests.RequestException as e:
        raise _unreachable(metadata.token_endpoint) from e
    except ValueError as e:
        message = "The token endpoint's answer is not JSON."
        raise ProtocolError(message) from e
    return answer


def _tokens(answer: Mapping[str, Any]) -> Tokens:
    if str(answer.get("token_type", "")).lower() not in ("bearer", "sad"):
        message = "The token is of a type that this client cannot use."
        raise ProtocolError(message)
    expires_in = answer.get("expires_in")
    return Tokens(
        access_token=_required(answer, "access_token"),
        expires_in=expires_in if isinstance(expires_in, int) else None,
        refresh_token=answer.get("refresh_token"),
        id_token=answer.get("id_token"),
        credential_id=answer.get("credentialID"),
    )


def _get(http: requests.Session, url: str) -> requests.Response:
    try:
        response = http.get(url, headers={"Accept": "application/json"}, allow_redirects=False)
    except requests.RequestException as e:
        raise _unreachable(url) from e
    if response.status_code != requests.codes.ok:
        message = f"{url} answered HTTP {response.status_code}."
        raise ProtocolError(message)
    return response


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError as e:
        message = f"{response.url.partition('?')[0]} did not answer with JSON (HTTP {response.status_code})."
        raise ProtocolError(message) from e
    if not isinstance(document, dict):
        message = f"{response.url.partition('?')[0]} did not answer with a JSON object."
        raise ProtocolError(message)
    return document


def _required(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        message = f"The provider's answer lacks {name}."
        raise ProtocolError(message)
    return value


def _unreachable(url: str) -> UnreachableError:
    parts = urlsplit(url)
    return UnreachableError(f"No answer from {parts.scheme}://{parts.netloc}.")
