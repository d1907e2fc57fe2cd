"""Errors of enrolment."""

from __future__ import annotations

from foundation.errors import PrivySealError


class StillInUse(PrivySealError):
    """A certificate is to be revoked, and its credential has not ended."""

    code = "still_in_use"
