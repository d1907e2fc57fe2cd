"""Which tests must share a test process when several run side by side.

The tests of the running product share one installation. xdist's own grouping (`--dist loadgroup`) rewrites an
attribute that pytest 9.2 no longer has, and then silently groups nothing (pytest-xdist 3.8.0, its issue 1386); so the
folder decides.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SHARED_FOLDERS = ("tests/e2e/",)


def scope_of(nodeid: str) -> str:
    """The group of a test: its folder where that is shared, else its file, which may share what it starts."""
    return next((folder for folder in SHARED_FOLDERS if nodeid.startswith(folder)), nodeid.partition("::")[0])


class FolderScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist is not typed here
    """Hands whole groups to a test process, in the order in which they were collected.

    The running product comes early and the unit tests, whose files take seconds, last: no test process waits long for
    the other one at the end.  By the number of tests, the largest unit tests would come before the running product.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
