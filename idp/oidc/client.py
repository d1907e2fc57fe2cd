"""A registered client, and how it shows who it is."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args
from urllib.parse import unquote_plus, urlsplit

from foundation.errors import JoseError
from foundation.jose import VerificationKey, encode_base64url, import_verification_key
from idp.oidc.backchannel_logout import is_plain, uri_faults
from idp.oidc.document_locations import prefix_faults
from idp.oidc.errors import ClientAuthenticationFailed, RequestInvalid

AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
AUTH_METHODS: Final[tuple[AuthMethod, ...]] = get_args(AuthMethod)

GrantType = Literal[
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:privyseal:params:oauth:grant-type:extend-transaction",
    "urn:openid:params:grant-type:ciba",
    "urn:privyseal:params:oauth:grant-type:explicit-activation",
    "urn:privyseal:params:oauth:grant-type:service-login",
]
EXTENSION_GRANT: Final[GrantType] = "urn:privyseal:params:oauth:grant-type:extend-transaction"
"""A SAD in another one's place (RFC 6749 4.5; CSC API 2.0.0.2, ``credentials/extendTransaction``)."""
BACKCHANNEL_GRANT: Final[GrantType] = "urn:openid:params:grant-type:ciba"
"""What a person decided later and elsewhere (OpenID Connect CIBA Core 1.0, 10.1)."""
EXPLICIT_GRANT: Final[GrantType] = "urn:privyseal:params:oauth:grant-type:explicit-activation"
"""A SAD for what a person typed into a relying party's application (CSC API 2.0.0.2, ``credentials/authorize``)."""
LOGIN_GRANT: Final[GrantType] = "urn:privyseal:params:oauth:grant-type:service-login"
"""A service token for a user name and a password (CSC API 2.0.0.2, ``auth/login``)."""
IN_BAND_GRANTS: Final = frozenset({EXPLICIT_GRANT, LOGIN_GRANT})
"""Which only a resource server may ask for."""
GRANT_TYPES: Final[tuple[GrantType, ...]] = get_args(GrantType)

Scope = Literal["openid", "service", "credential", "credential-creation", "credential-deletion"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
CREATION_SCOPE: Final[Scope] = "credential-creation"
DELETION_SCOPE: Final[Scope] = "credential-deletion"
ALONE: Final[frozenset[str]] = frozenset({"credential", CREATION_SCOPE, DELETION_SCOPE})
"""Scopes whose token is for one thing that a person approved: each goes with no other."""

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

SECRET_OCTETS: Final = 32
"""Client secrets are generated here and never chosen.  With 256 random bits there is nothing to guess, so what is
stored need not be slow to compute: one salted SHA-256, where a person's password takes argon2id."""

MAX_ACR_VALUES: Final = 10
ACR_VALUE: Final = re.compile(r"[!-~]{1,255}\Z", re.ASCII)
CLIENT_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")
_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]):[1-9][0-9]{0,4}/")
"""With a port, which a program of one's own can have.  A name, `localhost` too, may be resolved to somewhere else."""
_SECRET_HASH: Final = re.compile(r"sha256\$([0-9a-f]{32})\$([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class Registration:
    """What an operator registers; everything of :class:`Client` but its secret."""

    client_id: str
    name: str
    """Shown to the person whose signature is asked for."""
    auth_method: AuthMethod
    redirect_uris: tuple[str, ...] = ()
    """Compared character for character."""
    post_logout_redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("openid", "service")
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")
    resources: tuple[str, ...] = ()
    """Audiences besides the CSC resource that it may ask tokens for."""
    jwks: tuple[Mapping[str, Any], ...] = ()
    """Public keys for ``private_key_jwt``; each key's kind fixes its algorithm."""
    introspects: tuple[str, ...] = ()
    """Audiences for which it is the resource server: it may introspect every token for them (RFC 7662 2.1)."""
    require_par: bool = False
    """All its authorization requests must be pushed (RFC 9126 6)."""
    plain_intents: bool = False
    """It may ask for signatures in the browser's address line too, as the CSC API allows.  Off by default: what is
    pushed cannot be changed by whoever holds the browser, and is shown to nobody on the way."""
    without_digests: bool = False
    """It may ask for a number of signatures without saying of what (credentials at SCAL1 only)."""
    default_acr_values: tuple[str, ...] = ()
    """What its requests ask for when they name no ``acr``, in its order of preference: voluntary, as ``acr_values``
    (OpenID Connect Dynamic Client Registration 1.0, 2).  The linter takes them for the values that it understands."""

    dpop_bound_access_tokens: bool = False
    """All its tokens are bound to a key of its own, and none is given without a DPoP proof (RFC 9449 5.2)."""
    tls_client_certificate_bound_access_tokens: bool = False
    """All its tokens are bound to the certificate that it shows, and none is given without one (RFC 8705 3.4)."""

    sad_token_type: bool = False
    """Its SADs have ``token_type`` ``SAD``, as CSC API 1.0.4.0 (8.3.3) has it, and not ``Bearer``."""
    in_band_signatures: bool = False
    """People may type into its application what authorises signatures (SCAL1 only)."""
    document_locations: tuple[str, ...] = ()
    """URIs of folders, below which its requests may name the documents that are to be shown before the approval."""
    documents_shown: bool = False
    """Nothing is approved for it unless every document could be shown."""
    in_band_login: bool = False
    """The signing service's ``auth/login`` signs in to it: for applications that know no other way."""

    backchannel_logout_uri: str | None = None
    """Where it is told that a session has ended in which it was given an ID token (OIDC Back-Channel Logout 2.2)."""
    backchannel_logout_session_required: bool = False
    """It wants ``sid`` in that; there always is one."""

    @property
    def plain_logout(self) -> bool:
        """Whether it is told of ended sessions without TLS, for development."""
        return self.backchannel_logout_uri is not None and is_plain(self.backchannel_logout_uri)

    @property
    def plain_documents(self) -> tuple[str, ...]:
        """Folders of documents without TLS, for development."""
        return tuple(uri for uri in self.document_locations if is_plain(uri))

    @property
    def plain_uris(self) -> tuple[str, ...]:
        """Redirect URIs without TLS: for development; in production a code would travel in clear.

        Those on a loopback address are not among them: the code does not leave the machine (RFC 8252 7.3, 8.3).
        """
        uris = (*self.redirect_uris, *self.post_logout_redirect_uris)
        return tuple(uri for uri in uris if is_plain(uri) and not _LOOPBACK.match(uri))

    def faults(self) -> Iterable[str]:
        """What is wrong with the registration, one sentence each."""
        if not CLIENT_ID.match(self.client_id):
            yield "client_id: 1 to 128 of A-Z a-z 0-9 . _ ~ -"
        if not 0 < len(self.name) <= 200 or not self.name.isprintable():
            yield "name: 1 to 200 printable characters"
        if self.auth_method not in AUTH_METHODS:
            yield f"auth_method: one of {', '.join(AUTH_METHODS)}"
        yield from self._scope_faults()
        yield from self._in_band_faults()
        yield from self._uri_faults()
        yield from self._document_faults()
        yield from uri_faults(
            self.backchannel_logout_uri,
            session_required=self.backchannel_logout_session_required,
            scopes=self.scopes,
        )
        yield from self._key_faults()
        if len(self.default_acr_values) > MAX_ACR_VALUES or not all(map(ACR_VALUE.match, self.default_acr_values)):
            yield f"default_acr_values: at most {MAX_ACR_VALUES}, each 1 to 255 visible ASCII characters"

    def _scope_faults(self) -> Iterable[str]:
        if unknown := set(self.scopes) - set(SCOPES):
            yield f"scopes: unknown {sorted(unknown)}"
        if unknown := set(self.grant_types) - set(GRANT_TYPES):
            yield f"grant_types: unknown {sorted(unknown)}"
        if self.auth_method == "none" and "client_credentials" in self.grant_types:
            yield "grant_types: client_credentials needs a client that authenticates (RFC 6749 4.4)"
        if EXTENSION_GRANT in self.grant_types and not {"credential"} & set(self.scopes) and not self.introspects:
            yield "grant_types: extending transactions is for clients with scope credential, and resource servers"
        if self.auth_method == "none" and BACKCHANNEL_GRANT in self.grant_types:
            yield "grant_types: backchannel authentication needs a client that authenticates (CIBA Core 1.0, 7.1)"
        for scope in sorted(ALONE & set(self.scopes)) if self.auth_method == "none" else ():
            yield f"scopes: {scope} needs a client that authenticates, because its pushed requests must be its own"
        if self.auth_method == "none" and self.require_par:
            yield "require_par: needs a client that authenticates, because only such a one may push requests"
        if self.auth_method == "none" and self.tls_client_certificate_bound_access_tokens:
            yield "tls_client_certificate_bound_access_tokens: needs a client that authenticates"
        if self.dpop_bound_access_tokens and self.tls_client_certificate_bound_access_tokens:
            yield "dpop_bound_access_tokens: a token has one binding, to a key or to a certificate"
        if self.auth_method == "none" and self.introspects:
            yield "introspects: needs a client that authenticates (RFC 7662 2.1)"

    def _in_band_faults(self) -> Iterable[str]:
        if IN_BAND_GRANTS & set(self.grant_types) and not self.introspects:
            yield "grant_types: what comes in band is asked for by resource servers"
        if self.in_band_signatures and not {"service", "credential"} <= set(self.scopes):
            yield "in_band_signatures: needs the scopes service and credential"
        if self.in_band_login and (self.auth_method == "none" or "service" not in self.scopes):
            yield "in_band_login: needs a client that authenticates, and scope service"
        if self.in_band_login and (self.dpop_bound_access_tokens or self.tls_client_certificate_bound_access_tokens):
            yield "in_band_login: whoever signs in so has no key to bind tokens to"

    def _uri_faults(self) -> Iterable[str]:
        if "authorization_code" in self.grant_types and not self.redirect_uris:
            yield "redirect_uris: authorization_code needs at least one"
        for uri in (*self.redirect_uris, *self.post_logout_redirect_uris):
            if not _is_redirect_uri(uri):
                yield "redirect_uris: absolute http or https URIs without fragment and without user information"

    def _document_faults(self) -> Iterable[str]:
        yield from prefix_faults(self.document_locations)
        if self.documents_shown and not self.document_locations:
            yield "documents_shown: needs document_locations, from where they are fetched"
        if self.documents_shown and self.in_band_signatures:
            yield "documents_shown: what is typed into an application is approved without being shown here"
        if self.document_locations and "credential" not in self.scopes:
            yield "document_locations: needs the scope credential"

    def _key_faults(self) -> Iterable[str]:
        if (self.auth_method == "private_key_jwt") != bool(self.jwks):
            yield "jwks: keys go with private_key_jwt, and it needs one"
        for jwk in self.jwks:
            try:
                import_verification_key(jwk)
            except JoseError as error:
                yield f"jwks: {error}"


def _is_redirect_uri(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return False
    printable = all("!" <= character <= "~" for character in uri)
    return (
        printable
        and port_is_valid
        and parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and "#" not in uri
        and "\\" not in uri
        and len(uri) <= 2048
    )


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client as it is stored."""

    registration: Registration
    secret_hash: str | None = field(repr=False)
    active: bool = True

    @property
    def client_id(self) -> str:
        """The client's identifier."""
        return self.registration.client_id

    @property
    def name(self) -> str:
        """The client's name for people."""
        return self.registration.name

    @property
    def keys(self) -> tuple[VerificationKey, ...]:
        """The registered public keys."""
        return tuple(import_verification_key(jwk) for jwk in self.registration.jwks)

    def without_plain_uris(self) -> Client:
        """The client as production knows it: nothing goes to it without TLS, whatever was registered elsewhere."""
        kept = self.registration
        plain = kept.plain_uris
        return replace(
            self,
            registration=replace(
                kept,
                redirect_uris=tuple(uri for uri in kept.redirect_uris if uri not in plain),
                document_locations=tuple(
                    uri for uri in kept.document_locations if uri not in kept.plain_documents
                ),
                post_logout_redirect_uris=tuple(uri for uri in kept.post_logout_redirect_uris if uri not in plain),
                backchannel_logout_uri=None if kept.plain_logout else kept.backchannel_logout_uri,
            ),
        )

    def may_redirect_to(self, uri: str) -> bool:
        """Whether the URI is registered, character for character (RFC 9700 2.1)."""
        return uri in self.registration.redirect_uris

    def has_secret(self, secret: str) -> bool:
        """Whether this is the client's secret; takes the same time whether or not it has one."""
        return check_secret(secret, self.secret_hash)


def make_secret(random_octets: bytes) -> str:
    """A client secret from :data:`SECRET_OCTETS` random octets."""
    if len(random_octets) != SECRET_OCTETS:
        raise ValueError(f"a client secret takes {SECRET_OCTETS} random octets")
    return encode_base64url(random_octets)


def hash_secret(secret: str, salt: bytes) -> str:
    """What is stored of a secret made by :func:`make_secret`; the salt has 16 octets."""
    return f"sha256${salt.hex()}${hashlib.sha256(salt + secret.encode()).hexdigest()}"


_NO_SECRET: Final = hash_secret("", bytes(16))


def check_secret(secret: str, stored: str | None) -> bool:
    """Whether the secret is the stored one.  Without a stored one the same work is done, and the answer is no."""
    match = _SECRET_HASH.match(stored or _NO_SECRET)
    if match is None:
        return False
    computed = hashlib.sha256(bytes.fromhex(match[1]) + secret.encode()).hexdigest()
    return hmac.compare_digest(computed, match[2]) and stored is not None


@dataclass(frozen=True, slots=True)
class PresentedSecret:
    """``client_secret_basic`` or ``client_secret_post``."""

    client_id: str
    method: AuthMethod
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresentedAssertion:
    """``private_key_jwt``; the client id is what the request says, and may be absent."""

    client_id: str | None
    assertion: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresentedNothing:
    """A client that only says its name: a public one, or one that failed to authenticate."""

    client_id: str


Presented = PresentedSecret | PresentedAssertion | PresentedNothing


def read_credentials(authorization: str | None, form: Mapping[str, str]) -> Presented:
    """How the client presents itself in a request to an endpoint other than the authorization endpoint.

    :raises RequestInvalid: more than one way at once (RFC 6749 2.3), or nobody's name (CSC API 2.0.0.2 clause 8.4.4).
    :raises ClientAuthenticationFailed: not in the form of one.
    """
    ways = [
        authorization is not None,
        "client_secret" in form,
        "client_assertion" in form or "client_assertion_type" in form,
    ]
    if sum(ways) > 1:
        raise RequestInvalid("more than one method of client authentication")
    if authorization is not None:
        return _read_basic(authorization, form.get("client_id"))
    if ways[2]:
        if form.get("client_assertion_type") != ASSERTION_TYPE or not form.get("client_assertion"):
            raise ClientAuthenticationFailed("client_assertion or its type missing or unknown")
        return PresentedAssertion(form.get("client_id"), form["client_assertion"])
    client_id = form.get("client_id")
    if not client_id:
        raise RequestInvalid("Missing parameter client_id")
    if ways[1]:
        return PresentedSecret(client_id, "client_secret_post", form["client_secret"])
    return PresentedNothing(client_id)


def _read_basic(authorization: str, stated: str | None) -> PresentedSecret:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise ClientAuthenticationFailed("another scheme than Basic")
    try:
        name, colon, secret = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as error:
        raise ClientAuthenticationFailed("Basic credentials malformed") from error
    client_id = unquote_plus(name)
    if not colon or not client_id:
        raise ClientAuthenticationFailed("Basic credentials incomplete")
    if stated is not None and stated != client_id:
        raise ClientAuthenticationFailed("client_id differs from the Basic credentials")
    return PresentedSecret(client_id, "client_secret_basic", unquote_plus(secret))
