"""The jobs in their database.  Any number of processes may work on one: a job is claimed by comparing and swapping."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, Update, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from signing.jobs.errors import BoxBroken, JobsUnavailable, TooManyJobs, UnknownJob
from signing.jobs.model import Claimed, Outcome, Phase, Wanted
from signing.jobs.sealing import JobSeals
from signing.jobs.tables import jobs

_ID_OCTETS: Final = 24
_CANDIDATES: Final = 8
_SMALL: Final = 256 * 1024
"""Octets of a request without documents, at most."""
_REQUEST, _URI, _OUTCOME = "request", "response_uri", "outcome"
_CLAIMED: Final = (Phase.WORK, Phase.NOTICE)


class JobStore:
    """Jobs, sealed.  Thread-safe.

    Every method raises :class:`JobsUnavailable` where the database does not answer.
    """

    def __init__(
        self,
        engine: Engine,
        seals: JobSeals,
        random: Callable[[int], bytes],
        *,
        most: int,
        most_of_a_client: int,
        most_octets: int = 1 << 30,
        most_octets_of_a_client: int = 1 << 28,
    ) -> None:
        """:param most: jobs at a time; beyond, none is taken in.
        :param most_octets: of requests and outcomes; beyond, no large request is taken in.
        """
        self._engine = engine
        self._seals = seals
        self._random = random
        self._most = most
        self._most_of_a_client = most_of_a_client
        self._most_octets = most_octets
        self._most_octets_of_a_client = most_octets_of_a_client

    def add(self, wanted: Wanted, now: int) -> str:
        """Take a job in, due at once.

        :returns: its identifier, which nobody can guess.
        :raises TooManyJobs: there are as many as there may be.
        """
        job = self._random(_ID_OCTETS).hex()
        client = self._seals.name(wanted.client_id)
        owner = self._owner(wanted.client_id, wanted.account)
        uri = wanted.response_uri
        row = {
            "id": job,
            "client": client,
            "owner": owner,
            "phase": Phase.WORK,
            "attempt": 0,
            "maybe_done": False,
            "once": wanted.once,
            "due_at": now,
            "ends_at": wanted.ends_at,
            "keep_for": wanted.keep_for,
            "gone_at": wanted.ends_at + wanted.keep_for,
            "request": self._seals.close(job, owner, _REQUEST, wanted.request),
            "response_uri": None if uri is None else self._seals.close(job, owner, _URI, uri.encode()),
        }
        with self._writing() as connection:
            if self._count(connection) >= self._most or self._count(connection, client) >= self._most_of_a_client:
                raise TooManyJobs("there are as many jobs as there may be")
            # The number bounds what small ones take together.
            octets = len(wanted.request)
            if octets > _SMALL and (
                self._octets(connection) + octets > self._most_octets
                or self._octets(connection, client) + octets > self._most_octets_of_a_client
            ):
                raise TooManyJobs("there is as much in jobs as there may be")
            connection.execute(insert(jobs).values(row))
        return job

    def claim(self, now: int, lease: int, phases: Collection[Phase] = _CLAIMED) -> Claimed | None:
        """The job of these phases that has been due for longest, for so many milliseconds; None where none is.

        What the database holds of it is not as it was written: it is removed, and the next one is looked at.
        """
        with self._writing() as connection:
            due = select(jobs).where(jobs.c.due_at <= now, jobs.c.gone_at > now, jobs.c.phase.in_(phases))
            for row in connection.execute(due.order_by(jobs.c.due_at).limit(_CANDIDATES)).all():
                mine = connection.execute(
                    self._at(row.id, row.attempt)
                    .where(jobs.c.due_at == row.due_at)
                    .values(
                        attempt=row.attempt + 1,
                        due_at=now + lease,
                        maybe_done=row.phase == Phase.WORK or row.maybe_done,
                    )
                )
                if mine.rowcount != 1:
                    continue
                try:
                    return self._claimed(row)
                except BoxBroken:
                    connection.execute(delete(jobs).where(jobs.c.id == row.id))
        return None

    def hold(self, claimed: Claimed, until: int) -> bool:
        """Keep it from other workers until then; False where one has it by now."""
        with self._writing() as connection:
            return connection.execute(self._mine(claimed).values(due_at=until)).rowcount == 1

    def remember(self, claimed: Claimed, request: bytes) -> bool:
        """Put what is left to be done in the request's place, of which nothing more can be done twice.

        :returns: False where another worker has the job by now.
        """
        box = self._seals.close(claimed.id, claimed.owner, _REQUEST, request)
        with self._writing() as connection:
            return connection.execute(self._mine(claimed).values(request=box, once=True)).rowcount == 1

    def postpone(self, claimed: Claimed, until: int, *, maybe_done: bool) -> None:
        """Let it be due again later."""
        with self._writing() as connection:
            connection.execute(self._mine(claimed).values(due_at=until, maybe_done=claimed.maybe_done or maybe_done))

    def finish(self, claimed: Claimed, outcome: Outcome, now: int) -> bool:
        """Put the outcome in the request's place, and let its client be told where it wants to be.

        :returns: False where another worker has the job by now.
        """
        told = claimed.response_uri is not None
        with self._writing() as connection:
            done = connection.execute(
                self._mine(claimed).values(
                    phase=Phase.NOTICE if told else Phase.DONE,
                    attempt=0 if told else claimed.attempt + 1,
                    due_at=now if told else None,
                    gone_at=now + claimed.keep_for,
                    good=outcome.good,
                    request=None,
                    outcome=self._seals.close(claimed.id, claimed.owner, _OUTCOME, outcome.content),
                )
            )
        return done.rowcount == 1

    def told(self, claimed: Claimed) -> None:
        """Nobody is told any more."""
        with self._writing() as connection:
            connection.execute(self._mine(claimed).values(phase=Phase.DONE, due_at=None, response_uri=None))

    def fetch(self, job: str, client_id: str, account: str, now: int) -> Outcome | None:
        """What came of a job, once; None as long as nothing has.

        :raises UnknownJob: there is none of that client and person.
        """
        owner = self._owner(client_id, account)
        with self._writing() as connection:
            found = select(jobs).where(jobs.c.id == job, jobs.c.owner == owner, jobs.c.gone_at > now)
            row = connection.execute(found).one_or_none()
            if row is None:
                raise UnknownJob("there is no such job")
            if row.phase == Phase.WORK:
                return None
            if row.good and connection.execute(delete(jobs).where(jobs.c.id == job)).rowcount != 1:
                raise UnknownJob("another request fetched it")
        try:
            return Outcome(self._seals.open(job, owner, _OUTCOME, row.outcome), good=bool(row.good))
        except BoxBroken as error:
            raise UnknownJob("what came of it cannot be read") from error

    def forget(self, now: int) -> int:
        """Remove what has ended; how many those were."""
        with self._writing() as connection:
            return connection.execute(delete(jobs).where(jobs.c.gone_at <= now)).rowcount

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _claimed(self, row: Row[Any]) -> Claimed:
        def opened(purpose: str, box: bytes) -> bytes:
            return self._seals.open(row.id, row.owner, purpose, box)

        phase = Phase(row.phase)
        return Claimed(
            id=row.id,
            owner=row.owner,
            phase=phase,
            attempt=row.attempt + 1,
            request=opened(_REQUEST, row.request) if phase is Phase.WORK else b"",
            response_uri=None if row.response_uri is None else opened(_URI, row.response_uri).decode(),
            ends_at=row.ends_at,
            keep_for=row.keep_for,
            once=bool(row.once),
            maybe_done=bool(row.maybe_done),
        )

    def _owner(self, client_id: str, account: str) -> str:
        return self._seals.name(client_id, account)

    @staticmethod
    def _count(connection: Connection, client: str | None = None) -> int:
        counted = select(func.count()).select_from(jobs)
        if client is not None:
            counted = counted.where(jobs.c.client == client)
        return int(connection.execute(counted).scalar_one())

    @staticmethod
    def _octets(connection: Connection, client: str | None = None) -> int:
        boxes = (func.coalesce(func.length(column), 0) for column in (jobs.c.request, jobs.c.outcome))
        summed = select(func.coalesce(func.sum(sum(boxes)), 0)).select_from(jobs)
        if client is not None:
            summed = summed.where(jobs.c.client == client)
        return int(connection.execute(summed).scalar_one())

    @staticmethod
    def _at(job: str, attempt: int) -> Update:
        return update(jobs).where(jobs.c.id == job, jobs.c.attempt == attempt)

    def _mine(self, claimed: Claimed) -> Update:
        return self._at(claimed.id, claimed.attempt).where(jobs.c.phase == claimed.phase)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise JobsUnavailable("the jobs' database does not answer") from error
