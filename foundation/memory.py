"""What a server does about memory once it is complete."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LARGE_OCTETS: Final = 1024 * 1024
"""Blocks from this size on are the system's again at once when they are free."""
_MMAP_THRESHOLD: Final = -3
"""``M_MMAP_THRESHOLD`` of ``malloc.h``."""
_MAPPINGS: Final = Path("/proc/self/smaps")
_MAPPING: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) rw-p [0-9a-f]+ 00:00 0 *(?:\[heap\])?\n(?:Size|\w+PageSize):.*\n(?:\w+PageSize:.*\n)*"
    r"Rss: +(\d+) kB$",
    re.MULTILINE,
)
"""Of proc_pid_smaps(5), memory of the process's own that it writes to: from, to, and how much of it is there."""
_LARGE_PAGE: Final = 2 * 1024 * 1024
_MADV_COLLAPSE: Final = 25
"""Of ``linux/mman.h``."""
_MOSTLY: Final = 0.9


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


def use_large_pages() -> int:
    """Have what is in memory now lie in large pages, where the system can do that at once (Linux 6.1 and later).

    What a request needs is strewn over all of Python's memory, so that the processor does not keep where its small
    pages are, and looks each up anew.  Only memory that is in use nearly throughout: a thread's stack would otherwise
    take a large page for the few small ones that it uses.  To be called once, after :func:`keep_for_good`.

    :returns: how many octets lie in large pages now.
    """
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if advise is None:
        return 0
    # Best effort: an older system, one that does not tell, or one without room leaves everything as it is.
    try:
        mappings = _MAPPINGS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    done = 0
    for begin, end in _in_use(mappings):
        if advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_COLLAPSE) == 0:
            done += end - begin
    return done


def _in_use(mappings: str) -> Iterator[tuple[int, int]]:
    """Of mappings that are in memory nearly throughout, what large pages fit into: from, to."""
    for found in _MAPPING.finditer(mappings):
        begin, end, there = int(found[1], 16), int(found[2], 16), int(found[3]) * 1024
        first, last = -(-begin // _LARGE_PAGE) * _LARGE_PAGE, end // _LARGE_PAGE * _LARGE_PAGE
        if last > first and there >= _MOSTLY * (end - begin):
            yield first, last
