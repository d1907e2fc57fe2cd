"""A web server that is told to end does, whichever of its threads the kernel tells."""

from __future__ import annotations

import ctypes
import signal
import time
from pathlib import Path

import psutil

from idp.cli.administration import main
from launcher.toml import dumps
from tests.architecture.source import ROOT
from tests.integration.granian import granian
from tests.sockets import free_port


def test_OPS_02_a_worker_of_which_another_thread_is_given_the_signal_ends(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "policy.yaml").write_text((ROOT / "policies" / "default.yaml").read_text())
    settings = {
        "mode": "development",
        "issuer": f"http://127.0.0.1:{port}",
        "database_url": f"sqlite:///{tmp_path / 'idp.sqlite'}",
        "key_dir": "keys",
        "policy_file": "policy.yaml",
        "signing": {"csc_base": "http://sign.localhost:8402/csc/v2", "sam_id": "urn:sam"},
    }
    (tmp_path / "idp.toml").write_text(dumps(settings))
    assert main(("init", "--config", str(tmp_path / "idp.toml"))) == 0
    with granian("idp", port, tmp_path / "idp.toml", log=tmp_path / "log"):
        (server,) = (each for each in psutil.Process().children() if str(port) in each.cmdline())
        (worker,) = server.children()
        others = [thread.id for thread in worker.threads() if thread.id != worker.pid]
        assert ctypes.CDLL(None).tgkill(worker.pid, others[0], signal.SIGTERM) == 0
        deadline = time.monotonic() + 60
        while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the worker goes on"
            time.sleep(0.05)
