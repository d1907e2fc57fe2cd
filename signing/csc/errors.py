"""The API's errors, with the error names and descriptions of CSC API 2.0.0.2 clauses 10 and 11.

Clients compare the descriptions literally, so they are kept here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from documents.errors import REASONS
from signing.errors import SigningError


class CscError(SigningError):
    """Base of the API's errors; never raised itself.  ``code`` is the ``error`` member of the body."""

    status: ClassVar[int] = 400

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description
        """The ``error_description`` member: never input of the caller's."""


class InvalidRequest(CscError):
    """A parameter is missing, of the wrong type or refused."""

    code = "invalid_request"


class MissingToken(CscError):
    """No access token was presented (RFC 6750 3.1)."""

    code = "invalid_token"
    status = 401

    def __init__(self) -> None:
        super().__init__("An access token is required")


class InvalidToken(CscError):
    """The access token is not one of ours, is for another audience, or lacks the scope for the method."""

    code = "invalid_token"
    status = 401

    def __init__(self) -> None:
        super().__init__("The access token is not valid")


class ExpiredToken(CscError):
    """The access token has expired or was revoked."""

    code = "expired_token"
    status = 401

    def __init__(self) -> None:
        super().__init__("The access token is expired or has been revoked")


class InvalidDpopProof(CscError):
    """The token is bound to a key, and the request does not show it, or shows it for something else (RFC 9449 7.1)."""

    code = "invalid_dpop_proof"
    status = 401

    def __init__(self) -> None:
        super().__init__("The DPoP proof is missing or not valid")


class InsufficientUserAuthentication(CscError):
    """The person did not authenticate as this method demands (RFC 9470 3); another authorization request can help."""

    code = "insufficient_user_authentication"
    status = 401

    def __init__(self, description: str, acr_values: tuple[str, ...], max_age: int | None) -> None:
        super().__init__(description)
        self.acr_values = acr_values
        """Any of which is enough; empty if the level does not matter."""
        self.max_age = max_age
        """Seconds; None if the age does not matter."""


class UnauthorizedClient(CscError):
    """The client may not use the method in this way."""

    code = "unauthorized_client"
    status = 403


class AccessDenied(CscError):
    """The person did not approve (10.1)."""

    code = "access_denied"
    status = 403

    def __init__(self) -> None:
        super().__init__("The user or Remote Service denied the request.")


class TooManyRequests(CscError):
    """More than the client, the person, the credential or strangers may ask for in this time."""

    code = "temporarily_unavailable"
    status = 429

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many requests")
        self.retry_after = retry_after
        """Seconds."""


class Reported(CscError):
    """What a request came to that was carried out later."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = status  # type: ignore[misc] # of the instance, for once
        self.code = code  # type: ignore[misc] # as above


class InvalidAuthenticationData(CscError):
    """What the person typed was not accepted (11.6)."""

    code = "invalid_authentication_data"

    def __init__(self) -> None:
        super().__init__("The authentication data is invalid")


class InvalidPin(CscError):
    """The PIN was not accepted (1.0.4.0, 11.5)."""

    code = "invalid_pin"


class InvalidOtp(CscError):
    """The one-time code was not accepted (1.0.4.0, 11.5)."""

    code = "invalid_otp"


class AuthenticationFailed(CscError):
    """User name or password is not right, or the person may not sign in so (11.2); what it was is never told."""

    code = "authentication_error"

    def __init__(self) -> None:
        super().__init__("An error occurred during authentication process")


class MalformedAuthentication(CscError):
    """There is no user name with a password where ``auth/login`` looks for them (11.2)."""

    code = "invalid_request"
    status = 401

    def __init__(self) -> None:
        super().__init__("Malformed authentication parameter")


class NotImplementedHere(CscError):
    """A method of the specification that this service does not have."""

    code = "invalid_request"
    status = 501

    def __init__(self) -> None:
        super().__init__(NOT_IMPLEMENTED)


class InvalidHash(CscError):
    """A document or its digest is none of those that were approved."""

    code = "invalid_hash"
    status = 403

    def __init__(self) -> None:
        super().__init__("Document or documentDigest does not match authorized hash")


class ServerError(CscError):
    """Something that is not the caller's fault and that an operator has to look at."""

    code = "server_error"
    status = 500

    def __init__(self) -> None:
        super().__init__("The service could not handle the request")


class TemporarilyUnavailable(CscError):
    """The activation module, its device or its audit chain is not there now."""

    code = "temporarily_unavailable"
    status = 503


def missing(kind: str, name: str) -> InvalidRequest:
    """A required parameter is missing or is of another type than ``kind``."""
    return InvalidRequest(f"Missing (or invalid type) {kind} parameter {name}")


def missing_string(name: str) -> InvalidRequest:
    """A required string is missing or is not a string."""
    return missing("string", name)


def missing_array(name: str) -> InvalidRequest:
    """A required array is missing or is not an array."""
    return missing("array", name)


def invalid(name: str) -> InvalidRequest:
    """A parameter has a value that is refused."""
    return InvalidRequest(f"Invalid parameter {name}")


def invalid_of(kind: str, name: str) -> InvalidRequest:
    """A parameter of type ``kind`` has a value that is refused, where the specification says which type."""
    return InvalidRequest(f"Invalid {kind} parameter {name}")


OUT_OF_BOUNDS = "A parameter has a form or size that is not accepted"
OTHER_LEVEL = "A different authentication level is required"
MORE_RECENT = "More recent authentication is required"
MALFORMED_HEADER = "Malformed authorization header"
EMPTY_HASHES = "Empty hash array"
INVALID_BASE64 = "Invalid Base64 hash string parameter"
INVALID_LENGTH = "Invalid digest value length"
NOT_AUTHORIZED = "Hash is not authorized by the SAD"
NO_STAMP = "No time-stamping authority is available"
NO_EVIDENCE = "No revocation data is available that is fresh enough"
SAD_EXPIRED = "SAD expired"
USER_ID_NOT_NULL = "userID parameter MUST be null"
INVALID_NUMBER = "Invalid value for parameter numSignatures"
TOO_MANY_SIGNATURES = "Numbers of signatures is too high"
NOT_REGISTERED = "The client is not registered for approval out of band"
HANDLE_EXPIRED = "The handle has expired"
USER_ID_SHALL_BE_NULL = "userID parameter SHALL be null"
VALIDITY_OUT_OF_BOUNDS = "Out of bounds parameter validity_period"
STILL_PROCESSED = "The previous async request has been accepted but not yet completed"
WRONG_PIN = "The PIN is invalid"
PIN_LOCKED = "PIN locked"
WRONG_OTP = "The OTP is invalid"
OTP_LOCKED = "OTP locked"
LOCKED = "Credential locked"
TOO_SOON = "The next code cannot be sent yet"
AUTHORIZED_ELSEWHERE = "The credential identified by credentialID is authorized with OAuth 2.0"
MALFORMED_PASSWORD = "Malformed username-password"
MALFORMED_REFRESH_TOKEN = "Invalid string parameter: refresh_token"
INVALID_REFRESH_TOKEN = "Invalid refresh_token"
CREDENTIAL_DISABLED = "The credential identified by credentialID is disabled"
EMPTY_DOCUMENTS = "Empty documentDigests and documents objects"
BOTH_DOCUMENTS = "Both documentDigests and documents parameters passed"
INVALID_HASHES = "Invalid Base64 hashes string parameter"
INVALID_DOCUMENTS = "Invalid Base64 documents string parameter"
NOT_SIGNABLE = "A document cannot be signed in the requested format"
CONTRADICTION = "String parameter hashAlgorithmOID contradicts with signAlgo parameter"
DOCUMENTS_NOT_AUTHORIZED = "documentDigests or documents are not authorized by the SAD"
CERTIFICATE_EXPIRED = "Signing certificate is expired"
CERTIFICATE_REVOKED = "Signing certificate is revoked"
CERTIFICATE_SUSPENDED = "Signing certificate is suspended"
NO_STATUS = "The status of the signing certificate cannot be told"
NOT_JSON = "The request must be of type application/json"
NO_JSON_OBJECT = "The request is not a JSON object"
MAY_NOT_NAME_USER = "The client is not authorized to name a user"
NOT_IMPLEMENTED = "The method is not implemented by this service"
MODULE_UNREACHABLE = "The signature activation module cannot be reached"
ISSUER_UNREACHABLE = "The authorization server cannot be reached"
AUTHORITY_UNREACHABLE = "The certification authority cannot be reached"
DEVICE_UNAVAILABLE = "The signature creation device is not available"
AUDIT_UNAVAILABLE = "The audit record cannot be written"
LEDGER_SET_BACK = "The ledger has to be restored"
BUSY = "The service is busy"
INDETERMINATE = "The outcome is not known; the authorization is spent"
TOO_LARGE = "The request is too large"
NO_SUCH_METHOD = "There is no such method"
UNREADABLE = "The request cannot be read"
NO_JOBS_NOW = "Asynchronous requests cannot be taken in or fetched now"


def expired_certificate(organization: str | None, common_name: str | None) -> InvalidRequest:
    """The credential's certificate is not valid any more (1.0.4.0, 11.9): with what it has of the two."""
    named = ",".join(f"{short}={name}" for short, name in (("O", organization), ("CN", common_name)) if name)
    return InvalidRequest(f"Signing certificate '{named}' is expired")


def not_signable(reason: str, codes: Iterable[str] = ()) -> InvalidRequest:
    """A PDF that was examined is not to be signed.

    :param reason: of :data:`documents.errors.REASONS`.
    :param codes: of findings.
    """
    listed = ", ".join(codes)
    return InvalidRequest(f"{NOT_SIGNABLE}: {REASONS[reason]}{f' ({listed})' if listed else ''}")


def invalid_properties(names: Iterable[str]) -> InvalidRequest:
    """Attributes that are not taken (2.0.0.2, 11.11).

    :param names: of these, those that the specification has; what else was said is not repeated.
    """
    listed = ", ".join(names)
    return InvalidRequest(f"Invalid parameter signed_props ({listed})") if listed else invalid("signed_props")
