"""Readiness tells the truth: red within five seconds of a loss, green within five of its end, though nobody signs.

The shim stands in front of SoftHSM2 with a process behind it that answers for the token, as an HSM does behind a
network: it can be killed, stopped and started again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from foundation.files import write_secret
from signing.app import create_app
from signing.link.client import SamClient
from signing.link.errors import LinkRefused
from signing.link.messages import CredentialView
from signing.settings import IssuerSettings, WebSettings
from tests.fakes.sam import digest
from tests.integration.sam_site import Site, make_site
from tests.shim import Shim
from tests.shim.device import RemoteDevice

pytestmark = pytest.mark.hsm
SECONDS = 5.0


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    made.write_config()
    made.init()
    return made


@pytest.fixture
def remote(site: Site, shim: Shim, tmp_path: Path) -> Iterator[RemoteDevice]:
    made = RemoteDevice(tmp_path / "device")
    site.module, site.environment = shim.library, {**shim.environment, **site.environment, **made.environment}
    site.write_config()
    yield made
    made.kill()


class Node:
    """A running module, asked as the web tier's load balancer and its operator would."""

    def __init__(self, site: Site, web: FlaskClient, sam: SamClient) -> None:
        self.site, self._web, self.sam = site, web, sam

    def ready(self) -> bool:
        code = self._web.get("/health/ready").status_code
        assert code in {200, 503}
        return code == 200

    def turns(self, ready: bool, began: float) -> float:
        """Wait until it says so, for no longer than it may take; seconds since ``began``."""
        while self.ready() is not ready:
            assert time.monotonic() - began < SECONDS + 0.5, f"ready is not {ready} in time"
            time.sleep(0.05)
        return time.monotonic() - began

    def status(self) -> dict[str, Any]:
        with SamClient(self.site.admin()) as admin:
            return admin.call("status", {})

    def told(self) -> tuple[int, dict[str, Any]]:
        """The same by the command, with its exit code."""
        done = self.site.run("sam", "status", "--config", str(self.site.config()), "--json", check=False)
        return done.returncode, json.loads(done.stdout)

    def signs(self, view: CredentialView, number: int) -> None:
        assert len(self.sam.sign(self.site.request(self.site.sad(view, (digest(number),))))) == 1


@contextmanager
def node(site: Site, tmp_path: Path, workers: int = 2) -> Iterator[Node]:
    write_secret(tmp_path / "csc-secret", b"secret")
    settings = WebSettings(
        mode="development",
        public_url="http://sign.localhost",
        issuer=IssuerSettings("http://idp.localhost", "csc", tmp_path / "csc-secret"),
        sam_socket=site.socket(),
    )
    with (
        site.serving() as process,
        SamClient(site.socket(), timeout_seconds=20) as sam,
        SamClient(site.socket()) as web,
    ):
        made = Node(site, create_app(settings, sam=web).test_client(), sam)
        until(lambda: made.status()["device"]["workers_ready"] == workers)
        yield made
        # Whatever happened to the device: it is the same process.
        assert process.poll() is None


def test_OPS_02_a_token_that_is_killed_is_red_at_once_and_green_when_it_is_back(
    site: Site, remote: RemoteDevice, tmp_path: Path
) -> None:
    remote.start()
    with node(site, tmp_path) as up:
        view = site.credential(up.sam)
        up.signs(view, 1)
        status = up.status()
        assert status["device"]["canary_age_seconds"] < SECONDS
        workers = {each["process"] for each in status["device"]["processes"]}
        assert len(workers) == 2
        began = time.monotonic()
        remote.kill()
        up.turns(False, began)
        code, status = up.told()
        assert code == 1
        assert not status["device_available"]
        assert status["device"]["failure"]
        assert status["device"]["return_codes"]["CKR_DEVICE_ERROR"] >= 1
        request = site.request(site.sad(view, (digest(2),)))
        with pytest.raises(LinkRefused, match="device_unavailable"):
            up.sam.sign(request)
        began = time.monotonic()
        remote.start()
        up.turns(True, began)
        # Nothing was sent, so the approval is not spent.
        assert len(up.sam.sign(request)) == 1
        status = up.status()
        assert status["device_available"]
        assert status["device"]["losses"] >= 1
        assert not workers & {each["process"] for each in status["device"]["processes"]}


def test_OPS_02_a_token_that_hangs_is_red_within_five_seconds_and_green_when_it_goes_on(
    site: Site, remote: RemoteDevice, tmp_path: Path
) -> None:
    remote.start()
    with node(site, tmp_path) as up:
        view = site.credential(up.sam)
        up.turns(True, time.monotonic())
        remote.stop()
        began = time.monotonic()
        up.turns(False, began)
        time.sleep(6.0)
        assert not up.ready()
        request = site.request(site.sad(view, (digest(1),)))
        with pytest.raises(LinkRefused, match="device_unavailable"):
            up.sam.sign(request)
        remote.go_on()
        up.turns(True, time.monotonic())
        assert len(up.sam.sign(request)) == 1


@pytest.mark.full
def test_OPS_02_a_module_that_starts_without_its_token_serves_when_the_token_comes(
    site: Site, remote: RemoteDevice, tmp_path: Path
) -> None:
    with node(site, tmp_path, workers=0) as up:
        assert not up.ready()
        assert up.status()["device"]["workers_ready"] == 0
        remote.start()
        began = time.monotonic()
        up.turns(True, began)
        up.signs(site.credential(up.sam), 1)


@pytest.mark.full
def test_OPS_02_a_slow_token_is_ready_and_one_that_answers_nothing_is_not(
    site: Site, shim: Shim, tmp_path: Path
) -> None:
    site.module, site.environment = shim.library, {**shim.environment, **site.environment}
    site.write_config()
    with node(site, tmp_path) as up:
        view = site.credential(up.sam)
        shim.fault("C_Sign", "delay", 150)
        up.signs(view, 1)
        for _ in range(20):
            assert up.ready()
            time.sleep(0.1)
        shim.heal()
        shim.fault("C_Sign/canary", "hang")
        up.turns(False, time.monotonic())
        shim.heal()
        up.turns(True, time.monotonic())
        up.signs(view, 2)


def test_the_operator_sees_device_slot_canary_workers_and_return_codes(site: Site, shim: Shim, tmp_path: Path) -> None:
    site.module, site.environment = shim.library, {**shim.environment, **site.environment}
    site.write_config()
    with node(site, tmp_path) as up:
        view = site.credential(up.sam)
        shim.fault("C_UnwrapKey", "return", 0x31, times=1)
        up.signs(view, 1)
        until(lambda: up.status()["device"]["workers_ready"] == 2)
        # A canary's, which comes within the second.
        shim.fault("C_SignInit", "return", 0x101, times=1)
        until(lambda: len(up.status()["device"]["return_codes"]) == 2)
        until(lambda: up.status()["device"]["workers_ready"] == 2)
        code, status = up.told()
        device = status["device"]
        assert code == 0
        assert device["return_codes"] == {"CKR_DEVICE_MEMORY": 1, "CKR_USER_NOT_LOGGED_IN": 1}
        assert (device["available"], device["failure"], device["losses"]) == (True, None, 0)
        assert 0 <= device["canary_age_seconds"] < SECONDS
        (slot,) = {each["slot"] for each in device["processes"]}
        (serial,) = {each["token_serial"] for each in device["processes"]}
        assert slot.isdigit()
        assert serial
        text = site.run("sam", "status", "--config", str(site.config())).stdout
        assert "device.return_codes.CKR_DEVICE_MEMORY: 1" in text
        assert "device.canary_age_seconds: " in text
        assert "device.failure: none" in text
        assert text.count("device.worker: ") == 2
        assert f"slot={slot}" in text
    down = site.run("sam", "status", "--config", str(site.config()), check=False)
    assert down.returncode == 1
    assert "does not answer" in down.stderr
