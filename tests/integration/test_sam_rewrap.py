"""One wrapping key after another, with the command line, while the module signs and while it is killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from signing.link.client import SamClient
from signing.link.errors import LinkRefused, LinkUnavailable
from signing.link.messages import CredentialView
from tests.integration.sam_node import ANCHOR_POINTS
from tests.integration.sam_site import Site, make_site

pytestmark = pytest.mark.hsm


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An installation, and a file of settings whose KEK can be named."""
    made = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    made.write_config()
    made.init()
    return made


def name_kek(site: Site, kek_id: str) -> None:
    """As the operator edits ``device.kek_id``."""
    lines = [line for line in site.config().read_text().splitlines() if not line.startswith("kek_id")]
    at = lines.index("[device]") + 1
    site.config().write_text("\n".join([*lines[:at], f'kek_id = "{kek_id}"', *lines[at:]]) + "\n")


def keks(site: Site) -> dict[str, Any]:
    listed = site.run("sam", "kek", "list", "--config", str(site.config()), "--json").stdout
    return {kek["kek_id"]: kek for kek in json.loads(listed)}


def another_kek(site: Site) -> str:
    created = site.run("sam", "kek", "create", "--config", str(site.config()), "--json").stdout
    return str(json.loads(created)["kek_id"])


def rewrap(site: Site, operation: Path, *more: str) -> subprocess.CompletedProcess[str]:
    named = ("--config", str(site.config()), "--operation", str(operation))
    return site.run("sam", "rewrap", *named, *more, check=False)


@contextmanager
def signing(site: Site, views: list[CredentialView]) -> Iterator[list[str]]:
    """Signs with one credential after another for as long as it lasts; gives what was refused."""
    stop, refused, made = threading.Event(), list[str](), list[int]()

    def work() -> None:
        with SamClient(site.socket()) as client:
            while not stop.is_set():
                for view in views:
                    try:
                        made.append(len(client.sign(site.request(site.sad(view)))))
                    except LinkRefused as error:
                        refused.append(error.refusal)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield refused
    finally:
        stop.set()
        thread.join(30)
    assert sum(made) >= len(views)


def test_a_rotation_from_the_first_command_to_the_last_while_the_module_signs(site: Site) -> None:
    with site.serving(), SamClient(site.socket()) as client:
        views = [site.credential(client) for _ in range(4)]
        (old,) = keks(site)
        # 1. Not as long as a module that starts would have to choose.
        early = site.run("sam", "kek", "create", "--config", str(site.config()), check=False)
        assert early.returncode == 1
        assert "device.kek_id" in early.stderr
        # 2. Another one, of which a module that runs takes no notice.
        name_kek(site, old)
        new = another_kek(site)
        views.append(site.credential(client))
        found = keks(site)
        assert {kek_id: kek["rows"] for kek_id, kek in found.items()} == {old: {"aes-kwp": 5}, new: {}}
        assert {kek_id for kek_id, kek in found.items() if kek["current"]} == {old}
        assert all(kek["trusted"] and kek["on_token"] for kek in found.values())
        # 3. The operation names a KEK that is not yet the one for new keys.
        operation = site.operation("kek.rewrap", 1, kek_id=new)
        assert rewrap(site, operation).returncode == 1
    # 4. From the next start on, new keys are wrapped by it; now the others are.
    name_kek(site, new)
    with site.serving(), SamClient(site.socket()) as client:
        views.append(site.credential(client))
        with signing(site, views) as refused:
            time.sleep(1.2)
            done = rewrap(site, operation)
        assert (done.returncode, done.stdout) == (0, "wrapped anew: 5; left: 0\n")
        assert "wrapped anew: 5 of 5" in done.stderr
        assert refused == []
        again = rewrap(site, operation, "--json")
        *progress, last = [json.loads(line) for line in again.stdout.splitlines()]
        assert progress == [{"rewrapped": 0, "failed": 0, "of": 0}]
        assert last == {"rewrapped": 0, "failed": [], "stopped": None, "left": 0}
        assert {kek_id: kek["rows"] for kek_id, kek in keks(site).items()} == {old: {}, new: {"aes-kwp": 6}}
        for view in views:
            assert len(client.sign(site.request(site.sad(view)))) == 1
        rows = json.loads(site.run("sam", "credentials", "--config", str(site.config()), "--json").stdout)
        assert {row["integrity"] for row in rows} == {"ok"}
        assert len(rows) == 6


def killed_at_random(site: Site, operation: Path) -> None:
    with site.serving() as process, SamClient(site.admin(), timeout_seconds=60) as admin:
        timer = threading.Timer(random.uniform(0.005, 0.2), process.kill)
        timer.start()
        # Refused where its device is not there yet: the one before may still be logging in.
        with suppress(LinkUnavailable, LinkRefused):
            admin.call("rewrap", {"operation": operation.read_text().strip()})
        timer.join()
        process.wait(20)


def rounds_of_kills(site: Site, number: int, points: tuple[str, ...], random_kills: int) -> None:
    """Rewrap that is killed at each point and at random moments, and gone on with; then everything signs."""
    with site.serving(), SamClient(site.socket()) as client:
        views = [site.credential(client) for _ in range(number)]
        (old,) = keks(site)
    name_kek(site, old)
    new = another_kek(site)
    name_kek(site, new)
    operation = site.operation("kek.rewrap", 1, kek_id=new)
    for point in points:
        node = ("tests.integration.sam_node", str(site.config()), str(site.directory / "counter"), point)
        with site.serving(*node) as process:
            assert rewrap(site, operation).returncode == 1
            assert process.wait(20) == -signal.SIGKILL
        # The next one settles what that left, and dies at any moment.
        killed_at_random(site, operation)
    for _ in range(random_kills):
        killed_at_random(site, operation)
    with site.serving(), SamClient(site.socket()) as client:
        assert rewrap(site, operation).returncode == 0
        assert {kek_id: kek["rows"] for kek_id, kek in keks(site).items()} == {old: {}, new: {"aes-kwp": number}}
        for view in views:
            assert client.credential(view.credential_id).status == "active"
            assert len(client.sign(site.request(site.sad(view)))) == 1
        with SamClient(site.admin()) as admin:
            assert admin.call("status", {})["anchor"] == "ok"


def test_a_rewrap_that_is_killed_goes_on_where_it_ended_and_no_key_is_lost(site: Site) -> None:
    rounds_of_kills(site, 4, ("after_anchor",), 0)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_rewrap_that_is_killed_often_loses_no_key(site: Site) -> None:
    rounds_of_kills(site, 60, ANCHOR_POINTS, 20)
