"""Which tests must share a test process when several run side by side.

The tests of the running product share one installation. xdist's own grouping (`--dist loadgroup`) rewrites an
attribute that pytest 9.2 no longer has, and then silently groups nothing (pytest-xdist 3.8.0, its issue 1386); so the
folder decides.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

SHARED_FOLDERS = ("tests/e2e/",)


def scope_of(nodeid: str) -> str:
    """The group of a test: its folder where that is shared, else the test itself."""
    return next((folder for folder in SHARED_FOLDERS if nodeid.startswith(folder)), nodeid)


class FolderScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist is not typed here
    """Hands whole groups to a test process, the largest first."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
