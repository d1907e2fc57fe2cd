"""An identity provider that tells what its hashes cost: processor time of the thread that verifies, around each one.

Nothing but the benchmark starts it.  It is what ``wsgi:idp`` is, with a look at a clock around each verification;
what is shipped has no such look.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from foundation import log
from foundation.settings import load, process_environment
from idp.app import create_app, open_database
from idp.authn.password import KEY, Passwords
from idp.serving import served
from idp.settings import IdpSettings, PasswordSettings
from idp.storage import authenticators
from idp.storage.engine import reading
from idp.storage.keys import KeyStore

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

TALLIES: Final = "PRIVYSEAL_BENCHMARK_TALLIES"
"""The environment variable that names the directory of the tallies, one file a process."""
_SUMS: Final = struct.Struct("=QQ")


@dataclass(frozen=True, slots=True)
class Tally:
    """What verifications have cost so far."""

    count: int
    nanoseconds: int

    @classmethod
    def of(cls, directory: Path) -> Tally:
        """Of all processes that write to a directory."""
        sums = [_SUMS.unpack(each.read_bytes()) for each in directory.iterdir()]
        return cls(sum(count for count, _spent in sums), sum(spent for _count, spent in sums))

    def milliseconds_since(self, before: Tally) -> float:
        """Of one verification, in the mean.

        :raises ValueError: there was none.
        """
        count = self.count - before.count
        if count <= 0:
            raise ValueError("nothing was verified")
        return (self.nanoseconds - before.nanoseconds) / count / 1e6


class Measured(Passwords):
    """Verifies as :class:`Passwords` does, and keeps a tally of it in a file that the benchmark reads."""

    def __init__(self, settings: PasswordSettings, stored: Iterable[str], key: bytes, tally: Path) -> None:
        super().__init__(settings, stored, key)
        tally.write_bytes(_SUMS.pack(0, 0))
        with tally.open("r+b") as file:
            self._kept = mmap.mmap(file.fileno(), _SUMS.size)
        self._sums = (0, 0)
        self._summing = threading.Lock()

    def verify(self, encoded: str | None, password: str) -> bool:
        """See :meth:`Passwords.verify`."""
        began = time.thread_time_ns()
        right = super().verify(encoded, password)
        spent = time.thread_time_ns() - began
        with self._summing:
            self._sums = (self._sums[0] + 1, self._sums[1] + spent)
            self._kept[:] = _SUMS.pack(*self._sums)
        return right


def idp() -> WSGIApplication:
    """What ``wsgi:idp`` is, but for the clock."""
    environment = process_environment()
    settings = load(IdpSettings, Path(environment["PRIVYSEAL_IDP_CONFIG"]), prefix="IDP")
    log.configure("idp")
    engine = open_database(settings)
    key = KeyStore(engine, settings.key_dir).secret(KEY)
    with reading(engine) as connection:
        stored = authenticators.hashes_of_all_costs(connection)
    tally = Path(environment[TALLIES]) / str(os.getpid())
    return served(create_app(settings, engine=engine, passwords=Measured(settings.password, stored, key, tally)))
