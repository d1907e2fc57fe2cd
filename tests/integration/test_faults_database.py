"""OPS-04, OPS-05, OPS-07: statements fail, a deadlock, a server is killed while the module signs; the token counts."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from foundation.clock import SystemClock
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused, LinkUnavailable
from signing.link.messages import CredentialView, SignRequest
from signing.sam.reconcile import reconcile
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from tests.fakes.sam import digest
from tests.integration.oracle import Oracle
from tests.integration.sam_site import Site
from tests.integration.test_sam_kills import shimmed_site, signs, until
from tests.postgres import PostgresServer
from tests.shim import Shim

pytestmark = [pytest.mark.hsm, pytest.mark.postgres]

SQLSTATES = {"deadlock": "40P01", "lock timeout": "55P03", "serialization": "40001", "disk full": "53100"}


class Signing:
    """A module that serves, what is asked of it, and what the token counted of that."""

    def __init__(self, site: Site, shim: Shim, client: SamClient, engine: Engine) -> None:
        self.site, self.client, self.engine = site, client, engine
        self.view: CredentialView = site.credential(client)
        self.oracle = Oracle(shim, engine)
        self.oracle.begin()
        self._asked = 0
        self._lock = threading.Lock()

    def request(self, count: int = 1) -> SignRequest:
        """Of an approval over digests that no other is over."""
        with self._lock:
            first = self._asked + 1
            self._asked += count
        return self.site.request(self.site.sad(self.view, tuple(digest(first + each) for each in range(count))))

    def ask(self, request: SignRequest) -> str:
        """What a client gets."""
        try:
            values = self.client.sign(request)
        except LinkRefused as refused:
            return refused.refusal
        except LinkUnavailable:
            return "unanswered"
        self.oracle.release(request.digests, values)
        return "signed"

    def settle(self) -> None:
        """Close what is open, long after; then hold everything against what the token counted."""
        self.engine.dispose()  # connections to a server that is no more
        with self.engine.begin() as connection:
            late = "UPDATE redemptions SET reserved_at = reserved_at - 3600"
            connection.execute(text(f"{late} WHERE id NOT IN (SELECT redemption_id FROM outcomes)"))
        reconcile(SqlStore(self.engine), SystemClock(), 60)
        self.oracle.verify()


@contextmanager
def signing(directory: Path, url: str, shim: Shim, **settings: Any) -> Iterator[Signing]:
    site, engine = shimmed_site(directory, url, shim, **settings), open_engine(url)
    with site.serving(), SamClient(site.socket(), pool_size=16) as client:
        until(lambda: signs(client))
        yield Signing(site, shim, client, engine)
    engine.dispose()


@contextmanager
def failing(engine: Engine, table: str, sqlstate: str) -> Iterator[None]:
    """While a marker is there, writing to the table fails as it would of itself."""
    marked = f"""
        CREATE TABLE IF NOT EXISTS marker (word text);
        CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM marker WHERE word = TG_TABLE_NAME) THEN
                RAISE EXCEPTION 'told to' USING ERRCODE = '{sqlstate}';
            END IF;
            RETURN NEW;
        END $$;
        CREATE OR REPLACE TRIGGER fails BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION fail();
        INSERT INTO marker VALUES ('{table}')"""
    with engine.begin() as connection:
        connection.execute(text(marked))
    yield
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM marker"))


def test_OPS_04_a_statement_that_fails_signs_nothing_and_the_sad_serves_once_it_is_mended(
    postgres_url: str, shim: Shim, tmp_path: Path
) -> None:
    with signing(tmp_path, postgres_url, shim) as module:
        for table in ("approvals", "redemptions", "positions", "audit_entries", "audit_head"):
            for kind, sqlstate in list(SQLSTATES.items())[:: 1 if table == "audit_entries" else 2]:
                request, before = module.request(2), module.oracle.sent()
                with failing(module.engine, table, sqlstate):
                    # Certainly not committed, and said so: nothing is spent, and no outcome unknown.
                    assert module.ask(request) == codes.AUDIT_UNAVAILABLE, (table, kind)
                assert module.oracle.sent() == before
                assert module.ask(request) == "signed", (table, kind)
                assert module.ask(request) == codes.SAD_USED
        for kind, sqlstate in SQLSTATES.items():
            # Its values are made and withheld: there is no outcome, and none of them is made again.
            request, before = module.request(2), module.oracle.sent()
            with failing(module.engine, "outcomes", sqlstate):
                assert module.ask(request) == codes.INDETERMINATE, kind
            assert (module.oracle.sent() - before).total() == 2
            assert module.ask(request) == codes.SAD_USED
        module.settle()


def test_OPS_04_a_module_that_a_deadlock_chose_signs_nothing_and_goes_on(
    postgres_url: str, shim: Shim, tmp_path: Path
) -> None:
    with signing(tmp_path, postgres_url, shim) as module, ThreadPoolExecutor(1) as pool:
        whole = module.request(2)
        first, second = (
            SignRequest(whole.sad, whole.client_id, whole.credential_id, None, (each,), whole.sign_algo)
            for each in whole.digests
        )
        assert module.ask(first) == "signed"
        before = module.oracle.sent()
        rival = create_engine(postgres_url, poolclass=NullPool)
        with rival.begin() as connection:
            # The module takes the approval and then the head; we take them the other way round, and are patient.
            connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))
            connection.execute(text("SELECT * FROM audit_head FOR UPDATE"))
            asking: Future[str] = pool.submit(module.ask, second)
            until(lambda: waits_for_a_lock(module.engine))
            connection.execute(text("SELECT * FROM approvals FOR UPDATE"))
            assert asking.result(30) == codes.AUDIT_UNAVAILABLE
        rival.dispose()
        assert module.oracle.sent() == before
        assert module.ask(second) == "signed"
        assert module.ask(second) == codes.SAD_USED
        module.settle()


def waits_for_a_lock(engine: Engine) -> bool:
    with engine.connect() as connection:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        waiting += " AND datname = current_database()"
        return bool(connection.execute(text(waiting)).scalar_one())


def kill_server(server: PostgresServer) -> None:
    """SIGKILL to all of it, and no goodbye."""
    postmaster = int((server.directory / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGSTOP)  # so that it starts nobody meanwhile
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if path.read_text().rpartition(") ")[2].split()[1] == str(postmaster):
                os.kill(int(path.parent.name), signal.SIGKILL)
    os.kill(postmaster, signal.SIGKILL)
    until(lambda: not serves(postmaster))
    # Where nobody has buried it yet, the next one takes it for alive.
    for lock in ("data/postmaster.pid", ".s.PGSQL.5432.lock"):
        (server.directory / lock).unlink()


def serves(postmaster: int) -> bool:
    try:
        return not Path(f"/proc/{postmaster}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return False


class Busy:
    """Clients that ask without a pause, each time with a SAD of its own."""

    def __init__(self, module: Signing) -> None:
        self.asked: list[tuple[SignRequest, str]] = []
        self._module = module
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(8)]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def more(self, count: int = 20) -> None:
        """Wait for so many more answers."""
        enough = len(self.asked) + count
        until(lambda: len(self.asked) >= enough)

    def _ask(self) -> None:
        while not self._over.is_set():
            request = self._module.request()
            self.asked.append((request, self._module.ask(request)))


@pytest.mark.timeout(300)
def test_OPS_05_a_database_that_is_killed_stopped_or_restarted_while_it_signs(shim: Shim, tmp_path: Path) -> None:
    with (
        PostgresServer.start() as server,
        server.fresh_database() as url,
        signing(tmp_path, url, shim) as module,
    ):
        ways = (partial(kill_server, server), partial(server.stop, "immediate"), partial(server.stop, "fast"))
        for end in ways:
            with Busy(module) as clients:
                clients.more()
                end()
                # Nothing is signed without it, once what had its intent recorded before is through.
                until(lambda: not signs(module.client))
                clients.more()
                before = module.oracle.sent()
                clients.more()
                assert module.oracle.sent() == before
                server.restart()
                # By itself, and with the same processes.
                until(lambda: signs(module.client))
                clients.more()
            outcomes = Counter(outcome for _request, outcome in clients.asked)
            assert set(outcomes) <= {"signed", codes.AUDIT_UNAVAILABLE, codes.INDETERMINATE}, outcomes
            assert outcomes["signed"] > 20
            for request, outcome in clients.asked[-100:]:
                if outcome != "signed":
                    # Once more: it was spent, or it is had once.
                    assert module.ask(request) in {"signed", codes.SAD_USED}
                    assert module.ask(request) == codes.SAD_USED
        module.settle()
