"""The identity provider: sign-in, and approvals of documents.

OpenID Connect's code flow with PAR (RFC 9126), PKCE (RFC 7636) and ``private_key_jwt`` (RFC 7523); approvals with rich
authorization requests (RFC 9396).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from clients.csc import (
    AuthorizationRefusedError,
    AuthorizationServer,
    ClientError,
    OAuth,
    Pending,
    PrivateKeyJwt,
    ResponseForgedError,
    Service,
    ServiceInfo,
    ServiceRefusedError,
    StepUpRequiredError,
    Timeouts,
    TokenRefusedError,
    Tokens,
    Transport,
    UsageError,
    authorization_server,
    discover,
    read_key,
)
from clients.csc.keys import Key
from foundation.errors import SettingsError
from foundation.jose import VerificationKey
from portal.errors import AnswerNotOurs, NotApproved, PortalError, ServiceUnavailable, SignInAgain, SigningRefused
from portal.outside.identity import keys_at
from portal.outside.validation import Report, validated
from portal.settings import PortalSettings

SIGN_IN_SCOPES: Final = "openid service"
_KNOWN_SECONDS: Final = 300.0
"""How long what the services say of themselves is taken as said."""
_KEYS_SECONDS: Final = 60.0
_FAILED_SECONDS: Final = 5.0
"""How long nobody asks again for keys that could not be had: a stranger's requests ask no more often."""
_KEYS_TIMEOUT: Final = 10.0
"""Seconds for keys, whatever a signature may take."""
_ANSWER_SPARE: Final = 1024 * 1024
_SIGNED_SPARE: Final = 4
"""A signed document in base64 has at most so many times the octets that a request may have: validation data and an
appearance come on top of the document."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the two services say of themselves."""

    info: ServiceInfo
    server: AuthorizationServer
    at: float


@dataclass(frozen=True, slots=True)
class Line:
    """A connection to both services, for one request of a browser."""

    settings: PortalSettings
    transport: Transport = field(repr=False)
    known: Known
    key: Key = field(repr=False)

    @property
    def oauth(self) -> OAuth:
        """The identity provider, as its client that we are."""
        client = PrivateKeyJwt(self.settings.client_id, self.key)
        return OAuth(self.transport, self.known.server, client, self.settings.redirect_uri)

    @property
    def service(self) -> Service:
        """The signing service."""
        return Service(self.transport, self.known.info)

    def begin_sign_in(self, nonce: str, language: str, step_up: StepUpRequiredError | None = None) -> Pending:
        """Where to send a browser so that its person signs in.

        :param step_up: what the signing service asked of the sign-in (RFC 9470).
        """
        return self.oauth.begin(SIGN_IN_SCOPES, {"nonce": nonce, "ui_locales": language}, step_up=step_up)

    def begin_approval(self, details: str, language: str) -> Pending:
        """Where to send a browser so that its person approves signatures of documents."""
        return self.oauth.begin("credential", {"authorization_details": details, "ui_locales": language})

    def finish(self, pending: Pending, parameters: Mapping[str, str]) -> Tokens:
        """The tokens for an authorization response."""
        return self.oauth.finish(pending, parameters)

    def keys(self) -> tuple[VerificationKey, ...]:
        """The identity provider's public keys, as it publishes them now.

        :raises ServiceUnavailable: it publishes none.
        """
        if self.known.server.jwks_uri is None:
            raise ServiceUnavailable("the identity provider publishes no keys")
        found = keys_at(self.transport, self.known.server.jwks_uri)
        if not found:
            raise ServiceUnavailable("the identity provider publishes no keys")
        return found

    def sign_out_url(self) -> str | None:
        """Where a browser signs out of the identity provider as well; without a token in the address."""
        if self.known.server.end_session_endpoint is None:
            return None
        query = {"client_id": self.settings.client_id, "post_logout_redirect_uri": f"{self.settings.public_url}/"}
        return f"{self.known.server.end_session_endpoint}?{urlencode(query)}"


class Outside:
    """Opens lines; remembers for a while what the services say of themselves."""

    def __init__(self, settings: PortalSettings, *, now: Callable[[], float] = time.monotonic) -> None:
        """:raises SettingsError: the client's key cannot be used."""
        self._settings = settings
        try:
            self._key = read_key(settings.client_key_file)
        except UsageError as error:
            raise SettingsError((f"client_key_file: {error}",)) from error
        self._now = now
        self._known: Known | None = None
        self._keys: tuple[float, tuple[VerificationKey, ...]] | None = None
        self._keys_failed: float | None = None
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    @contextmanager
    def line(self, seconds: float | None = None) -> Iterator[Line]:
        """A line for one request; what goes wrong on it is one of our errors.

        :param seconds: for one answer, where less is meant than the settings allow.
        :raises AnswerNotOurs: :raises NotApproved: :raises SigningRefused: :raises ServiceUnavailable:
        """
        transport = self._transport(seconds)
        try:
            with translated():
                yield Line(self._settings, transport, self._discovered(transport), self._key)
        finally:
            transport.close()

    def _transport(self, seconds: float | None = None) -> Transport:
        settings = self._settings
        most = min(seconds or settings.timeout_seconds, settings.timeout_seconds)
        return Transport(
            timeouts=Timeouts(between=most, whole=most),
            max_answer=_SIGNED_SPARE * settings.limits.request_octets + _ANSWER_SPARE,
            trusted=settings.ca_file,
        )

    def validated(self, document: bytes) -> Report:
        """What the signing service's validation finds out about a PDF.

        :raises NotValidated: :raises TooOften: :raises ServiceUnavailable: it does not.
        """
        transport = self._transport()
        try:
            with translated():
                return validated(transport, self._settings.validate_url or "", document)
        finally:
            transport.close()

    def keys(self) -> tuple[VerificationKey, ...]:
        """The keys of the identity provider: anybody may make us look, so it is asked once a minute at most.

        One request asks, and those beside it wait for what it finds.  Where there is no answer nobody asks again for a
        moment; keys that are older than a minute are not used instead.

        :raises PortalError: they cannot be had.
        """
        known = self._known_keys()
        if known is not None:
            return known
        if not self._asking.acquire(timeout=_KEYS_TIMEOUT):
            raise ServiceUnavailable("the identity provider is being asked for its keys")
        try:
            return self._known_keys() or self._ask_for_keys()
        finally:
            self._asking.release()

    def _known_keys(self) -> tuple[VerificationKey, ...] | None:
        """:raises ServiceUnavailable: they could not be had a moment ago."""
        with self._lock:
            known, failed = self._keys, self._keys_failed
        if known is not None and self._now() - known[0] < _KEYS_SECONDS:
            return known[1]
        if failed is not None and self._now() - failed < _FAILED_SECONDS:
            raise ServiceUnavailable("the identity provider's keys could not be had a moment ago")
        return None

    def _ask_for_keys(self) -> tuple[VerificationKey, ...]:
        try:
            with self.line(_KEYS_TIMEOUT) as line:
                found = line.keys()
        except PortalError:
            with self._lock:
                self._keys_failed = self._now()
            raise
        with self._lock:
            self._keys, self._keys_failed = (self._now(), found), None
        return found

    def _discovered(self, transport: Transport) -> Known:
        with self._lock:
            known = self._known
        if known is not None and self._now() - known.at < _KNOWN_SECONDS:
            return known
        info = discover(transport, self._settings.csc_base)
        server = authorization_server(transport, info)
        # The settings choose whom people are sent to; the signing service only has to agree.
        if server.issuer != self._settings.issuer:
            raise ServiceUnavailable("the signing service works with another identity provider than the settings name")
        found = Known(info, server, self._now())
        with self._lock:
            self._known = found
        return found


@contextmanager
def translated() -> Iterator[None]:
    """The client's errors as ours."""
    try:
        yield
    except StepUpRequiredError as error:
        raise SignInAgain(error.acr_values, error.max_age) from error
    except TokenRefusedError as error:
        raise SignInAgain from error
    except ResponseForgedError as error:
        raise AnswerNotOurs(str(error)) from error
    except AuthorizationRefusedError as error:
        raise NotApproved(error.error) from error
    except ServiceRefusedError as error:
        raise SigningRefused(str(error)) from error
    except ClientError as error:
        raise ServiceUnavailable(str(error)) from error


def pending_as_json(pending: Pending) -> dict[str, Any]:
    """What has to be kept until the answer comes."""
    return {
        "url": pending.url,
        "scope": pending.scope,
        "state": pending.state,
        "code_verifier": pending.code_verifier,
        "details": pending.details,
    }


def pending_from_json(value: Mapping[str, Any]) -> Pending:
    """Back from :func:`pending_as_json`."""
    return Pending(**value)
