"""Further revisions of a PDF, each behind what was there before (ISO 32000-2 7.5.6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.general import SigningError as PyHankoSigningError
from pyhanko.sign.validation.errors import SignatureValidationError, ValidationInfoReadingError

from documents.faults import OF_PARSER
from signing.ades.errors import DocumentNotAcceptable

_FAULTS: Final = (
    *OF_PARSER,
    PyHankoSigningError,
    SignatureValidationError,
    ValidationInfoReadingError,
)


@contextmanager
def parsing() -> Iterator[None]:
    """Whatever pyHanko says of a file, in our words.

    :raises DocumentNotAcceptable: it said something.
    """
    try:
        yield
    except _FAULTS as error:
        raise DocumentNotAcceptable("the PDF is damaged, or does not take another revision") from error


def writer_of(pdf: bytes) -> Any:
    """pyHanko's writer of one more revision; to be used within :func:`parsing`.

    :raises DocumentNotAcceptable: the PDF is encrypted.
    """
    writer = IncrementalPdfFileWriter(BytesIO(pdf))
    if writer.prev.encrypted:
        raise DocumentNotAcceptable("the PDF is encrypted")
    return writer
