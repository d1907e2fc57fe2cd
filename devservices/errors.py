"""What can go wrong in a development service; a cause is a class, its wire code is in ``code``."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

from foundation.errors import PrivySealError


class DevelopmentServiceError(PrivySealError):
    """Base of the errors of the development services; never raised itself."""


class StartRefused(DevelopmentServiceError):
    """Base of what keeps a service from starting (exit status 2); never raised itself."""


class NotLoopback(StartRefused):
    """The address to listen on could be reached from another machine."""

    code = "not_loopback"


class PortTaken(StartRefused):
    """Something else listens on the port."""

    code = "port_taken"


class StateUnusable(StartRefused):
    """The state directory is not private, is damaged, or was made for another public address."""

    code = "state_unusable"


class OptionsInvalid(StartRefused):
    """Options of the command line that do not go together."""

    code = "options_invalid"


class RequestRefused(DevelopmentServiceError):
    """Base of the refusals that a caller sees; ``status`` is the HTTP status. Never raised itself."""

    status: ClassVar[int] = 400


class RequestMalformed(RequestRefused):
    """The request is not of the form this service understands."""

    code = "malformed_request"


class RequestTooLarge(RequestRefused):
    """The body exceeds the cap."""

    code = "request_too_large"
    status = 413


class NotFound(RequestRefused):
    """No such resource."""

    code = "not_found"
    status = 404


class MethodNotAllowed(RequestRefused):
    """The resource exists and does not take this method."""

    code = "method_not_allowed"
    status = 405


class HostRefused(RequestRefused):
    """The Host header names something other than this machine's loopback: DNS rebinding."""

    code = "host_refused"
    status = 421


class CallerUnknown(RequestRefused):
    """The caller's bearer token is missing or wrong."""

    code = "unauthorized"
    status = 401


class CsrInvalid(RequestRefused):
    """The PKCS#10 cannot be read, or its key or signature algorithm is not accepted."""

    code = "csr_invalid"


class ProofOfPossessionFailed(RequestRefused):
    """The PKCS#10 is not signed with the key it carries (RFC 2986 clause 3)."""

    code = "proof_of_possession_failed"


class SubjectMismatch(RequestRefused):
    """The PKCS#10 names another subject than the caller did."""

    code = "subject_mismatch"


class SubjectInvalid(RequestRefused):
    """The subject the caller named cannot stand in a certificate."""

    code = "subject_invalid"


class IdempotencyConflict(RequestRefused):
    """The idempotency key was used for another request."""

    code = "idempotency_conflict"
    status = 409


class CertificateUnknown(RequestRefused):
    """The certificate was not issued here."""

    code = "certificate_unknown"
    status = 404


class ReasonUnknown(RequestRefused):
    """Not a revocation reason of RFC 5280 clause 5.3.1 that an end entity's certificate can have here."""

    code = "reason_unknown"


class TwilioRefusal(DevelopmentServiceError):
    """A refusal of the messaging endpoint; ``twilio_code`` is a number of Twilio's error dictionary."""

    code = "twilio_refusal"

    def __init__(self, status: HTTPStatus, twilio_code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.twilio_code = twilio_code
