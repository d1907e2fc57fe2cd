"""An installation of the module on disk: token, keys, anchor, settings; and what an idp and a CA would do for it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from contract import sad as sads
from contract.sad import Sad
from foundation.clock import FixedClock, SystemClock, epoch
from foundation.files import write_secret
from foundation.jose import SigningKey, generate_signing_key
from signing.link.client import SamClient
from signing.link.messages import CredentialView, SignRequest
from signing.sam.verify import LEEWAY_SECONDS
from tests.fakes.sam import CLIENT, ECDSA_SHA256, ISSUER, REALM, SAM_ID, Authority, World, digest
from tests.fakes.softhsm import SOFTHSM2_MODULE, empty_token_directory

ROOT = Path(__file__).parents[2]


@dataclass
class Site:
    """Paths and keys of an installation; nodes differ in their sockets."""

    directory: Path
    idp_key: SigningKey
    authority: Authority
    environment: dict[str, str]
    operators: tuple[SigningKey, ...] = ()
    """Keys of the operators that :meth:`init` enrols."""
    module: Path = SOFTHSM2_MODULE
    """The PKCS#11 module; :mod:`tests.shim` can stand in front of it."""
    preloaded: dict[str, str] = field(default_factory=dict)
    """More of the environment of nodes that serve, such as another clock."""
    started: int = 0
    """NumericDate of the last start of a node."""

    def config(self, node: str = "a") -> Path:
        """``sam.toml`` of a node."""
        return self.directory / f"{node}.toml"

    def socket(self, node: str = "a") -> Path:
        """A node's socket for the web tier."""
        return self.directory / f"{node}.sock"

    def admin(self, node: str = "a") -> Path:
        """A node's socket for its operator."""
        return self.directory / f"{node}.admin"

    def write_config(self, node: str = "a", **changes: object) -> Path:
        """Settings that are right, until changed; a mapping is a table."""
        table: dict[str, object] = {
            "mode": "development",
            "database_url_file": str(self.directory / "url"),
            "realm": REALM,
            "sam_id": SAM_ID,
            "socket": str(self.socket(node)),
            "admin_socket": str(self.admin(node)),
            "certificate_anchors": [str(self.directory / "root.pem")],
            **changes,
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in table.items() if not isinstance(value, dict)]
        for name, value in table.items():
            if isinstance(value, dict):
                lines += [f"[{name}]", *(f"{key} = {json.dumps(item)}" for key, item in value.items())]
        lines += ["[issuers.idp]", f'issuer = "{ISSUER}"', f"keys = [{json.dumps(str(self.directory / 'idp.pem'))}]"]
        lines += [
            "[device]",
            f"module = {json.dumps(str(self.module))}",
            'token_label = "test"',
            f"pin_file = {json.dumps(str(self.directory / 'user-pin'))}",
            "[device.environment]",
            *(f"{name} = {json.dumps(value)}" for name, value in self.environment.items()),
            "[profiles.standard]",
            'key = "ec-p256"',
        ]
        self.config(node).write_text("\n".join(lines) + "\n")
        return self.config(node)

    def init(self, node: str = "a") -> str:
        """Token, database and anchor; what the command says."""
        named = [part for number in range(len(self.operators)) for part in ("--operator", str(self.operator(number)))]
        return self.run("sam", "init", "--config", str(self.config(node)), *named).stdout

    def operator(self, number: int) -> Path:
        """An operator's public key."""
        return self.directory / f"operator-{number}.jwk"

    def operation(self, name: str, signers: int = 2, **parameters: Any) -> Path:
        """A file with an operation of this moment by as many operators."""
        world = self.now_world()
        world.operator_keys = self.operators
        path = self.directory / f"{name}-{secrets.token_hex(4)}"
        path.write_text(world.operation(name, signers, **parameters) + "\n")
        return path

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A `privyseal` command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            cwd=ROOT,
            env=_environment(),
            capture_output=True,
            text=True,
            check=check,
            timeout=60,
        )

    @contextmanager
    def serving(self, *arguments: str, node: str = "a") -> Iterator[subprocess.Popen[str]]:
        """A process that is ready, ended by SIGTERM if it still runs; its standard error is a file."""
        command = [
            sys.executable,
            "-m",
            *(arguments or ("launcher", "sam", "serve", "--config", str(self.config(node)))),
        ]
        with (
            self.log(node).open("a") as errors,
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**_environment(), **self.preloaded},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready"), self.log(node).read_text()
            self.started = epoch(SystemClock().now())
            try:
                yield process
            except BaseException as error:
                error.add_note(f"node {node}:\n{self.log(node).read_text()[-4000:]}")
                raise
            finally:
                if process.poll() is None:
                    process.terminate()
                process.wait(30)

    def workers(self, node: str = "a") -> tuple[int, ...]:
        """Processes of a node's device, once all are there that it is to have.

        A node is ready with the first of them.  Who kills the next one while it logs in loses the token: SoftHSM2
        empties a file of it then, and writes it anew.
        """
        until = time.monotonic() + 60
        with SamClient(self.admin(node)) as admin:
            while (device := admin.call("status", {})["device"])["workers_ready"] < device.get("workers", 1):
                assert time.monotonic() < until, device
                time.sleep(0.05)
        return tuple(each["process"] for each in device["processes"])

    def log(self, node: str = "a") -> Path:
        """Where a node's log goes."""
        return self.directory / f"{node}.log"

    def now_world(self) -> World:
        """Helpers for SADs and orders of this moment; has no module."""
        clock = FixedClock(SystemClock().now())
        return World(None, None, None, clock, self.idp_key, self.authority, None, "")  # type: ignore[arg-type] # only tokens are made

    def credential(self, client: SamClient) -> CredentialView:
        """Create and link, as the web tier does."""
        created = client.create_credential(self.now_world().order_token())
        return client.link_certificate(created.credential.credential_id, (self.authority.issue(created.pkcs10),))

    def sad(self, view: CredentialView, digests: tuple[bytes, ...] = (digest(1),), **changes: object) -> Sad:
        """A SAD of this moment.

        A node refuses what was issued in the second of its start or before; so this waits for that to be over.
        """
        while epoch(SystemClock().now()) <= self.started:
            time.sleep(0.05)

        class Known:
            """What a SAD needs of a credential."""

            id, owner = view.credential_id, view.owner

        return self.now_world().sad(Known, digests, **changes)  # type: ignore[arg-type] # id and owner are all it looks at

    def sad_after_a_restore(self, view: CredentialView, digests: tuple[bytes, ...] = (digest(1),)) -> Sad:
        """A SAD that no restore until now refuses: its issuer's clock is ahead as far as is allowed.

        An issuer whose clock is right has to wait for longer, :data:`LEEWAY_SECONDS`.
        """
        time.sleep(1)
        return self.sad(view, digests, iat=epoch(SystemClock().now()) + LEEWAY_SECONDS)

    def request(self, sad: Sad) -> SignRequest:
        """As the web tier asks."""
        token = sads.encode(sad, self.idp_key)
        return SignRequest(token, CLIENT, sad.credential_id, None, sad.dtbsr, ECDSA_SHA256)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}  # noqa: TID251 - a child's environment, made small


def make_site(directory: Path, database_url: str) -> Site:
    """Keys and files; `privyseal sam init` does the rest."""
    authority, idp_key = Authority(SystemClock().now()), generate_signing_key()
    (directory / "root.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    (directory / "idp.pem").write_bytes(idp_key.verification_key().key.as_pem(private=False))
    write_secret(directory / "url", database_url.encode())
    operators = (generate_signing_key(), generate_signing_key("Ed25519"))
    site = Site(directory, idp_key, authority, empty_token_directory(directory), operators)
    for number, key in enumerate(operators):
        site.operator(number).write_text(json.dumps(key.verification_key().as_jwk()))
    return site
