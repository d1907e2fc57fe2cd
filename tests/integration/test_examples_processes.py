"""The examples as the processes they are: what they print, how they stop, which status they leave."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from examples.http_local import local_session
from examples.pdf_signing import verify
from tests.sockets import free_port
from tests.unit.examples.certificates import pem
from tests.unit.examples.stub import CLIENT_SECRET, PASSWORD, running_stub

ROOT = Path(__file__).parents[2]
SECONDS = 60


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(CLIENT_SECRET)
    return path


def site(port: int, tmp_path: Path, secret: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "examples.relying_party", "--port", str(port)),
        *("--state", str(tmp_path / "state"), "--client-secret-file", str(secret)),
    ]


def test_the_site_says_when_it_is_ready_and_stops_when_told(tmp_path: Path, secret: Path) -> None:
    port = free_port()
    with subprocess.Popen(
        site(port, tmp_path, secret), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == f"ready http://rp.localhost:{port}\n"
            with local_session() as http:
                assert http.get(f"http://rp.localhost:{port}/healthz").text == "ok\n"
                page = http.get(f"http://rp.localhost:{port}/callback?code=very-secret&state=s")
                assert page.status_code == 400
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        logged = process.stderr.read()
    assert "GET /callback 400" in logged
    assert "very-secret" not in logged


def test_a_taken_port_gives_a_clear_error(tmp_path: Path, secret: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            site(port, tmp_path, secret), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    assert done.returncode == 2
    assert f"cannot listen on port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_that_others_can_read_stops_the_site(tmp_path: Path, secret: Path) -> None:
    secret.chmod(0o644)
    done = subprocess.run(
        site(free_port(), tmp_path, secret), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 2
    assert "owner" in done.stderr
    assert CLIENT_SECRET not in done.stderr


def test_the_walkthrough_runs_as_a_command_and_needs_nothing_of_the_product(tmp_path: Path, secret: Path) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    root = tmp_path / "root.pem"
    with running_stub() as stub:
        root.write_bytes(pem(stub.signer.root))
        done = subprocess.run(
            [
                *(sys.executable, "-W", "error", "-X", "importtime", "-m", "examples.walkthrough"),
                *("--issuer", stub.issuer, "--csc", stub.csc, "--inbox", stub.inbox),
                *("--client-secret-file", str(secret), "--password-file", str(password)),
                *("--out", str(tmp_path), "--root", str(root), "--no-revocation"),
                *("--level", "Ades-B-B"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert verify((tmp_path / "contract-signed.pdf").read_bytes(), [stub.signer.root]).bottom_line
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    ours = {"contract", "foundation", "auditlog", "launcher", "idp", "signing", "connectors", "policies", "devservices"}
    assert "examples" in {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & ours
