"""What keeps an operator's command from doing what was asked."""

from __future__ import annotations

from foundation.errors import PrivySealError


class OperatorError(PrivySealError):
    """Base of the errors of this package; never raised itself."""


class KeyFileUnusable(OperatorError):
    """The key's file is no operator's private key, or the passphrase is not its own."""

    code = "key_file"


class InputUnusable(OperatorError):
    """A file or an argument is not what it should be."""

    code = "input"
