"""Fixtures shared by all tests: no network but loopback, databases, a SoftHSM2 token directory.

Fixtures that need a server start it themselves and stop it; none skips when its server cannot be had, because a
test that did not run says nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from signing.scdev.settings import DeviceSettings
from tests.fakes.softhsm import make_token
from tests.postgres import PostgresServer

UNIT = Path(__file__).parent / "unit"

# How long an example takes says how busy the machine is: a stop of 0.2 s would be a failure, and one that Hypothesis
# cannot repeat.
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("busy", BUSY)
settings.register_profile("full", BUSY, max_examples=2000)
settings.load_profile("busy")


class CompiledTemplates(BytecodeCache):
    """What templates were compiled to in this test process: most tests make an app of their own."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take what was compiled from the same source."""
        compiled = self._compiled.get((bucket.key, bucket.checksum))
        if compiled is not None:
            bucket.bytecode_from_string(compiled)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it."""
        self._compiled[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": CompiledTemplates()}


@event.listens_for(Pool, "checkout")
def forget_at_power_loss(connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """As with the tests' PostgreSQL: what a test process commits outlives its processes, and need not the machine.

    Not when it connects: the product's own settings come after what all engines have.
    """
    if isinstance(connection, sqlite3.Connection) and "forgets" not in entry.info:
        connection.execute("PRAGMA synchronous=OFF")
        entry.info["forgets"] = True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Tests that share a running product run in one test process; only a run with xdist asks for this."""
    from tests.scheduling import FolderScheduling

    return FolderScheduling(config, log)


class NetworkForbiddenError(AssertionError):
    """A test reached for the network. An AssertionError, so that no handler for OSError swallows it."""


def _is_loopback(host: object) -> bool:
    if host in ("localhost", "", None) or str(host).endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def network_guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is all any test may reach; a unit test only when marked `loopback`. Unix sockets stay allowed."""
    unit = UNIT in request.path.parents
    loopback_allowed = not unit or request.node.get_closest_marker("loopback") is not None

    def guarded(name: str) -> Callable[..., object]:
        original = getattr(socket.socket, name)

        def call(self: socket.socket, *args: object) -> object:
            address = args[-1]
            if self.family != socket.AF_UNIX and isinstance(address, tuple):
                if not loopback_allowed:
                    raise NetworkForbiddenError(f"{name}{address}: unit tests have no sockets (mark it loopback)")
                if not _is_loopback(address[0]):
                    raise NetworkForbiddenError(f"{name}{address}: tests stay on this machine")
            return original(self, *args)

        return call

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, guarded(name))
    resolve = socket.getaddrinfo

    def getaddrinfo(host: object, *args: object, **kwargs: object) -> object:
        if not _is_loopback(host.decode() if isinstance(host, bytes) else host):
            raise NetworkForbiddenError(f"getaddrinfo({host!r}): tests stay on this machine")
        return resolve(host, *args, **kwargs)  # type: ignore[arg-type] # passed through as it came

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test process's own."""
    with PostgresServer.start() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """SQLAlchemy URL of a fresh, empty PostgreSQL database."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy URL of a fresh, empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'database.sqlite'}"
    url = request.getfixturevalue("postgres_url")
    assert isinstance(url, str)
    return url


@pytest.fixture
def softhsm(tmp_path: Path) -> DeviceSettings:
    """A fresh SoftHSM2 token with the server's keys, in a directory of this test's own."""
    return make_token(tmp_path / "token")
