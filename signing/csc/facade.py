"""The web tier as the identity provider's client: how it authenticates there, and how it asks in a person's name.

It authenticates with its own key (``private_key_jwt``, OIDC Core 9) or its secret.  What it may ask for in a person's
and a relying party's name, the identity provider decides by the relying party's token that is passed on with the
request (RFC 8693 2.1): the web tier alone speaks for nobody.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests

from foundation.clock import Clock, epoch
from foundation.egress import Egress, read_limited
from foundation.errors import EgressRefused, JoseError, PrivySealError
from foundation.files import read_secret
from foundation.jose import encode_base64url, import_signing_key, parse_json_object, sign_compact
from signing.settings import IssuerSettings

TOKEN: Final = "/oauth2/token"
REVOCATION: Final = "/oauth2/revoke"
INTROSPECTION: Final = "/oauth2/introspect"
JWKS: Final = "/oauth2/jwks"
BACKCHANNEL: Final = "/oauth2/bc-authorize"

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_JWS_TYPE: Final = "client-authentication+jwt"
_ASSERTION_SECONDS: Final = 60
_JTI_OCTETS: Final = 16
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
_MAX_ANSWER: Final = 256 * 1024
_MAX_CODE: Final = 64
_MAX_DESCRIPTION: Final = 255
_GOOD: Final = frozenset({200, 201, 202, 204})
_REFUSALS: Final = frozenset({400, 403, 404, 429})
"""Those about what was asked.  401 is about us: the caller can do nothing about it."""


class FacadeRefused(PrivySealError):
    """The identity provider answered that it will not (RFC 6749 5.2)."""

    code = "issuer_refused"

    def __init__(self, error: str, description: str, status: int) -> None:
        super().__init__(f"status {status}, {error}")
        self.error = error
        """The ``error`` member; empty if there is none."""
        self.description = description
        """The ``error_description`` member; empty if there is none."""
        self.status = status


class FacadeUnavailable(PrivySealError):
    """The identity provider did not give a usable answer, or does not know us."""

    code = "issuer_unavailable"


class Facade:
    """Asks the identity provider.  Thread-safe.

    :param random: as many random octets as it is asked for.
    :raises SecretFileError: the file with the secret or key cannot be used.
    :raises TokenUntrusted: the key is none that is accepted.
    """

    def __init__(
        self,
        settings: IssuerSettings,
        clock: Clock,
        egress: Egress,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random
        self._session = egress.session(settings.timeout_seconds)
        key, secret = settings.client_key_file, settings.client_secret_file
        self._key = None if key is None else import_signing_key(read_secret(key))
        self._basic = None if secret is None else (settings.client_id, read_secret(secret).decode())
        # What has no setting of its own is beside the token endpoint.
        beside = settings.token_endpoint or ""
        self._base = beside.removesuffix(TOKEN) if beside.endswith(TOKEN) else settings.url
        self._elsewhere = {
            TOKEN: settings.token_endpoint,
            INTROSPECTION: settings.introspection_endpoint,
            JWKS: settings.jwks_uri,
            BACKCHANNEL: settings.backchannel_endpoint,
        }

    def post(self, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        """Post a form as the client that this web tier is.

        :param path: below the issuer's URL, with a slash before it.
        :returns: the JSON object that was answered; empty for an answer without content.
        :raises FacadeRefused: it will not.
        :raises FacadeUnavailable: no usable answer.
        """
        return self._exchange("POST", path, {**form, **self._authentication()}, self._basic)

    def post_for(self, token: str, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        """The same, in the name of the person and the relying party whose service token was presented here.

        :raises FacadeRefused: :raises FacadeUnavailable: as for :meth:`post`.
        """
        return self.post(path, {**form, "subject_token": token, "subject_token_type": _ACCESS_TOKEN})

    def get(self, path: str) -> Mapping[str, Any]:
        """What is published there for everybody.

        :raises FacadeRefused: :raises FacadeUnavailable: as for :meth:`post`.
        """
        return self._exchange("GET", path, None, None)

    def _authentication(self) -> dict[str, str]:
        if self._key is None:
            return {}
        now, client_id = epoch(self._clock.now()), self._settings.client_id
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": self._settings.url,
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
            "jti": encode_base64url(self._random(_JTI_OCTETS)),
        }
        return {
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": sign_compact(claims, self._key, _ASSERTION_JWS_TYPE),
        }

    def _exchange(
        self, method: str, path: str, form: Mapping[str, str] | None, basic: tuple[str, str] | None
    ) -> Mapping[str, Any]:
        try:
            answer = self._session.request(
                method,
                self._elsewhere.get(path) or f"{self._base}{path}",
                data=form,
                auth=basic,
                headers={"Accept": "application/json"},
                allow_redirects=False,
                stream=True,
            )
            body = read_limited(answer, _MAX_ANSWER)
        except (requests.RequestException, EgressRefused) as error:
            # Not the library's text: it may quote what was sent.
            raise FacadeUnavailable(type(error).__name__) from error
        return _read(answer.status_code, body)


def _read(status: int, body: bytes) -> Mapping[str, Any]:
    if status in _REFUSALS:
        raise _refusal(status, body)
    if status not in _GOOD:
        raise FacadeUnavailable(f"status {status}")
    try:
        return parse_json_object(body) if body else {}
    except JoseError as error:
        raise FacadeUnavailable(type(error).__name__) from error


def _refusal(status: int, body: bytes) -> FacadeRefused:
    try:
        members = parse_json_object(body)
    except JoseError:
        members = {}
    code, description = members.get("error"), members.get("error_description")
    return FacadeRefused(
        code if isinstance(code, str) and len(code) <= _MAX_CODE else "",
        description if isinstance(description, str) and len(description) <= _MAX_DESCRIPTION else "",
        status,
    )
