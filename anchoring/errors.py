"""What keeps the anchor process from its work.  None of it stops signing; all of it is an alarm."""

from __future__ import annotations

from foundation.errors import PrivySealError


class AnchorError(PrivySealError):
    """Base of the errors of this package; never raised itself."""


class AnchorFileUnusable(AnchorError):
    """The file of anchors cannot be read or written, or a line of it is none that this process wrote."""

    code = "anchor_file"


class NotStamped(AnchorError):
    """No time-stamping authority gave a stamp."""

    code = "not_stamped"


class PartMissing(AnchorError):
    """A part of a signature's evidence is not to be had, or the evidence cannot be written."""

    code = "evidence_part_missing"


class DatabaseUnusable(AnchorError):
    """The database with the chain cannot be read."""

    code = "database_unusable"
