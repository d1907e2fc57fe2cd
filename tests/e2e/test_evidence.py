"""One signature's evidence from the running product, by the commands that an operator has."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from anchoring import standalone
from tests.e2e.conftest import AS_ROOT, Product, children, runs_from

ROOT = Path(__file__).parents[2]


def ask(product: Product, side: str, command: str, *last: str) -> str:
    """A command of a side, as its user, with what the side runs; what it prints."""
    mark = {"idp": b"wsgi:idp", "sam": b"sam\0serve"}[side]
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(product.process.pid)}
    process = next(pid for pid, line in commands.items() if mark in line)
    python = commands[process].split(b"\0")[0].decode()
    config = str(product.state / side / f"{side}.toml")
    account = pwd.getpwnam(f"privyseal-{side}") if AS_ROOT else pwd.getpwuid(os.geteuid())
    identity: dict[str, Any] = (
        {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if AS_ROOT else {}
    )
    place = runs_from(Path(f"/proc/{process}"))
    argv = [python, "-m", "launcher", side, command, "--config", config, *last]
    done = subprocess.run(argv, cwd=place, capture_output=True, text=True, timeout=60, check=False, **identity)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_the_walkthroughs_signature_is_shown_and_verified_by_one_file_alone(product: Product, tmp_path: Path) -> None:
    database = sqlite3.connect(f"file:{product.state / 'sam' / 'sam.sqlite'}?mode=ro", uri=True)
    wanted = "SELECT fields FROM audit_entries WHERE event = 'signature.consumed' LIMIT 1"
    (fields,) = database.execute(wanted).fetchone()
    database.close()
    txn = json.loads(fields)["txn"]
    keys, parts = [], []
    for side in ("idp", "sam"):
        (tmp_path / f"{side}.pem").write_text(ask(product, side, "checkpoint-key"))
        part = json.loads(ask(product, side, "evidence", "--", txn))
        (tmp_path / f"{side}.json").write_text(json.dumps(part))
        keys += [f"--{side}-key", str(tmp_path / f"{side}.pem")]
        parts += [f"--{side}-part", str(tmp_path / f"{side}.json")]
    shown = tmp_path / "evidence.json"
    command = [sys.executable, "-m", "launcher", "evidence", "show", *parts, *keys, "--output", str(shown), "--", txn]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout[:3]) == (0, "ok\n"), done.stdout + done.stderr
    alone = [sys.executable, "-I", "-S", standalone.__file__, "--evidence", str(shown), *keys]
    told = subprocess.run(alone, capture_output=True, text=True, timeout=120, check=True).stdout
    assert told == done.stdout
    assert "SENSITIVE=TRUE" in told
    for line in ("approved by account ", "policy default ", "digest 0: "):
        assert line in told
