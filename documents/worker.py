"""The confined process in which documents are examined: ``python -m documents.worker``, started by the examiner."""

from __future__ import annotations

import gc
import json
import logging
from typing import Final

import cryptography.hazmat.backends.openssl.backend  # noqa: F401 - loaded now: a confined process may not find it later
import lxml.etree  # noqa: F401 - the same

from documents.bounds import Bounds
from documents.errors import DocumentRefused
from documents.examine import examine
from foundation.confinement import lower
from foundation.sandbox import serve

_MEBI: Final = 1024 * 1024
_LEAST_SECONDS: Final = 5
_SECONDS_A_MEBI: Final = 0.5
_LEAST_MEMORY: Final = 192 * _MEBI
"""Octets of address space, of which the interpreter and its libraries have a third."""
_TIMES: Final = 6
"""The document's own octets, and what is read of them."""


def work(document: bytes, argument: bytes) -> bytes:
    """Examine.

    :param argument: the bounds.
    :returns: an examination, or ``refused`` and ``detail``, in JSON.
    """
    size = len(document)
    seconds = int(_LEAST_SECONDS + _SECONDS_A_MEBI * size / _MEBI)
    lower(cpu_seconds=seconds, address_space=_LEAST_MEMORY + _TIMES * size)
    try:
        return examine(document, Bounds.of_text(argument.decode())).to_json()
    except DocumentRefused as refused:
        return json.dumps({"refused": refused.reason, "detail": refused.detail}).encode()
    finally:
        if size > _MEBI:
            # A reader refers to itself: a large document would be kept until the next one.
            gc.collect()


if __name__ == "__main__":
    # What a parser says of a file quotes it, and nobody reads it.
    logging.disable()
    serve(work)
