"""Work for a confined process that tells what is open in it."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress

from foundation.sandbox import serve

MOST = 4096
"""Descriptors that are looked at: far more than the process may open itself."""


def told() -> bytes:
    """Of each descriptor that is open: kind, device and inode."""
    found = []
    for descriptor in range(MOST):
        with suppress(OSError):
            status = os.fstat(descriptor)
            found.append([stat.S_IFMT(status.st_mode), status.st_dev, status.st_ino, status.st_rdev])
    return json.dumps(found).encode()


def work(document: bytes, argument: bytes) -> bytes:
    """What is open; where the file says ``ahead``, after an answer that was none, so that another process follows."""
    if document == b"ahead":
        for descriptor in range(3, MOST):
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    # As its answer, and unasked.
                    os.write(descriptor, b"\0\0\1")
                    os.write(descriptor, b"\0\0\1")
    return told()


if __name__ == "__main__":
    serve(work)
