"""A clock that steps under a running process: libfaketime, told by a file that each look at the clock reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SteppedClock:
    """The wall clock of processes that run with :attr:`environment`; their monotonic one goes on as it does."""

    file: Path

    @property
    def environment(self) -> dict[str, str]:
        """What such a process is started with."""
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        assert found, "the Debian package libfaketime is missing (script/test installs it)"
        if not self.file.exists():
            self.step(0)
        return {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """From now on the clock is so far ahead of the real one; behind it, if negative."""
        following = self.file.with_suffix(".next")
        following.write_text(f"{seconds:+d}\n")
        following.replace(self.file)
