"""What pyHanko raises about files that are no PDFs, or damaged ones, wherever it comes upon it."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from pyhanko.pdf_utils.misc import PdfError

OF_PARSER: Final = (
    PdfError,
    # What its parser trips over: it looks at some parts of a file late, and at streams when they are asked for.
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    NotImplementedError,
    zlib.error,
    struct.error,
)
