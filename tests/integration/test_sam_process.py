"""The module as its operator and the web tier meet it: a process on SoftHSM2, spoken to over its sockets."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from auditlog.notes import key_from_pem, open_note
from foundation.clock import SystemClock
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused
from signing.link.frames import receive_frame, send_frame
from signing.storage.engine import open_engine
from tests.fakes.sam import digest
from tests.integration.sam_site import ROOT, Site, make_site
from tests.shim import Shim

pytestmark = pytest.mark.hsm


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    site.write_config()
    return site


def refusal_of(link: socket.socket, operation: str, body: dict[str, object]) -> str:
    send_frame(link, {"op": operation, "body": body}, time.monotonic() + 10)
    answer = receive_frame(link, time.monotonic() + 10)
    assert answer is not None
    return str(answer["error"]["code"])


def test_from_nothing_to_a_signature_and_a_verified_chain(site: Site, tmp_path: Path) -> None:
    config = str(site.config())
    assert "anchor: written, with 2 operators" in site.init()
    again = site.init()
    assert "initialised" not in again
    assert "created" not in again
    for pin in ("so-pin", "user-pin"):
        assert stat.S_IMODE((tmp_path / pin).stat().st_mode) == 0o600
    with site.serving() as process, SamClient(site.socket()) as client:
        client.ping()
        view = site.credential(client)
        assert (view.status, view.key_kind, view.scal) == ("active", "EC", "2")
        request = site.request(site.sad(view, (digest(1), digest(2))))
        assert len(client.sign(request)) == 2
        with pytest.raises(LinkRefused) as refusal:
            client.sign(request)
        assert refusal.value.refusal == codes.SAD_USED
        assert client.list_credentials("alice") == (view,)
        status = json.loads(site.run("sam", "status", "--config", config, "--json").stdout)
        assert status["device_available"]
        assert status["redemptions"]["consumed"] == 1
        assert "device_available: True" in site.run("sam", "status", "--config", config).stdout
        (row,) = json.loads(site.run("sam", "credentials", "--config", config, "--json").stdout)
        assert (row["credential_id"], row["integrity"]) == (view.credential_id, "ok")
        assert stat.S_IMODE(site.admin().stat().st_mode) == 0o600
        _check_that_no_pin_shows(site, process, tmp_path)
        note = site.run("sam", "checkpoint", "--config", config, "--signed").stdout
        (tmp_path / "key.pem").write_text(site.run("sam", "checkpoint-key", "--config", config).stdout)
        assert open_note(note, [key_from_pem((tmp_path / "key.pem").read_bytes())]).origin == "test/sam"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not site.socket().exists()
    (tmp_path / "kept").write_text(site.run("sam", "checkpoint", "--config", config).stdout)
    verify = ("audit", "verify", "--database-url-file", str(tmp_path / "url"), "--checkpoint", str(tmp_path / "kept"))
    signed = site.run(*verify, "--checkpoint-key", str(tmp_path / "key.pem")).stdout
    assert signed.startswith("ok: ")
    # One that was asked for; what is at the end is the same place.
    assert signed.endswith("1 signed checkpoints, their signatures verified\n")
    (tmp_path / "other.pem").write_bytes((tmp_path / "idp.pem").read_bytes())
    other = site.run(*verify, "--checkpoint-key", str(tmp_path / "other.pem"), check=False)
    assert (other.returncode, "signed by none of the keys" in other.stderr) == (1, True)
    assert site.run("sam", "reconcile", "--config", config).stdout == "closed as indeterminate: 0\n"
    stopped = site.run("sam", "status", "--config", config, check=False)
    assert stopped.returncode == 1
    assert "is it running" in stopped.stderr
    assert site.run("sam", "credentials", "--config", config, check=False).returncode == 1


def _check_that_no_pin_shows(site: Site, process: subprocess.Popen[str], tmp_path: Path) -> None:
    """KEY-08: neither in arguments nor environments, log, database or settings."""
    pins = [(tmp_path / name).read_bytes().strip() for name in ("so-pin", "user-pin")]
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) > 1
    places = [Path(f"/proc/{member.pid}/{name}") for member in family for name in ("environ", "cmdline")]
    places += [site.log(), site.config(), *tmp_path.glob("sam.sqlite*")]
    for place in places:
        content = place.read_bytes()
        assert not any(pin in content for pin in pins), place


def test_SAD_13_the_socket_signs_nothing_without_a_sad(site: Site) -> None:
    site.init()
    with site.serving(), SamClient(site.socket()) as client, socket.socket(socket.AF_UNIX) as link:
        view = site.credential(client)
        link.connect(str(site.socket()))
        request = site.request(site.sad(view)).to_json()
        without = {name: value for name, value in request.items() if name != "sad"}
        assert refusal_of(link, "sign", without) == codes.BAD_REQUEST
        assert refusal_of(link, "sign", {**request, "sad": "x"}) == codes.INVALID_SAD
        assert refusal_of(link, "sign", {**request, "force": True}) == codes.BAD_REQUEST
        for operation in ("mac", "generate", "sign_raw", "status", "inspect_credentials", "reconcile"):
            assert refusal_of(link, operation, {}) == codes.BAD_REQUEST
        assert refusal_of(link, "list_credentials", {"owner": ""}) == codes.NOT_PERMITTED
        assert refusal_of(link, "execute_order", {"order": request["sad"]}) == codes.INVALID_ORDER
        assert refusal_of(link, "create_credential", {"order": "x"}) == codes.INVALID_ORDER
        chain: dict[str, object] = {"credential_id": view.credential_id, "chain": ["AQ"]}
        assert refusal_of(link, "link_certificate", chain) == codes.CREDENTIAL_DISABLED
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(site.admin()))
            for operation in ("sign", "create_credential", "link_certificate", "execute_order"):
                assert refusal_of(admin, operation, {}) == codes.BAD_REQUEST


def test_the_operator_sees_everybodys_credentials_and_which_row_was_altered(site: Site, tmp_path: Path) -> None:
    site.init()
    with site.serving(), SamClient(site.socket()) as client, SamClient(site.admin()) as admin:
        view = site.credential(client)
        assert admin.list_credentials("alice") == (view,)
        engine = open_engine(f"sqlite:///{tmp_path / 'sam.sqlite'}")
        with engine.begin() as connection:
            connection.execute(text("UPDATE credentials SET owner = 'mallory'"))
        engine.dispose()
        found = site.run("sam", "credentials", "--config", str(site.config()), check=False)
        assert found.returncode == 1
        assert "row_integrity" in found.stdout
        with pytest.raises(LinkRefused) as refusal:
            client.sign(site.request(site.sad(view)))
        assert refusal.value.refusal == codes.ROW_INTEGRITY


def test_without_its_device_the_module_starts_and_says_so_and_comes_back(site: Site, tmp_path: Path) -> None:
    site.init()
    (tmp_path / "tokens").rename(tmp_path / "away")
    with site.serving(), SamClient(site.socket()) as client:
        with pytest.raises(LinkRefused) as refusal:
            client.ping()
        assert refusal.value.refusal == codes.DEVICE_UNAVAILABLE
        with pytest.raises(LinkRefused) as refusal:
            client.create_credential(site.now_world().order_token())
        assert refusal.value.refusal == codes.DEVICE_UNAVAILABLE
        (tmp_path / "away").rename(tmp_path / "tokens")
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                client.ping()
                break
            except LinkRefused:
                time.sleep(0.2)
        assert site.credential(client).status == "active"


@pytest.fixture
def hanging(site: Site, shim: Shim) -> Site:
    """An installation with the shim in front of its token, and a second for each call of that."""
    site.init()
    site.module, site.environment = shim.library, {**shim.environment, **site.environment}
    config = site.write_config()
    config.write_text(config.read_text().replace("[device]\n", "[device]\ndeadline_seconds = 1.0\n"))
    return site


def test_OPS_02_told_to_end_while_its_device_hangs_at_the_start_the_module_ends(hanging: Site, shim: Shim) -> None:
    shim.fault("C_Login", "hang")
    command = [sys.executable, "-m", "launcher", "sam", "serve", "--config", str(hanging.config())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: shim.calls("C_Login") == 1)
            process.terminate()
            # The first start of a worker may take a minute.
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, "")


def test_OPS_02_told_to_end_while_it_opens_its_device_once_more_the_module_ends(hanging: Site, shim: Shim) -> None:
    shim.fault("C_Login", "return", 0x30, times=1)
    shim.fault("C_Login", "hang", nth=2)
    with hanging.serving() as process:
        until(lambda: shim.calls("C_Login") == 2)
        process.terminate()
        assert process.wait(30) == 0


def test_OPS_02_a_module_that_cannot_say_that_it_is_ready_ends(site: Site) -> None:
    site.init()
    command = [sys.executable, "-m", "launcher", "sam", "serve", "--config", str(site.config())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.close()
        try:
            assert process.wait(60) != 0
        finally:
            process.kill()
    assert not site.socket().exists()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


@pytest.mark.parametrize("pin", ["user-pin"])
def test_KEY_09_a_refused_pin_is_not_tried_again(site: Site, tmp_path: Path, pin: str) -> None:
    site.init()
    (tmp_path / pin).write_text("wrong-pin-of-a-test")
    with site.serving(), SamClient(site.socket()) as client:
        time.sleep(3)
        with pytest.raises(LinkRefused) as refusal:
            client.ping()
        assert refusal.value.refusal == codes.DEVICE_UNAVAILABLE
    assert site.log().read_text().count("the device cannot be opened") == 1
    assert "wrong-pin-of-a-test" not in site.log().read_text()


def test_SAD_12_a_cleared_ledger_and_a_restart_do_not_let_a_sad_serve_twice(site: Site, tmp_path: Path) -> None:
    site.init()
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
        used = site.request(site.sad(view))
        client.sign(used)
    engine = open_engine(f"sqlite:///{tmp_path / 'sam.sqlite'}")
    with engine.begin() as connection:
        for table in ("outcomes", "positions", "redemptions", "approvals"):
            connection.execute(text(f"DELETE FROM {table}"))
    engine.dispose()
    with site.serving(), SamClient(site.socket()) as client:
        with pytest.raises(LinkRefused) as refusal:
            client.sign(used)
        assert refusal.value.refusal == codes.INVALID_SAD
        assert len(client.sign(site.request(site.sad(view)))) == 1


def test_a_database_that_was_not_initialised_is_refused(site: Site) -> None:
    refused = site.run("sam", "serve", "--config", str(site.config()), check=False)
    assert refused.returncode == 1
    assert "sam init" in refused.stderr


def test_two_modules_do_not_serve_one_socket(site: Site) -> None:
    site.init()
    with site.serving():
        second = site.run("sam", "serve", "--config", str(site.config()), check=False)
        assert second.returncode == 1
        assert "another process serves this socket" in second.stderr


def test_the_reconciler_closes_what_is_overdue_while_serving(site: Site, tmp_path: Path) -> None:
    site.write_config(reservation_deadline_seconds=55, reconcile_every_seconds=0.1)
    site.init()
    engine = open_engine(f"sqlite:///{tmp_path / 'sam.sqlite'}")
    values = {"at": int(SystemClock().now().timestamp()) - 60}
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO redemptions (id, issuer, txn, sad_jti, credential_id, client_id, positions, reserved_at)"
                " VALUES ('r', 'i', 't', 'j', 'c', 'c', '[0]', :at)"
            ),
            values,
        )
        connection.execute(text("INSERT INTO undecided (redemption_id) VALUES ('r')"))
    with site.serving():
        until = time.monotonic() + 10
        state = None
        while state is None and time.monotonic() < until:
            time.sleep(0.1)
            with engine.connect() as connection:
                state = connection.execute(text("SELECT state FROM outcomes")).scalar_one_or_none()
    engine.dispose()
    assert state == "indeterminate"
    assert "redemption indeterminate" in site.log().read_text()
