"""OPS-05: a primary that dies while the module signs, and a standby in its place; real streaming replication."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foundation.files import write_secret
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused, LinkUnavailable
from signing.sam import events
from tests.integration.test_faults_database import Busy, Signing, kill_server, signing
from tests.integration.test_sam_kills import signs, until
from tests.postgres import PostgresServer
from tests.shim import Shim

pytestmark = [pytest.mark.hsm, pytest.mark.postgres, pytest.mark.timeout(300)]
DATABASE = "sam"


@contextmanager
def pair() -> Iterator[tuple[PostgresServer, PostgresServer, str]]:
    """A primary, its standby, and the address of whichever of the two takes writes."""
    with PostgresServer.start() as primary:
        primary.create_database(DATABASE)
        with primary.standby() as standby:
            until(lambda: primary.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 1)
            hosts = f"host={primary.directory},{standby.directory}&target_session_attrs=read-write"
            yield primary, standby, f"postgresql+psycopg://privyseal@/{DATABASE}?{hosts}"


def fail_over(primary: PostgresServer, standby: PostgresServer, module: Signing) -> None:
    """The primary is gone at once, nothing is signed, the standby takes its place; nobody restarts the module."""
    kill_server(primary)
    until(lambda: not signs(module.client))
    before = module.oracle.sent()
    assert module.ask(module.request()) != "signed"
    assert module.oracle.sent() == before
    standby.promote()


def test_OPS_05_with_a_standby_that_commits_wait_for_nothing_is_forgotten_and_nothing_signed_twice(
    shim: Shim, tmp_path: Path
) -> None:
    with pair() as (primary, standby, url), signing(tmp_path, url, shim) as module:
        primary.wait_for("standby")
        until(lambda: primary.value("SELECT sync_state FROM pg_stat_replication") == "sync")
        with loyal(primary, module) as (other, process):
            with Busy(module) as clients:
                clients.more(40)
                fail_over(primary, standby, module)
                # By itself, and with the same processes.
                until(lambda: signs(module.client))
                clients.more(40)
            outcomes = Counter(outcome for _request, outcome in clients.asked)
            assert set(outcomes) <= {"signed", codes.AUDIT_UNAVAILABLE, codes.INDETERMINATE}, outcomes
            assert outcomes["signed"] >= 40
            # Nobody fenced the old primary: it comes back, and the other module still takes it for the one there is.
            primary.restart()
            fresh, before = module.request(), module.oracle.sent()
            for request in (fresh, clients.asked[-1][0]):
                with pytest.raises((LinkUnavailable, LinkRefused)):
                    other.sign(request)
            # No standby confirms its commits: no intent is ever answered, and the token is asked for nothing.
            assert module.oracle.sent() == before
            process.kill()
            primary.stop("immediate")
        assert module.ask(fresh) == "signed"
        # Whatever was signed, on whichever of the two, is spent.
        for request, outcome in clients.asked:
            if outcome == "signed":
                assert module.ask(request) == codes.SAD_USED
        module.settle()
        primary.restart()


@contextmanager
def loyal(primary: PostgresServer, module: Signing) -> Iterator[tuple[SamClient, subprocess.Popen[str]]]:
    """Another module over the same token, which knows of no standby."""
    site, url = module.site, module.site.directory / "loyal-url"
    write_secret(url, f"postgresql+psycopg://privyseal@/{DATABASE}?host={primary.directory}".encode())
    site.write_config("b", database_url_file=str(url))
    with site.serving(node="b") as process, SamClient(site.socket("b"), timeout_seconds=4) as client:
        until(lambda: signs(client))
        yield client, process


@pytest.mark.full
def test_OPS_05_a_standby_that_was_behind_serves_no_spent_sad(shim: Shim, tmp_path: Path) -> None:
    with pair() as (primary, standby, url), signing(tmp_path, url, shim) as module:
        spent = [module.request() for _ in range(3)]
        leave_behind(primary, standby)
        assert [module.ask(request) for request in spent] == ["signed"] * 3
        kill_server(primary)
        standby.promote()
        until(lambda: signs(module.client))
        before = module.oracle.sent()
        # The database does not know of them; the process does, until they have expired.
        for request in spent:
            assert module.ask(request) == codes.SAD_USED
        assert module.oracle.sent() == before
        alarms = f"SELECT count(*) FROM audit_entries WHERE event = '{events.LEDGER_SET_BACK}'"
        assert standby.value(alarms, DATABASE) == len(spent)
        assert module.ask(module.request()) == "signed"
        primary.restart()


@pytest.mark.full
def test_OPS_05_SAD_12_a_standby_that_lacks_a_change_stops_signing_until_two_operators_say_so(
    shim: Shim, tmp_path: Path
) -> None:
    with pair() as (primary, standby, url), signing(tmp_path, url, shim, anchor_every_seconds=0.5) as module:
        site, spent = module.site, module.request()
        admin = ("--config", str(site.config()), "--operation")
        leave_behind(primary, standby)
        assert module.ask(spent) == "signed"
        suspend = site.operation("credential.suspend", 1, credential_id=module.view.credential_id)
        assert "suspended" in site.run("sam", "execute", *admin, str(suspend)).stdout
        kill_server(primary)
        standby.promote()
        # The token knows of the change: the next look finds it missing.
        until(lambda: module.ask(module.request()) == codes.LEDGER_SET_BACK)
        before = module.oracle.sent()
        assert module.ask(spent) == codes.LEDGER_SET_BACK
        assert "epoch 2" in site.run("sam", "restore", *admin, str(site.operation("ledger.restore"))).stdout
        assert module.ask(spent) == codes.INVALID_SAD
        assert module.oracle.sent() == before
        time.sleep(6)  # what an issuer's clock may be ahead, no SAD from before the restore has
        # What the standby lacked is lost: it is for the operators to suspend it again.
        assert module.ask(module.request()) == "signed"
        primary.restart()


def leave_behind(primary: PostgresServer, standby: PostgresServer) -> None:
    """What is committed from now on does not get to the standby."""
    standby.turn_away()
    until(lambda: primary.value("SELECT count(*) FROM pg_stat_replication") == 0)
