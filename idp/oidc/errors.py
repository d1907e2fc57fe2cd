"""Why an OAuth or OpenID Connect request is refused.

``code`` is the error of the standard that names it, ``status`` the HTTP status when the answer is JSON, and
``may_redirect`` whether an authorization endpoint may send the browser back with it.  That last is a property of the
cause, not of the place that raises it: while the client or its redirect URI is in doubt, sending the browser on would
make the server an open redirector (RFC 9700 4.11.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foundation.errors import PrivySealError


@dataclass(frozen=True, slots=True)
class ResponseTarget:
    """Where the answer to an authorization request goes, once client and redirect URI are known to belong together."""

    client_id: str
    redirect_uri: str
    state: str | None


class OidcError(PrivySealError):
    """Base of this package's errors; never raised itself.  The text goes over the wire: it quotes no input."""

    code: ClassVar[str] = "server_error"
    status: ClassVar[int] = 400
    may_redirect: ClassVar[bool] = True
    recorded: ClassVar[bool] = True
    """Whether the audit chain is told; what clients are answered while they wait would only fill it."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description
        self.target: ResponseTarget | None = None
        """Set by the parser when the error may be sent to the client through the browser."""


class ClientUnknown(OidcError):
    """No active client has this ``client_id``."""

    code = "invalid_request"
    may_redirect = False


class RedirectUriRefused(OidcError):
    """The redirect URI is missing or is not, character for character, one that the client registered."""

    code = "invalid_request"
    may_redirect = False


class ParameterRepeated(OidcError):
    """A parameter stands in the request twice (RFC 6749 3.1): which one counts would depend on who reads it."""

    code = "invalid_request"
    may_redirect = False


class ParameterTooLong(OidcError):
    """A parameter is longer than it may be.  Not redirected: ``state`` could not be given back whole."""

    code = "invalid_request"
    may_redirect = False


class ParameterMalformed(OidcError):
    """A parameter has a NUL, which not every database can keep."""

    code = "invalid_request"
    may_redirect = False


class StateRefused(OidcError):
    """``state`` has characters that RFC 6749 A.5 does not allow, and so could not be given back unchanged."""

    code = "invalid_request"
    may_redirect = False


class RequestUriInvalid(OidcError):
    """The pushed request is unknown, used, expired or another client's (RFC 9126 4)."""

    code = "invalid_request_uri"
    may_redirect = False


class RequestInvalid(OidcError):
    """A parameter is missing or has a value that is not accepted."""

    code = "invalid_request"


class RequestObjectRefused(OidcError):
    """``request``: request objects are not supported (OIDC Core 6.1); PAR gives what they are for."""

    code = "request_not_supported"


class RequestUriRefused(OidcError):
    """``request_uri`` that this server did not issue (OIDC Core 6.2): it would have to be fetched."""

    code = "request_uri_not_supported"


class RegistrationRefused(OidcError):
    """``registration``: self-issued clients are not supported (OIDC Core 7.2.1)."""

    code = "registration_not_supported"


class ResponseTypeRefused(OidcError):
    """Anything but ``code``: the implicit grant is off (RFC 9700 2.1.2)."""

    code = "unsupported_response_type"


class ScopeRefused(OidcError):
    """A scope is unknown, is not this client's, or does not go with the rest of the request."""

    code = "invalid_scope"


class TargetRefused(OidcError):
    """``resource`` names no resource of this client (RFC 8707 2)."""

    code = "invalid_target"


class AuthorizationDetailsInvalid(OidcError):
    """``authorization_details`` cannot be used (RFC 9396 5)."""

    code = "invalid_authorization_details"


class ClientNotPermitted(OidcError):
    """The client exists, and may not do this."""

    code = "unauthorized_client"


class ClientAuthenticationFailed(OidcError):
    """The client did not prove who it is.  One text for every cause: an outsider learns nothing about a client."""

    code = "invalid_client"
    status = 401

    def __init__(self, reason: str) -> None:
        super().__init__("Client authorization required")
        self.reason = reason
        """For the audit trail only."""


class DpopProofInvalid(OidcError):
    """The proof of possession is missing, malformed, for another request, used before or another key's (RFC 9449 5)."""

    code = "invalid_dpop_proof"


class ClientCertificateRequired(OidcError):
    """The client's tokens are bound to its certificate, and it showed none, or another one (RFC 8705 3).

    For this RFC 8705 has no error of its own.
    """

    code = "invalid_request"


class GrantInvalid(OidcError):
    """The code or refresh token is unknown, used, expired, revoked, or another client's."""

    code = "invalid_grant"


class GrantTypeRefused(OidcError):
    """A grant type that is not offered: password, implicit and device grants are off."""

    code = "unsupported_grant_type"


class TooManyRequests(OidcError):
    """The client has more pushed requests open than it may (RFC 9126 2.3)."""

    code = "temporarily_unavailable"
    status = 429


class BindingMessageInvalid(OidcError):
    """``binding_message`` is too long, or has what a person does not see (CIBA Core 1.0, 13)."""

    code = "invalid_binding_message"


class AuthorizationPending(OidcError):
    """The person has not decided yet (CIBA Core 1.0, 11)."""

    code = "authorization_pending"
    recorded = False


class SlowDown(OidcError):
    """The same, to a client that asks too often: its interval has grown."""

    code = "slow_down"
    recorded = False


class PersonRefused(OidcError):
    """The person refused, or the policy did not let them approve (CIBA Core 1.0, 11)."""

    code = "access_denied"


class AuthenticationDataInvalid(OidcError):
    """What was typed into another's application is not what can be asked for (CSC API 2.0.0.2 11.6)."""

    code = "invalid_authentication_data"


class PinInvalid(AuthenticationDataInvalid):
    """The password was not accepted."""

    code = "invalid_pin"


class PinLocked(AuthenticationDataInvalid):
    """The password is not tried now."""

    code = "pin_locked"


class CodeInvalid(AuthenticationDataInvalid):
    """The one-time code was not accepted."""

    code = "invalid_otp"


class CodeLocked(AuthenticationDataInvalid):
    """No code of this kind is tried now."""

    code = "otp_locked"


class NotAllowed(OidcError):
    """The policy does not allow it, whatever the person proves."""

    code = "access_denied"


class BackchannelExpired(OidcError):
    """Nobody decided in time, or nobody collected what was approved (CIBA Core 1.0, 11)."""

    code = "expired_token"


class NotNow(OidcError):
    """It cannot be done at the moment, and another time it can."""

    code = "temporarily_unavailable"
    status = 503


class AccessTokenInvalid(OidcError):
    """The bearer token at UserInfo is missing, unknown, expired or revoked (RFC 6750 3.1)."""

    code = "invalid_token"
    status = 401
