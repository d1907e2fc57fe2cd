"""Reads a PDF's signatures: those that can be read, and those that only pretend (ISO 32000-2 clause 12.8)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

from asn1crypto import cms
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel, SuspiciousModification
from pyhanko.sign.fields import MDPPerm, enumerate_sig_fields
from pyhanko.sign.general import SigningError as PyHankoSigningError
from pyhanko.sign.general import ValueErrorWithMessage
from pyhanko.sign.validation import EmbeddedPdfSignature, SignatureCoverageLevel
from pyhanko.sign.validation.errors import SignatureValidationError

from documents.faults import OF_PARSER
from signing.ades.errors import DocumentNotReadable
from signing.ades.validate.policy import MAX_SIGNATURES
from signing.ades.validate.report import Change, Modifications

log = logging.getLogger(__name__)

FAULTS: Final = (
    *OF_PARSER,
    PyHankoSigningError,
    SignatureValidationError,
    ValueErrorWithMessage,
    # asn1crypto, about the size of a key of a kind that it does not know.
    UnboundLocalError,
)
_SIGNATURES: Final = frozenset({"/ETSI.CAdES.detached", "/adbe.pkcs7.detached"})
_TIMESTAMPS: Final = frozenset({"/ETSI.RFC3161"})
_CHANGES: Final[dict[ModificationLevel, Change]] = {
    ModificationLevel.NONE: "none",
    ModificationLevel.LTA_UPDATES: "maintenance",
    ModificationLevel.FORM_FILLING: "forms_and_signatures",
    ModificationLevel.ANNOTATIONS: "annotations",
    ModificationLevel.OTHER: "not_allowed",
}
_READER: Any = PdfFileReader


@dataclass(frozen=True, slots=True)
class Embedded:
    """A signature or document time-stamp in its field."""

    name: str
    subfilter: str
    stamps: bool
    """It is a document time-stamp."""
    signature: Any = field(default=None, repr=False)
    """pyHanko's; None: it cannot be read, or is of a kind that is not validated."""
    modifications: Modifications | None = None
    trouble: str | None = None
    """What is wrong with its form."""

    @property
    def revision(self) -> int:
        """The number of the revision that it signs; those that cannot be read come last."""
        return 1 << 30 if self.signature is None else int(self.signature.signed_revision)

    @property
    def signed(self) -> cms.SignedData:
        """Its CMS."""
        return self.signature.signed_data

    @property
    def value(self) -> bytes:
        """Of the signature itself."""
        found: bytes = self.signature.signer_info["signature"].native
        return found

    def imprint(self, hash_name: str) -> bytes:
        """The digest of what its byte range covers."""
        digest: bytes = self.signature.compute_digest(hash_name)
        return digest


def open_pdf(document: bytes) -> Any:
    """pyHanko's reader.

    :raises DocumentNotReadable: no PDF, damaged, or encrypted.
    """
    try:
        reader = _READER(BytesIO(document))
        if reader.encrypted:
            raise DocumentNotReadable("the PDF is encrypted")
        # Looked at here: what is not a PDF at all shows at once.
        _ = reader.root
    except FAULTS as error:
        raise DocumentNotReadable("the document is not a PDF, or is damaged") from error
    return reader


def embedded_in(reader: Any) -> tuple[Embedded, ...]:
    """All filled signature fields, in the order of their revisions.

    :raises DocumentNotReadable: the form cannot be read, or has too many signatures.
    """
    try:
        fields = list(enumerate_sig_fields(reader, filled_status=True))
    except FAULTS as error:
        raise DocumentNotReadable("the document's form cannot be read") from error
    if len(fields) > MAX_SIGNATURES:
        raise DocumentNotReadable(f"the document has more than {MAX_SIGNATURES} signatures")
    return tuple(sorted(_each(reader, fields), key=lambda found: found.revision))


def _each(reader: Any, fields: list[tuple[str, Any, Any]]) -> Iterator[Embedded]:
    for name, value, place in fields:
        try:
            dictionary = value.get_object()
            subfilter, kind = str(dictionary.get("/SubFilter", "")), str(dictionary.get("/Type", "/Sig"))
        except FAULTS as error:
            log.info("a signature field cannot be read", exc_info=error)
            yield Embedded(name, "", stamps=False, trouble="the signature's dictionary cannot be read")
            continue
        stamps = kind == "/DocTimeStamp"
        if subfilter not in (_TIMESTAMPS if stamps else _SIGNATURES):
            yield Embedded(name, subfilter, stamps, trouble="signatures of this kind are not validated")
            continue
        yield _opened(reader, name, place, subfilter, stamps=stamps)


def _opened(reader: Any, name: str, place: Any, subfilter: str, *, stamps: bool) -> Embedded:
    try:
        signature: Any = EmbeddedPdfSignature(reader, place, name)
        expected = "tst_info" if stamps else "data"
        if signature.signed_data["encap_content_info"]["content_type"].native != expected:
            return Embedded(name, subfilter, stamps, trouble="its content is of another type")
        signature.compute_integrity_info()
        changed = _modifications(signature)
    except FAULTS as error:
        log.info("a signature cannot be read", exc_info=error)
        return Embedded(name, subfilter, stamps, trouble="the signature cannot be read, or is in a hybrid file")
    return Embedded(name, subfilter, stamps, signature, changed, _trouble(signature, changed))


def _modifications(signature: Any) -> Modifications:
    coverage, difference = signature.coverage, signature.diff_result
    permission = signature.docmdp_level
    if difference is None or isinstance(difference, SuspiciousModification):
        level = ModificationLevel.OTHER
    else:
        level = difference.modification_level
    allowed = level is not ModificationLevel.OTHER and (permission is None or level.value <= permission.value)
    return Modifications(
        level=_CHANGES[level],
        covers_whole_file=coverage is SignatureCoverageLevel.ENTIRE_FILE,
        allowed=allowed,
        certification=_certification(permission),
    )


def _certification(permission: MDPPerm | None) -> Any:
    words = {MDPPerm.NO_CHANGES: "no_changes", MDPPerm.FILL_FORMS: "forms", MDPPerm.ANNOTATE: "forms_and_annotations"}
    return "none" if permission is None else words[permission]


def _trouble(signature: Any, changed: Modifications) -> str | None:
    if signature.coverage < SignatureCoverageLevel.ENTIRE_REVISION:
        return "the signature does not cover the whole document as it was when it was signed"
    if not changed.allowed:
        return "the document was changed after the signature in a way that the signature does not allow"
    return None
