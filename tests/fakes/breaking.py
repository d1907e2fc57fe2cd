"""The examiner's confined process, with a flaw: some documents break it."""

from __future__ import annotations

import ctypes
import logging
import os

from documents import worker
from foundation.sandbox import serve

CRASH, EXHAUST, LIE = b"% CRASH\n", b"% EXHAUST\n", b"% LIE\n"
"""Behind a document's first line."""


def work(document: bytes, argument: bytes) -> bytes:
    """Examine; or die, want all memory, or say what is no examination."""
    if CRASH in document:
        ctypes.string_at(1)
    if EXHAUST in document:
        return b"x" * (1 << 40)
    if LIE in document:
        return b'{"refused": "' + str(os.getpid()).encode() + b'"}'
    return worker.work(document, argument)


if __name__ == "__main__":
    logging.disable()
    serve(work)
