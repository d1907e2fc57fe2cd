"""SAD-06 and SAD-11 in the running product: an administrator's command, a process of its own, ends SADs for good."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.options import Setting
from tests.e2e.conftest import AS_ROOT, Product, children, runs_from
from tests.e2e.test_refusals import Act, act, authorised, credential, digest, given, request

__all__ = ["act", "credential", "given"]

DELIVERED_SECONDS = 60
AGAIN_SECONDS = 7
Command = Callable[..., None]


@pytest.fixture
def command(product: Product) -> Command:
    """`privyseal idp` as the identity provider's administrator."""

    def server() -> Path:
        for pid in children(product.process.pid):
            found = Path(f"/proc/{pid}")
            if b"wsgi:idp" in (found / "cmdline").read_bytes():
                return found
        raise LookupError("the identity provider does not run")

    def run(*arguments: str) -> None:
        process = server()
        account = pwd.getpwnam("privyseal-idp") if AS_ROOT else pwd.getpwuid(os.geteuid())
        identity: dict[str, Any] = (
            {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if AS_ROOT else {}
        )
        python = (process / "cmdline").read_bytes().split(b"\0")[0].decode()
        argv = [python, "-m", "launcher", "idp", *arguments, "--config", str(product.state / "idp" / "idp.toml")]
        subprocess.run(argv, cwd=runs_from(process), timeout=60, check=True, **identity)

    return run


def own(path: Path) -> Path:
    """Make a file the administrator's only."""
    if AS_ROOT:
        shutil.chown(path, "privyseal-idp", "privyseal-idp")
    path.chmod(0o600)
    return path


def until_revoked(act: Act, credential_id: str, sad: str) -> None:
    """Ask for a digest that the SAD does not authorise, which spends nothing, until the SAD itself is refused."""
    until = time.monotonic() + DELIVERED_SECONDS
    while True:
        _, answer = act("signatures/signHash", request(credential_id, [digest("not authorised")]), sad)
        if answer["error_description"] == "Invalid parameter SAD":
            return
        assert answer["error_description"] == "Hash is not authorized by the SAD"
        assert time.monotonic() < until, "the event did not arrive"
        time.sleep(0.2)


def test_SAD_06_SAD_11_an_administrator_who_sets_a_password_ends_what_was_approved_before(
    product: Product, place: Path, given: Setting, credential: tuple[str, str], act: Act, command: Command
) -> None:
    _, credential_id = credential
    wanted = request(credential_id, [digest("the contract")])
    sad = authorised(given, credential_id, [digest("the contract")])
    secret = place / "same-password"
    secret.write_bytes(product.password_file.read_bytes())
    command("account", "set-password", "--username", "alice", "--password-file", str(own(secret)))
    until_revoked(act, credential_id, sad)
    status, answer = act("signatures/signHash", wanted, sad)
    assert (status, answer["error_description"]) == (400, "Invalid parameter SAD")
    # What is approved later is another matter, for the tests after this one too.
    time.sleep(AGAIN_SECONDS)
    status, answer = act("signatures/signHash", wanted, authorised(given, credential_id, [digest("the contract")]))
    assert (status, len(answer["signatures"])) == (200, 1)
