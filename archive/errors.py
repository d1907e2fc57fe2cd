"""Errors of backups."""

from __future__ import annotations

from foundation.errors import PrivySealError


class ArchiveError(PrivySealError):
    """Base of what goes wrong with a backup; never raised itself."""

    code = "archive"


class RecipientInvalid(ArchiveError):
    """A recipient or an identity is not in age's form."""

    code = "recipient_invalid"


class NotForUs(ArchiveError):
    """The file is encrypted to other recipients than the identities that were given."""

    code = "not_for_us"


class NotWritten(ArchiveError):
    """The file could not be written: no room, no right."""

    code = "not_written"


class ArchiveBroken(ArchiveError):
    """The file is no backup, was altered, or ends before its end."""

    code = "archive_broken"


class ArchiveForeign(ArchiveError):
    """The backup is of another side, installation or schema."""

    code = "archive_foreign"


class NotEmpty(ArchiveError):
    """The database to restore into has rows already."""

    code = "not_empty"


class DatabaseFailed(ArchiveError):
    """The database cannot be read, or refused what was restored."""

    code = "database_failed"
