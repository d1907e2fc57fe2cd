"""What a server does about memory once it is complete."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

LARGE_OCTETS: Final = 1024 * 1024
"""Blocks from this size on are the system's again at once when they are free."""
_MMAP_THRESHOLD: Final = -3
"""``M_MMAP_THRESHOLD`` of ``malloc.h``."""


def keep_for_good() -> None:
    """Say that everything which is there now stays until the process ends.

    Python's collector looks through all that lives long every now and then, within whichever request happens to be
    under way; modules, routes and the policy are most of that, and are never garbage.  What is made later is looked
    after as before.  To be called once, by the process that serves, when its application is made.
    """
    gc.collect()
    gc.freeze()


def give_back_large_blocks() -> None:
    """Have free blocks of a document's size go back to the system at once, where the C library is glibc.

    By itself it moves that bound up to the largest block that was ever freed; each thread that handles a document then
    keeps several times its size for good (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE_OCTETS)
