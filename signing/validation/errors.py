"""What is wrong with a request to validate, or with who should."""

from __future__ import annotations

from signing.errors import SigningError


class ValidationError(SigningError):
    """Base of these; never raised itself."""


class TooComplex(ValidationError):
    """The document takes more time or memory than one may."""

    code = "document_too_complex"


class ValidatorUnavailable(ValidationError):
    """No confined process is free, or can be started."""

    code = "temporarily_unavailable"
