"""What can go wrong for a relying party or a person; each cause is a class with a code and an exit status."""

from __future__ import annotations

from typing import ClassVar


class ExampleError(Exception):
    """Base of everything the examples raise; never raised itself. The text is safe to show to a person."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1


class UsageError(ExampleError):
    """A file or an option that this program was given cannot be used."""

    code = "usage"
    exit_status = 2


class PersonRefusedError(ExampleError):
    """The identity provider did not accept what the person entered (password, one-time code)."""

    code = "person_refused"
    exit_status = 3


class AuthorizationRefusedError(ExampleError):
    """The authorization server answered with an OAuth error: the policy said no, or the person did."""

    code = "authorization_refused"
    exit_status = 4

    def __init__(self, error: str, description: str = "") -> None:
        super().__init__(f"{error}: {description}" if description else error)
        self.error = error
        """The `error` code of RFC 6749 section 4.1.2.1 or 5.2; unknown text, to be escaped where it is shown."""
        self.description = description


class ResponseForgedError(ExampleError):
    """An answer that does not belong to our request: wrong state, issuer, nonce or signature."""

    code = "response_forged"
    exit_status = 5


class ProtocolError(ExampleError):
    """An answer that the protocol does not allow: a field missing, a page or a status that nobody expects."""

    code = "protocol"
    exit_status = 5


class ServiceRefusedError(ExampleError):
    """The signing service refused a call (CSC error body)."""

    code = "service_refused"
    exit_status = 5

    def __init__(self, status: int, error: str, description: str = "") -> None:
        super().__init__(f"HTTP {status} {error}: {description}" if description else f"HTTP {status} {error}")
        self.status = status
        self.error = error
        self.description = description


class StepUpRequiredError(ServiceRefusedError):
    """The signing service wants the person to authenticate otherwise or anew (RFC 9470); ask for these values."""

    code = "step_up_required"

    def __init__(self, description: str, acr_values: tuple[str, ...], max_age: int | None) -> None:
        super().__init__(401, "insufficient_user_authentication", description)
        self.acr_values = acr_values
        self.max_age = max_age


class CodeNotReceivedError(ExampleError):
    """The one-time code did not reach the development inbox in time."""

    code = "code_not_received"
    exit_status = 6


class UnreachableError(ExampleError):
    """No answer over the network."""

    code = "unreachable"
    exit_status = 7


class PdfNotAcceptableError(ExampleError):
    """The file is not a PDF that can be signed: damaged, encrypted, certified against changes."""

    code = "pdf_not_acceptable"
    exit_status = 2


class SignatureValueError(ExampleError):
    """The value that came back is not a signature of what was prepared with the certificate's key."""

    code = "signature_value"
    exit_status = 8


class VerdictError(ExampleError):
    """The signed PDF was made, and an independent validation does not accept it."""

    code = "not_valid"
    exit_status = 8


class FormNotCurrentError(ExampleError):
    """A form was sent without the token of this visit: sent by another site, or the visit has ended."""

    code = "form_not_current"
