"""Why a document is refused, or not looked at."""

from __future__ import annotations

from typing import Final

from foundation.errors import PrivySealError

REASONS: Final = {
    "not_a_pdf": "the document is not a PDF",
    "malformed": "the PDF is damaged",
    "encrypted": "the PDF is encrypted",
    "hybrid": "the PDF has two cross-references that may differ (a hybrid-reference file)",
    "xfa": "the PDF is an XFA form",
    "too_large": "the document is too large",
    "too_many_objects": "the PDF has too many objects, pages, revisions or signatures",
    "too_deep": "the PDF is nested too deeply",
    "expands_too_far": "what is compressed in the PDF is too large",
    "too_complex": "reading the PDF takes too much time or memory",
    "signature_broken": "a signature that the PDF already has does not fit what it covers",
    "changed_after_signature": "the PDF was changed after it was signed, beyond what its signature permits",
    "certified_final": "the PDF is certified against any further signature",
    "finding_refused": "the PDF contains what is not accepted here",
}
"""Code to what is told of it, behind a colon."""


class DocumentsError(PrivySealError):
    """Base of these; never raised itself."""


class DocumentRefused(DocumentsError):
    """The document is not one to be signed; ``reason`` is of :data:`REASONS`, and quotes nothing of it."""

    code = "document_refused"

    def __init__(self, reason: str, detail: str = "") -> None:
        """
        :param detail: for operators: a place in the file, or a code; nothing that the file says.
        """
        super().__init__(f"{REASONS[reason]}{f' ({detail})' if detail else ''}")
        self.reason = reason
        self.detail = detail


class ExaminerUnavailable(DocumentsError):
    """No confined process was there to look at it: nothing is known of the document."""

    code = "examiner_unavailable"


class RenderFailed(DocumentsError):
    """A page takes too long or too much to draw, or is not there."""

    code = "render_failed"


class RenderBusy(DocumentsError):
    """There is nobody to draw a page now."""

    code = "render_busy"
