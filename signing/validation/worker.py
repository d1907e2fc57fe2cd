"""The confined process in which documents are validated: ``python -m signing.validation.worker``."""

from __future__ import annotations

import logging

from foundation.sandbox import serve
from signing.ades.validate.document import validate_with_chains
from signing.ades.validate.readable import lines
from signing.ades.validate.report import as_json
from signing.validation.exchange import NAME, Result, Task


def work(octets: bytes, _argument: bytes) -> bytes:
    """Validate."""
    task = Task.from_octets(octets)
    report, chains = validate_with_chains(task.document, task.policy, task.circumstances)
    return Result(as_json(report), "\n".join(lines(NAME, report)), chains).to_octets()


if __name__ == "__main__":
    # What a parser says of a file quotes it, and nobody reads it.
    logging.disable()
    serve(work)
