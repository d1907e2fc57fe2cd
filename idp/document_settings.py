"""Settings of the documents that are shown before they are approved: the table ``[documents]``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """Documents that are fetched from relying parties and shown."""

    max_octets: int = 20 * _MIB
    """Of one document."""
    max_total_octets: int = 60 * _MIB
    """Of all documents of one approval."""
    kept_octets: int = 1024 * _MIB
    """Of all approvals that are open, in the database."""
    fetch_seconds: float = 10.0
    """For all documents of one approval; what has not come by then is asked for again when the person wants it."""
    fetching: int = 4
    """Approvals whose documents are fetched at one time; each keeps a thread of the server busy."""
    drawing: int = 2
    """Pages that are drawn at one time, each in a process of its own."""

    def faults(self) -> Iterable[str]:
        """What types cannot say."""
        if not 1024 <= self.max_octets <= self.max_total_octets <= self.kept_octets:
            yield "max_octets is at least 1024, at most max_total_octets, and that at most kept_octets"
        if self.max_octets > 100 * _MIB:
            yield "max_octets is at most 104857600"
        if not 1 <= self.fetch_seconds <= 30:
            yield "fetch_seconds is 1 to 30"
        if not 1 <= self.fetching <= 64 or not 1 <= self.drawing <= 32:
            yield "fetching is 1 to 64, drawing is 1 to 32"
