"""Base of the signing side's errors."""

from __future__ import annotations

from foundation.errors import PrivySealError


class SigningError(PrivySealError):
    """Base of all errors of the signing side; never raised itself."""
