"""PDFs that come with ``signatures/signDoc``, examined in confined processes before the SAD is spent on them."""

from __future__ import annotations

from collections.abc import Iterable

from documents.bounds import Bounds
from documents.errors import DocumentRefused, ExaminerUnavailable
from documents.examiner import Examiner, ExaminerSettings
from documents.findings import ACTIVE, APPEARANCE, Examination
from foundation.errors import SettingsError
from signing.csc import errors
from signing.csc.document_requests import Wish
from signing.settings import DocumentsSettings


class Intake:
    """What is taken in; may be used by any thread."""

    def __init__(self, settings: DocumentsSettings, examiner: Examiner | None = None) -> None:
        """:raises SettingsError: ``refuse`` has a code that no finding has."""
        self._refused = frozenset(settings.refuse)
        if unknown := sorted(self._refused - ACTIVE - APPEARANCE):
            raise SettingsError(tuple(f"documents.refuse: {code!r} is no finding" for code in unknown))
        self._examiner = examiner or Examiner(
            ExaminerSettings(
                workers=settings.workers,
                memory=settings.max_memory,
                seconds=settings.max_seconds,
                bounds=Bounds(
                    octets=settings.max_body,
                    objects=settings.max_objects,
                    pages=settings.max_pages,
                    expanded_octets=settings.max_expanded,
                ),
            )
        )

    def check(self, wishes: Iterable[Wish]) -> None:
        """Examine those that are PDFs and are here, each once.

        :raises errors.InvalidRequest: one is not to be signed; the reason is told, and nothing that it says.
        :raises errors.TemporarilyUnavailable: nobody is there to look.
        """
        # All are of one request: of one client, approved together.
        documents = {wish.digest: wish.document for wish in wishes if wish.form == "P" and wish.document}
        try:
            for examination in self._examiner.examine_all(documents.values()):
                self._check_findings(examination)
        except DocumentRefused as error:
            raise errors.not_signable(error.reason) from error
        except ExaminerUnavailable as error:
            raise errors.TemporarilyUnavailable(errors.BUSY) from error

    def _check_findings(self, examination: Examination) -> None:
        found = sorted({finding.code for finding in examination.findings} & self._refused)
        if found:
            raise errors.not_signable("finding_refused", found)
