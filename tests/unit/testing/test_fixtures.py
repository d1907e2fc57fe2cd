"""The fixtures keep their promises: a guard that does not guard would be green for ever."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text

from signing.scdev.settings import DeviceSettings
from tests import sockets
from tests.conftest import NetworkForbiddenError
from tests.scheduling import scope_of
from tests.sockets import free_port

ROOT = Path(__file__).parents[3]


def test_a_unit_test_cannot_open_a_socket_even_on_this_machine() -> None:
    with socket.socket() as sock, pytest.raises(NetworkForbiddenError):
        sock.bind(("127.0.0.1", 0))


@pytest.mark.loopback
def test_a_marked_unit_test_may_use_loopback() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == server.getsockname()


@pytest.mark.loopback
@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "0.0.0.0"])
def test_no_test_leaves_this_machine(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(NetworkForbiddenError):
        sock.connect((address, 9))
    with pytest.raises(NetworkForbiddenError):
        socket.getaddrinfo("example.org", 443)


@pytest.mark.loopback
def test_a_port_that_one_test_process_was_given_no_other_one_is_given() -> None:
    mine, other = free_port(), free_port()
    sockets._kept.pop().close()
    assert max(mine, other) < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    chance = f"looked_at = iter(({mine}, {other})); sockets._CHANCE.choice = lambda _: next(looked_at)"
    program = f"from tests import sockets; {chance}; print(sockets.free_port())"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(told.stdout) == other


def test_an_example_may_take_long_on_a_machine_that_is_busy() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
    assert settings().max_examples >= 100


def test_unix_sockets_stay_usable_in_unit_tests() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"ping")
        assert right.recv(4) == b"ping"


def test_each_test_gets_an_empty_database_of_the_named_kind(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as link:
        link.execute(text("CREATE TABLE only_here (n INTEGER)"))
        assert link.execute(text("SELECT count(*) FROM only_here")).scalar() == 0
    engine.dispose()
    assert database_url.startswith(engine.dialect.name)


def test_the_next_test_does_not_see_the_last_ones_tables(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as link:
        link.execute(text("CREATE TABLE only_here (n INTEGER)"))
    engine.dispose()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined] # both pools used here count


@pytest.mark.hsm
def test_each_test_gets_a_token_of_its_own(softhsm: DeviceSettings) -> None:
    assert softhsm.module.is_file()
    assert softhsm.pin_file.stat().st_mode & 0o077 == 0


def test_tests_of_the_running_product_share_one_process_and_other_files_are_spread() -> None:
    product = {scope_of("tests/e2e/test_demo.py::test_a"), scope_of("tests/e2e/test_refusals.py::test_b[x]")}
    assert len(product) == 1
    spread = {scope_of("tests/unit/test_x.py::test_a"), scope_of("tests/unit/test_y.py::test_a[x::y]")}
    assert len(spread) == 2
    assert scope_of("tests/unit/test_x.py::test_b[x::y]") in spread
