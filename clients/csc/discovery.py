"""Finding out what a service is: `info` of the CSC API, and the metadata of its authorization server (RFC 8414)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .errors import ProtocolError, ResponseForgedError, ServiceRefusedError, UsageError, refusal
from .transport import Transport, check_address, optional_text, text_of, texts_of

DETAILS_2_0: Final = "credential"
DETAILS_2_2: Final = "https://cloudsignatureconsortium.org/2025/credential"
_PATHS: Final = ("/csc/v2", "/csc/v1")
"""Tried in this order below an address that does not name a version itself."""


@dataclass(frozen=True, slots=True)
class Names:
    """What one version of the API calls things."""

    hashes: str
    hash_algorithm: str
    answers: bool
    """`authData` (v2) in place of `PIN` and `OTP` (v1)."""
    details: str
    """Type of `authorization_details`."""


V1: Final = Names("hash", "hashAlgo", answers=False, details=DETAILS_2_0)
V2: Final = Names("hashes", "hashAlgorithmOID", answers=True, details=DETAILS_2_0)
V2_2: Final = Names("hashes", "hashAlgorithmOID", answers=True, details=DETAILS_2_2)


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """The answer of `info` (CSC API v2.0.0.2 section 11.1)."""

    base: str
    """Base URI of the API, without a slash at its end."""
    specs: str
    names: Names
    name: str
    description: str
    methods: frozenset[str]
    authentication: frozenset[str]
    """Values of `authType`."""
    oauth2_issuer: str | None
    oauth2_base: str | None
    """One of the two, where the service has an authorization server."""
    asynchronous: bool
    answer: Mapping[str, Any] = field(repr=False)
    """All of it, as it came."""

    def has(self, method: str) -> bool:
        """Whether a method is offered, as `signatures/timestamp`."""
        return method in self.methods


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """Where a service's tokens come from."""

    issuer: str | None
    """None where the service names paths only; then the issuer of an answer cannot be compared."""
    authorization_endpoint: str
    token_endpoint: str
    pushed_endpoint: str | None
    revocation_endpoint: str | None
    backchannel_endpoint: str | None
    names_issuer: bool
    """It promises `iss` in its answers (RFC 9207)."""
    details_types: frozenset[str]
    """Types of `authorization_details` that it takes (RFC 9396)."""
    jwks_uri: str | None = None
    """Where the keys are that verify its tokens."""
    end_session_endpoint: str | None = None
    """Where a browser signs out (OpenID Connect RP-Initiated Logout)."""


def discover(transport: Transport, address: str) -> ServiceInfo:
    """Ask `info`.

    :param address: of the API, as `https://sign.example/csc/v2`; or of the host, where both versions are looked for.
    :raises UsageError: the address cannot be used.
    :raises UnreachableError: no answer.
    :raises ProtocolError: there is no signing service of this API.
    """
    address = address.rstrip("/")
    check_address(address)
    if address.rpartition("/")[2] in {"v0", "v1", "v2"}:
        return _info(transport, address)
    for path in _PATHS:
        try:
            return _info(transport, address + path)
        except (ProtocolError, ServiceRefusedError):
            continue
    raise ProtocolError(f"there is no signing service at {address}")


def _info(transport: Transport, base: str) -> ServiceInfo:
    reply = transport.post_json(f"{base}/info", {}, {})
    answer = reply.json()
    if reply.status != 200:
        raise refusal(
            reply.status, str(answer.get("error", "")), str(answer.get("error_description", "")), reply.retry_after
        )
    specs = text_of(answer, "specs", "info")
    issuer, oauth2 = _authorization_server(answer)
    return ServiceInfo(
        base=base,
        specs=specs,
        names=_names(specs),
        name=optional_text(answer, "name") or "",
        description=optional_text(answer, "description") or "",
        methods=frozenset(texts_of(answer, "methods")),
        authentication=frozenset(texts_of(answer, "authType")),
        oauth2_issuer=issuer,
        oauth2_base=oauth2,
        asynchronous=answer.get("asynchronousOperationMode") is True,
        answer=answer,
    )


def _names(specs: str) -> Names:
    if specs.startswith(("0.", "1.")):
        return V1
    if specs.startswith("2."):
        return V2 if specs.startswith(("2.0.", "2.1.")) else V2_2
    raise ProtocolError("the service speaks a version of the API that this client does not know")


def _authorization_server(answer: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Issuer and base URI; version 2.2 may have a list, of which the first with codes is taken."""
    servers = answer.get("oauth2Servers")
    for server in servers if isinstance(servers, list) else []:
        if isinstance(server, dict) and "oauth2code" in texts_of(server, "authType"):
            return optional_text(server, "issuerIdentifier"), optional_text(server, "baseUri")
    return optional_text(answer, "oauth2Issuer"), optional_text(answer, "oauth2")


def authorization_server(transport: Transport, info: ServiceInfo) -> AuthorizationServer:
    """The authorization server that `info` names.

    With an issuer, its metadata are taken.  With a base URI (section 8.3) they are looked for too, and where there are
    none its endpoints are those of the specification.

    :raises UsageError: the service has none, or none with an address that can be used.
    :raises ResponseForgedError: the metadata are another issuer's.
    """
    if info.oauth2_issuer is not None:
        return _from_metadata(_metadata(transport, info.oauth2_issuer), info.oauth2_issuer)
    if info.oauth2_base is None:
        raise UsageError("the service names no authorization server")
    base = info.oauth2_base.rstrip("/")
    try:
        document = _metadata(transport, base)
    except ProtocolError:
        return _from_paths(base)
    # Who writes the issuer with a slash at its end means the same base URI.
    issuer = text_of(document, "issuer", "the metadata")
    if issuer.rstrip("/") != base:
        return _from_paths(base)
    return _from_metadata(document, issuer)


def _metadata(transport: Transport, issuer: str) -> dict[str, Any]:
    failure: ProtocolError | None = None
    for name in ("oauth-authorization-server", "openid-configuration"):
        reply = transport.get(f"{issuer.rstrip('/')}/.well-known/{name}")
        if reply.status != 200:
            failure = ProtocolError(f"{reply.url} answered HTTP {reply.status}")
            continue
        return reply.json()
    raise failure or ProtocolError("no metadata")


def _from_metadata(document: Mapping[str, Any], issuer: str) -> AuthorizationServer:
    # Identical, character by character, or one server could pass for another (RFC 8414 section 3.3).
    if document.get("issuer") != issuer:
        raise ResponseForgedError("the authorization server's metadata name another issuer")
    where = "the authorization server's metadata"
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        raise ProtocolError("the authorization server does not take PKCE with S256")
    server = AuthorizationServer(
        issuer=issuer,
        authorization_endpoint=text_of(document, "authorization_endpoint", where),
        token_endpoint=text_of(document, "token_endpoint", where),
        pushed_endpoint=optional_text(document, "pushed_authorization_request_endpoint"),
        revocation_endpoint=optional_text(document, "revocation_endpoint"),
        backchannel_endpoint=optional_text(document, "backchannel_authentication_endpoint"),
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        details_types=frozenset(texts_of(document, "authorization_details_types_supported")),
        jwks_uri=optional_text(document, "jwks_uri"),
        end_session_endpoint=optional_text(document, "end_session_endpoint"),
    )
    check_address(server.authorization_endpoint)
    return server


def _from_paths(base: str) -> AuthorizationServer:
    return AuthorizationServer(
        issuer=None,
        authorization_endpoint=f"{base}/oauth2/authorize",
        token_endpoint=f"{base}/oauth2/token",
        pushed_endpoint=None,
        revocation_endpoint=f"{base}/oauth2/revoke",
        backchannel_endpoint=None,
        names_issuer=False,
        details_types=frozenset(),
    )
