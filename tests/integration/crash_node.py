"""A warm process from which nodes of the module are forked: each is the real one, on the real device; they are killed.

``python -m tests.integration.crash_node CONFIG ARMED``: CONFIG is a ``sam.toml``; ARMED is a file that holds the name
of one of :data:`POINTS`, or is not there.  Whoever comes to that point in a node takes the file away and ends the node
by SIGKILL.  That exists here only: the product has neither the points nor a way to arm them.

Lines of standard input: ``start`` forks a node, which says ``ready PID`` once it serves; ``wait`` waits for its end,
and says ``ended STATUS``.

Unlike the product, a node takes SADs from before its start: what refuses them is the ledger, and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from psycopg.pq.abc import PGresult
from sqlalchemy import Engine, event

from foundation.settings import load
from foundation.termination import Termination
from signing.sam.algorithms import SignatureAlgorithm
from signing.sam.ledger import Reservation, State
from signing.sam.ports import WrappedKey
from signing.sam.store import Record
from signing.sam_app import parts
from signing.sam_app.process import SamProcess
from signing.sam_cli import device_settings
from signing.sam_settings import SamSettings
from signing.scdev.device import Pkcs11Device
from signing.storage import script, wire
from signing.storage.store import SqlStore

POINTS = (
    "before_intent",
    "intent_written",
    "after_intent",
    "after_sign",
    "outcome_written",
    "after_outcome",
)
"""In the order of the walk; *written* is before the COMMIT, *after* once it was answered."""
_PR_SET_CHILD_SUBREAPER = 36


class Armed:
    """The file."""

    path = Path()
    writing = ""
    """What is being written, for the points before its COMMIT."""

    @classmethod
    def at(cls, point: str) -> bool:
        """Whether it is armed for this point."""
        with suppress(FileNotFoundError):
            return cls.path.read_text() == point
        return False

    @classmethod
    def die_at(cls, point: str) -> None:
        """As if the power had gone, where it is armed for this point."""
        if cls.at(point):
            cls.path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()

    @classmethod
    def before_commit(cls) -> None:
        """All of it has been written."""
        if cls.writing:
            cls.die_at(f"{cls.writing}_written")


class ArmedScript(script._Pipelined):
    """PostgreSQL is sent the COMMIT with what is before it: but here, where it is armed, what is before it alone."""

    def _sent(self, statements: Sequence[wire.Statement]) -> list[PGresult]:
        if statements[-1] is script.COMMIT and Armed.writing and Armed.at(f"{Armed.writing}_written"):
            super()._sent(statements[:-1])
            Armed.before_commit()
        return super()._sent(statements)


class ArmedStore(SqlStore):
    """The store, dying around its commits."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        event.listen(engine, "commit", lambda _connection: Armed.before_commit())

    def reserve(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> tuple[int, ...]:
        """Reserve; before the intent is written, before it is committed, or right after."""

        def last(chosen: tuple[int, ...]) -> Record:
            Armed.die_at("before_intent")
            Armed.writing = "intent"
            return record(chosen)

        try:
            chosen = super().reserve(reservation, assign, last)
        finally:
            Armed.writing = ""
        Armed.die_at("after_intent")
        return chosen

    def conclude(self, redemption_id: str, state: State, reason: str, record: Record) -> State:
        """Conclude; before the outcome is committed, or right after."""
        Armed.writing = "outcome"
        try:
            concluded = super().conclude(redemption_id, state, reason, record)
        finally:
            Armed.writing = ""
        Armed.die_at("after_outcome")
        return concluded


class ArmedDevice(Pkcs11Device):
    """The device, dying when it has answered."""

    def sign(self, key: WrappedKey, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> tuple[bytes, ...]:
        """Sign."""
        values = super().sign(key, algorithm, digests)
        Armed.die_at("after_sign")
        return values


def serve(settings: SamSettings) -> None:
    """One node, with one worker, until SIGTERM."""
    stop = Termination()
    with ArmedDevice(replace(device_settings(settings.device), workers=1)) as device:
        process = SamProcess(parts.build(settings, device, device_available=lambda: device.health().available))
        process.start()
        say(f"ready {os.getpid()}")
        stop.wait()
        process.stop()


def say(line: str) -> None:
    """To whoever started this."""
    os.write(1, line.encode() + b"\n")


def main(config: str, armed: str) -> None:
    """Fork nodes, one after the other, until standard input ends."""
    Armed.path = Path(armed)
    settings = load(SamSettings, Path(config), prefix="SAM")
    setattr(parts, "SqlStore", ArmedStore)  # noqa: B010 - mypy: the name is not the module's to export
    setattr(script, "_Pipelined", ArmedScript)  # noqa: B010 - as above
    setattr(parts, "sads_not_before", lambda _mode, _start: 0)  # noqa: B010 - as above
    parts.open_store(settings)  # so that the driver is loaded
    # Workers of a node that was killed are this process's to bury.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    node = 0
    for line in sys.stdin:
        if line == "start\n":
            node = os.fork()
            if node == 0:
                try:
                    serve(settings)
                finally:
                    os._exit(0)
        else:
            say(f"ended {os.waitstatus_to_exitcode(os.waitpid(node, 0)[1])}")
            node = 0
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    if node:
        os.kill(node, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
