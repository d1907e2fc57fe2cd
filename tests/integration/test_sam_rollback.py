"""The rollback anchor on a real token: a database set back across a restart of the module (SAD-12, KEY-04)."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkError, LinkRefused, LinkUnavailable
from signing.link.messages import SignRequest
from signing.storage.engine import open_engine
from tests.fakes.copies import copy_tables, put_back
from tests.integration.sam_node import ANCHOR_POINTS
from tests.integration.sam_site import Site, make_site

pytestmark = pytest.mark.hsm


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'sam.sqlite'}"
        if request.param == "postgresql":
            url = stack.enter_context(request.getfixturevalue("postgres_server").fresh_database())
        site = make_site(tmp_path, url)
        site.write_config()
        site.init()
        yield site


def keep(site: Site) -> Callable[[], None]:
    """Keep the database as it is, nobody using it; gives the way back to it."""
    database = site.directory / "sam.sqlite"
    if database.exists():
        # As somebody with a copy would: the file itself.
        shutil.copy(database, site.directory / "kept.sqlite")

        def back() -> None:
            for name in ("sam.sqlite-wal", "sam.sqlite-shm"):
                (site.directory / name).unlink(missing_ok=True)
            shutil.copy(site.directory / "kept.sqlite", database)

        return back
    engine = open_engine((site.directory / "url").read_text())
    copy = copy_tables(engine)
    engine.dispose()

    def restore() -> None:
        again = open_engine((site.directory / "url").read_text())
        put_back(again, copy)
        again.dispose()

    return restore


def refusal(client: SamClient, request: SignRequest) -> str:
    with pytest.raises(LinkRefused) as refused:
        client.sign(request)
    return refused.value.refusal


def wait_for_device(client: SamClient) -> None:
    """Two modules that open one token at the same time may get in each other's way; they try again."""
    until = time.monotonic() + 30
    while True:
        try:
            return client.ping()
        except LinkRefused:
            assert time.monotonic() < until, "the device does not come"
            time.sleep(0.2)


def status(site: Site) -> dict[str, object]:
    found = site.run("sam", "status", "--config", str(site.config()), "--json", check=False).stdout
    value = json.loads(found)
    assert isinstance(value, dict)
    return value


def test_SAD_12_a_database_set_back_across_a_restart_stops_signing_until_two_operators_restore_it(site: Site) -> None:
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
    put_the_database_back = keep(site)
    with site.serving(), SamClient(site.socket()) as client:
        spent = site.request(site.sad(view))
        assert len(client.sign(spent)) == 1
        suspend = site.operation("credential.suspend", 1, credential_id=view.credential_id)
        done = site.run("sam", "execute", "--config", str(site.config()), "--operation", str(suspend))
        assert f"{view.credential_id}: suspended" in done.stdout
    put_the_database_back()
    with site.serving(), SamClient(site.socket()) as client:
        with pytest.raises(LinkRefused) as refused:
            client.ping()
        assert refused.value.refusal == codes.LEDGER_SET_BACK
        assert refusal(client, site.request(site.sad(view))) == codes.LEDGER_SET_BACK
        assert "nothing is signed" in site.log().read_text()
        assert status(site)["anchor"] == "the audit chain lacks the anchor's record"
        restore = ("sam", "restore", "--config", str(site.config()), "--operation")
        alone = site.run(*restore, str(site.operation("ledger.restore", 1)), check=False)
        assert (alone.returncode, "more operators" in alone.stderr) == (1, True)
        other = site.run(*restore, str(suspend), check=False)
        assert (other.returncode, "not ledger.restore" in other.stderr) == (1, True)
        assert refusal(client, site.request(site.sad(view))) == codes.LEDGER_SET_BACK
        assert "epoch 2" in site.run(*restore, str(site.operation("ledger.restore"))).stdout
        client.ping()
        assert status(site)["anchor"] == "ok"
        assert refusal(client, spent) == codes.INVALID_SAD
        assert len(client.sign(site.request(site.sad_after_a_restore(view)))) == 1
    with site.serving(), SamClient(site.socket()) as client:
        assert refusal(client, spent) == codes.INVALID_SAD
        assert len(client.sign(site.request(site.sad_after_a_restore(view)))) == 1


@pytest.mark.postgres
def test_two_modules_change_credentials_at_once_over_one_token_and_one_database(
    tmp_path: Path, postgres_server: Any
) -> None:
    with postgres_server.fresh_database() as url:
        site = make_site(tmp_path, url)
        for node in ("a", "b"):
            site.write_config(node)
        site.init()
        made = change_at_once(site)
        with site.serving(), SamClient(site.socket()) as client:
            wait_for_device(client)
            assert {client.credential(each).status for each in made} == {"active"}


def change_at_once(site: Site) -> set[str]:
    """Credentials that lived through changes on two nodes, several at a time."""
    with ExitStack() as stack:
        for node in ("a", "b"):
            stack.enter_context(site.serving(node=node))
        clients = [stack.enter_context(SamClient(site.socket(node), timeout_seconds=60)) for node in ("a", "b")]
        admins = [stack.enter_context(SamClient(site.admin(node), timeout_seconds=60)) for node in ("a", "b")]

        for client in clients:
            wait_for_device(client)

        def life(number: int) -> str:
            view = site.credential(clients[number % 2])
            suspend = site.operation("credential.suspend", 1, credential_id=view.credential_id)
            admins[number % 2].call("execute_operation", {"operation": suspend.read_text().strip()})
            resume = site.operation("credential.resume", credential_id=view.credential_id)
            admins[1 - number % 2].call("execute_operation", {"operation": resume.read_text().strip()})
            return view.credential_id

        with ThreadPoolExecutor(4) as pool:
            made = set(pool.map(life, range(8)))
        assert len(made) == 8
        assert {admin.call("status", {})["anchor"] for admin in admins} == {"ok"}
    return made


def test_SAD_03_killed_while_a_change_is_anchored_the_module_starts_again(tmp_path: Path) -> None:
    site = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    site.write_config()
    site.init()
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
    counter = tmp_path / "counter"
    for point in ANCHOR_POINTS:
        suspend = site.operation("credential.suspend", 1, credential_id=view.credential_id)
        node = ("tests.integration.sam_node", str(site.config()), str(counter), point)
        with site.serving(*node) as process, SamClient(site.admin()) as admin:
            with pytest.raises(LinkUnavailable):
                admin.call("execute_operation", {"operation": suspend.read_text().strip()})
            assert process.wait(10) == -signal.SIGKILL
        with site.serving(), SamClient(site.socket()) as client, SamClient(site.admin()) as admin:
            wait_for_device(client)
            found = client.credential(view.credential_id).status
            assert found == ("active" if point in {"before_anchor", "after_anchor"} else "suspended")
            if found == "active":
                assert len(client.sign(site.request(site.sad(view)))) == 1
            again = site.operation("credential.resume", credential_id=view.credential_id)
            try:
                admin.call("execute_operation", {"operation": again.read_text().strip()})
            except LinkError:
                assert found == "active"


@pytest.mark.parametrize("operators", [0, 1])
def test_ADM_01_production_is_not_initialised_with_fewer_than_two_operators(tmp_path: Path, operators: int) -> None:
    site = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    site.operators = site.operators[:operators]
    config = site.write_config(mode="production", web_uid=12345)
    text = config.read_text().replace("libsofthsm2", "libvendor").replace(f'database_url_file = "{tmp_path}/url"', "")
    config.write_text(f'database_url_file = "{tmp_path}/url"\n' + text.replace("http://", "https://"))
    named = [part for number in range(operators) for part in ("--operator", str(site.operator(number)))]
    refused = site.run("sam", "init", "--config", str(config), *named, check=False)
    assert refused.returncode == 1
    assert "takes two" in refused.stderr
    assert not (tmp_path / "user-pin").exists()


def test_ADM_01_the_same_operator_twice_is_refused_and_what_is_no_key_too(tmp_path: Path) -> None:
    site = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    config = str(site.write_config())
    for second, words in ((site.operator(0), "same key"), (tmp_path / "url", "not an operator's")):
        named = ("--operator", str(site.operator(0)), "--operator", str(second))
        refused = site.run("sam", "init", "--config", config, *named, check=False)
        assert refused.returncode == 1
        assert words in refused.stderr
