"""A module that is killed between token and database: the next one finishes it, by itself."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contract.order import CreateParameters
from foundation.settings import load
from signing.link.client import SamClient
from signing.link.errors import LinkUnavailable
from signing.sam_cli import PREFIX, device_settings
from signing.sam_settings import SamSettings
from signing.scdev.device import Pkcs11Device
from tests.fakes.sam import ALICE, REALM
from tests.integration.sam_site import Site, make_site

pytestmark = [pytest.mark.hsm, pytest.mark.full]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An installation that keeps its keys on the token, and sweeps as soon as it may."""
    made = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    config = made.write_config(reservation_deadline_seconds=27, anchor_every_seconds=0.5)
    text = config.read_text().replace("[device]\n", "[device]\ndeadline_seconds = 3.0\n")
    config.write_text(text + '[profiles.kept]\nkey = "ec-p256"\ncustody = "token"\n')
    made.init()
    return made


def kept(site: Site) -> frozenset[bytes]:
    settings = device_settings(load(SamSettings, site.config(), prefix=PREFIX).device)
    with Pkcs11Device(replace(settings, workers=1)) as device:
        return device.kept(REALM)


def killed(site: Site, point: str, ask: Callable[[SamClient], object]) -> None:
    """A node that dies at the point, whatever it is asked."""
    node = ("tests.integration.sam_node", str(site.config()), str(site.directory / "counter"), point)
    with site.serving(*node) as process, SamClient(site.socket()) as client:
        with pytest.raises(LinkUnavailable):
            ask(client)
        assert process.wait(10) == -signal.SIGKILL


def swept(site: Site) -> None:
    """Wait until the module that runs has written that it destroyed a key."""
    until = time.monotonic() + 120
    while "that no credential has was destroyed" not in site.log().read_text():
        assert time.monotonic() < until, site.log().read_text()
        time.sleep(0.5)


def unfinished(site: Site) -> dict[str, int | None]:
    said = site.run("sam", "status", "--config", str(site.config()), "--json", check=False).stdout
    found: dict[str, int | None] = json.loads(said)["unfinished"]
    return found


def test_KEY_11_killed_between_tombstone_and_destruction_the_next_module_destroys_the_key(site: Site) -> None:
    order = CreateParameters("kept", ALICE)
    with site.serving(), SamClient(site.socket()) as client:
        view = client.create_credential(site.now_world().order_token(parameters=order)).credential
    assert len(kept(site)) == 1
    token = site.now_world().order_token("credential.delete", credential_id=view.credential_id)
    killed(site, "before_destroy", lambda client: client.execute_order(token))
    assert len(kept(site)) == 1
    with site.serving(), SamClient(site.socket()) as client:
        assert client.credential(view.credential_id).status == "deleted"
        swept(site)
    assert kept(site) == frozenset()


def test_KEY_10_killed_between_key_and_row_the_next_module_destroys_the_key_and_carries_the_order_out(
    site: Site,
) -> None:
    token = site.now_world().order_token(parameters=CreateParameters("kept", ALICE))
    killed(site, "after_generate", lambda client: client.create_credential(token))
    (orphan,) = kept(site)
    with site.serving(), SamClient(site.socket()) as client:
        assert unfinished(site)["without_key"] == 1
        swept(site)
        assert client.create_credential(token).credential.status == "pending"
        found = unfinished(site)
        assert (found["without_key"], found["without_certificate"]) == (0, 1)
    (made,) = kept(site)
    assert made != orphan
