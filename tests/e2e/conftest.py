"""The whole product, started once as a person would start it, on ports of its own.

All tests here carry the marker `e2e` and run in one test process (tests/scheduling.py), so that it is started once.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from launcher.errors import PortTakenError
from launcher.ports import Ports
from tests.e2e.pictures import PUBLISHED
from tests.e2e.visitor import DESK, Album, Visitor, launch

ROOT = Path(__file__).resolve().parents[2]
SERVING = "Try it by hand"
START_SECONDS = 280
"""Below the time that a test has; on an idle machine it takes a tenth of it."""

NewVisitor = Callable[..., Visitor]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Everything in this folder starts the whole product."""
    item.add_marker(pytest.mark.e2e)


@dataclass(frozen=True, slots=True)
class Product:
    """A running development installation."""

    state: Path
    ports: Ports
    output: Path
    process: subprocess.Popen[bytes]

    @property
    def root_certificate(self) -> Path:
        """PEM of the development root."""
        return self.state / "public" / "root.pem"

    @property
    def csc_base(self) -> str:
        """Base URL of the CSC API, version 2."""
        return f"{self.ports.url('web')}/csc/v2"

    @property
    def password_file(self) -> Path:
        """The demo person's password."""
        return self.state / "dev" / "person-password"

    @property
    def admin_password_file(self) -> Path:
        """The demo administrators' password."""
        return self.state / "dev" / "admin-password"

    @property
    def client_secret_file(self) -> Path:
        """The demo relying party's secret."""
        return self.state / "dev" / "rp-secret"


def free_ports() -> Ports:
    """A base from which all ports are free just now; chosen by chance, as another test run may be looking too."""
    bases = list(range(20000, 30000, 40))
    random.shuffle(bases)  # two runs on one machine look at the same time
    for base in bases:
        try:
            Ports(base).check()
        except PortTakenError:
            continue
        return Ports(base)
    raise LookupError("no free range of ports")


def start(state: Path, ports: Ports, output: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start `privyseal dev` on a state directory; its output goes to a file."""
    with output.open("wb") as sink:
        return subprocess.Popen(
            [sys.executable, "-m", "launcher", "dev", "--state", str(state), "--base-port", str(ports.base), *options],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
        )  # fmt: skip


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory that the service users can enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="privyseal-e2e-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def product(place: Path) -> Iterator[Product]:
    """The product, prepared from nothing and serving after its walkthrough."""
    ports, output, state = free_ports(), place / "output", place / "state"
    process = start(state, ports, output)
    try:
        until = time.monotonic() + START_SECONDS
        while SERVING not in output.read_text(encoding="utf-8"):
            assert process.poll() is None, f"privyseal dev ended:\n{output.read_text()}"
            assert time.monotonic() < until, f"privyseal dev is not serving:\n{output.read_text()}"
            time.sleep(0.1)
        yield Product(state, ports, output, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def visitor(
    product: Product, chromium: Browser, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[NewVisitor]:
    """Makes people with fresh browser profiles; when the test ends, looks through all that their browsers met."""
    published: Path | None = request.config.getoption("pictures", default=None)
    album = Album(tmp_path) if published is None else Album(published, PUBLISHED)
    people: list[Visitor] = []
    contexts: list[BrowserContext] = []

    def arrive(*, scripts: bool = True, language: str = "en-GB", username: str = "alice") -> Visitor:
        context = chromium.new_context(
            viewport=DESK, locale=language, timezone_id="UTC", reduced_motion="reduce", java_script_enabled=scripts
        )
        contexts.append(context)
        password = product.password_file if username == "alice" else product.admin_password_file
        people.append(Visitor(context, product.ports, password.read_text().strip(), album, username))
        return people[-1]

    yield arrive
    for person in people:
        assert person.seen.requests
        assert person.seen.complaints == []
        assert person.foreign_hosts() == set()
        assert person.leaks() == []
        assert [cookie["name"] for cookie in person.context.cookies() if not cookie["httpOnly"]] == []
        assert {cookie["sameSite"] for cookie in person.context.cookies()} <= {"Lax", "Strict"}
    for context in contexts:
        context.close()


def runs_from(process: Path) -> Path:
    """Where a process runs from; what has been copied there again since, ``script/demo --reset`` for one does.

    :param process: its folder in ``/proc``.
    """
    return Path(str((process / "cwd").readlink()).removesuffix(" (deleted)"))


def children(pid: int) -> list[int]:
    """All descendants of a process."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found += [int(entry.name), *children(int(entry.name))]
    return found


AS_ROOT = os.geteuid() == 0
