"""A real server under a flood of logins: it goes on answering everybody else, and says when to come back."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urljoin

import pytest
import requests

from foundation.files import write_secret
from idp.cli.administration import main
from tests.fakes.idp import EMAIL, PASSWORD
from tests.integration.granian import granian
from tests.integration.test_policy_live import CASES, CONFIG, POLICY
from tests.sockets import free_port

PROXY = 'trusted_proxies = ["127.0.0.0/8"]\n'
COSTS = """\
[password]
memory_kib = 65536
iterations = 5
concurrent = 1
waiting = 2
"""
"""Slow, so that few logins are a flood; three of the server's eight threads may be taken, and one by one address."""
FLOODERS = 16
SECONDS = 4.0
PATIENCE = 30
LEAST = 3
EVERYWHERE = tuple(f"203.0.113.{number}" for number in range(FLOODERS))
ONE_PLACE = ("203.0.113.1",) * FLOODERS


def form(origin: str, browser: requests.Session, address: str) -> tuple[str, dict[str, str]]:
    """Where a login from an address goes, and its fields."""
    browser.headers["X-Forwarded-For"] = address
    page = browser.get(f"{origin}/account/", timeout=PATIENCE).text
    action = re.search(r'<form data-form="sign-in"[^>]*action="([^"]+)"', page)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert action is not None
    assert token is not None
    return urljoin(origin, action[1]), {"csrf_token": token[1], "username": "alice", "password": PASSWORD}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server, behind a proxy that it believes."""
    tmp_path, port = tmp_path_factory.mktemp("flood"), free_port()
    (tmp_path / "policy.yaml").write_text(POLICY.format(word="one"))
    (tmp_path / "policy.test.yaml").write_text(CASES.format(word="one"))
    (tmp_path / "idp.toml").write_text(PROXY + CONFIG.format(directory=tmp_path, port=port) + COSTS)
    write_secret(tmp_path / "password", PASSWORD.encode())
    config = ("--config", str(tmp_path / "idp.toml"))
    person = ("--username", "alice", "--name", "Alice Example", "--email", EMAIL)
    secret = ("--password-file", str(tmp_path / "password"))
    assert main(("init", *config)) == 0
    assert main(("account", "create", *person, *secret, *config)) == 0
    with granian("idp", port, tmp_path / "idp.toml", log=tmp_path / "log", threads=8):
        yield f"http://127.0.0.1:{port}"


def sign_in(origin: str, address: str) -> int:
    """How somebody who knows their password fares."""
    with requests.Session() as browser:
        url, fields = form(origin, browser, address)
        return browser.post(url, data=fields, timeout=PATIENCE).status_code


def test_DOS_03_during_a_flood_of_logins_health_stays_green_and_whoever_is_refused_is_told_when_to_come_back(
    origin: str,
) -> None:
    health: list[tuple[int, float]] = []

    def look() -> None:
        began = time.monotonic()
        status = requests.get(f"{origin}/health/ready", timeout=PATIENCE).status_code
        health.append((status, time.monotonic() - began))
        time.sleep(0.1)

    answers = _flood(origin, EVERYWHERE, look)
    refused = [retry for status, retry in answers if status == 503]
    assert {status for status, _ in answers} <= {200, 403, 503}
    assert refused
    assert set(refused) == {"5"}
    assert {status for status, _ in health} == {200}
    assert max(seconds for _, seconds in health) < SECONDS, health
    assert sign_in(origin, "198.51.100.1") == 200


def test_DOS_03_a_flood_from_one_address_is_refused_there_and_keeps_nobody_out_elsewhere(origin: str) -> None:
    others: list[int] = []
    answers = _flood(origin, ONE_PLACE, lambda: others.append(sign_in(origin, "198.51.100.1")))
    assert {status for status, _ in answers} == {403, 429}
    assert {retry for status, retry in answers if status == 429} == {"5"}
    assert set(others) == {200}


def _flood(origin: str, addresses: Sequence[str], meanwhile: Callable[[], None]) -> list[tuple[int, str | None]]:
    """Logins from many browsers without a pause: statuses, each with its header; and meanwhile, at least three times,
    something else."""
    answers: list[tuple[int, str | None]] = []
    ready = threading.Barrier(len(addresses) + 1)
    over = threading.Event()

    def flood(address: str) -> None:
        with requests.Session() as browser:
            url, fields = form(origin, browser, address)
            ready.wait(PATIENCE)
            while not over.is_set():
                # Nobody's name, which is the same work: nobody's password gets blocked.
                answer = browser.post(url, data={**fields, "username": "nobody"}, timeout=PATIENCE)
                answers.append((answer.status_code, answer.headers.get("Retry-After")))

    threads = [threading.Thread(target=flood, args=(address,)) for address in addresses]
    for thread in threads:
        thread.start()
    try:
        ready.wait(PATIENCE)
    except threading.BrokenBarrierError:
        pytest.fail("the server did not answer before the flood")
    end, times = time.monotonic() + SECONDS, 0
    try:
        while time.monotonic() < end or times < LEAST:
            meanwhile()
            times += 1
    finally:
        over.set()
    for thread in threads:
        thread.join()
    return answers
