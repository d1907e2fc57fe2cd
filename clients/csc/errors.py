"""What can go wrong for a client; each cause is a class with a code of its own.

The texts are safe to show: no token, secret or answer to a question stands in one.  What a server said is kept apart,
in `error` and `description`, and is unknown text: escape it where you show it.
"""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """Base of everything this package raises; never raised itself."""

    code: ClassVar[str] = "error"


class UsageError(ClientError):
    """What the caller gave cannot be used: an address, a file, a digest of another length."""

    code = "usage"


class NotUsableError(ClientError):
    """There is no credential that can do what is asked, or the service lacks what it takes."""

    code = "not_usable"


class UnreachableError(ClientError):
    """No answer over the network, or not all of it in time.  Whether the request was carried out is not known."""

    code = "unreachable"


class TimedOutError(ClientError):
    """Nobody approved, or no result was ready, for as long as the caller wanted to wait."""

    code = "timed_out"


class ProtocolError(ClientError):
    """An answer that the protocol does not allow: a field missing, a redirect, something that is not JSON."""

    code = "protocol"


class AnswerTooLargeError(ProtocolError):
    """An answer is longer than this client reads."""

    code = "answer_too_large"


class ResponseForgedError(ProtocolError):
    """An answer that does not belong to our request: wrong state, issuer or credential."""

    code = "response_forged"


class SignatureWrongError(ProtocolError):
    """A value that came back is not a signature of the digest by the certificate's key."""

    code = "signature_wrong"


class AuthorizationRefusedError(ClientError):
    """The authorization server answered with an error: the policy said no, or the person did (RFC 6749)."""

    code = "authorization_refused"

    def __init__(self, error: str, description: str = "", *, status: int | None = None) -> None:
        super().__init__(f"{error}: {description}" if description else error)
        self.error = error
        """The `error` code (RFC 6749 section 4.1.2.1 or 5.2)."""
        self.description = description
        self.status = status
        """Of the answer, where it came from an endpoint; None where the browser brought it."""


class ServiceRefusedError(ClientError):
    """The signing service refused a call (CSC API v2.0.0.2 section 10.1)."""

    code = "service_refused"

    def __init__(self, status: int, error: str, description: str = "", *, retry_after: int | None = None) -> None:
        words = error or "refused"
        super().__init__(f"HTTP {status} {words}: {description}" if description else f"HTTP {status} {words}")
        self.status = status
        self.error = error
        self.description = description
        self.retry_after = retry_after
        """Seconds after which the service may be asked again; None where it did not say."""


class TokenRefusedError(ServiceRefusedError):
    """401: the access token is missing, expired, revoked or for something else."""

    code = "token_refused"


class StepUpRequiredError(TokenRefusedError):
    """The service wants the person to authenticate otherwise or anew (RFC 9470); ask for these values."""

    code = "step_up_required"

    def __init__(self, description: str, acr_values: tuple[str, ...], max_age: int | None) -> None:
        super().__init__(401, "insufficient_user_authentication", description)
        self.acr_values = acr_values
        self.max_age = max_age
        """Seconds; None if the age does not matter."""


class BusyError(ServiceRefusedError):
    """429 or 503: not now.  The same request may succeed after `retry_after` seconds."""

    code = "busy"


class NotOfferedError(ServiceRefusedError):
    """501: the service does not have this method."""

    code = "not_offered"


def refusal(status: int, error: str, description: str, retry_after: int | None) -> ServiceRefusedError:
    """The error for an answer of the signing service that is not a success."""
    kinds: dict[int, type[ServiceRefusedError]] = {
        401: TokenRefusedError,
        429: BusyError,
        501: NotOfferedError,
        503: BusyError,
    }
    return kinds.get(status, ServiceRefusedError)(status, error, description, retry_after=retry_after)
