"""The confined process in which documents are validated: ``python -m signing.validation.worker``."""

from __future__ import annotations

import logging

import cryptography.hazmat.backends.openssl.backend  # noqa: F401 - loaded now: see below
import lxml.etree  # noqa: F401 - loaded now: see below
import pyhanko.pdf_utils.filters  # noqa: F401 - loaded now: see below

from foundation.sandbox import serve
from signing.ades.validate.document import validate_with_chains
from signing.ades.validate.readable import lines
from signing.ades.validate.report import as_json
from signing.validation.exchange import NAME, Result, Task

# The libraries load some of their parts when a document needs them.  A confined process that waits for its file may not
# find them any more: it was let read what lay in their place when it was forked, and that may have been replaced since.


def work(octets: bytes, _argument: bytes) -> bytes:
    """Validate."""
    task = Task.from_octets(octets)
    report, chains = validate_with_chains(task.document, task.policy, task.circumstances)
    return Result(as_json(report), "\n".join(lines(NAME, report)), chains).to_octets()


if __name__ == "__main__":
    # What a parser says of a file quotes it, and nobody reads it.
    logging.disable()
    serve(work)
