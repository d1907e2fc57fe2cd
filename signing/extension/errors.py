"""What is wrong with files that are to be lifted."""

from __future__ import annotations

from signing.errors import SigningError


class ExtensionError(SigningError):
    """Base of these; never raised itself."""


class FileUnusable(ExtensionError):
    """A file cannot be read or written."""

    code = "file_unusable"


class FileChanged(ExtensionError):
    """A file was changed while it was lifted."""

    code = "file_changed"


class NoStamp(ExtensionError):
    """No time-stamping authority gives a stamp."""

    code = "no_stamp"


class FileRefused(ExtensionError):
    """A file is not one that is read outside a confined process."""

    code = "document_refused"


class NotExamined(ExtensionError):
    """No confined process was there to look at a file: nothing is known of it."""

    code = "examiner_unavailable"
