"""A stand: the product's own processes on PostgreSQL and SoftHSM2, in a temporary directory, on loopback.

Everything runs as the user who runs the benchmark.  The identity provider's part in signing is played by the benchmark
itself, which holds the activation key: it can then mint as many SADs as a window needs, before the window begins.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.errors import StandFailed
from benchmarks.processes import Processes
from contract.order import CreateParameters, Order, SubjectClaim
from contract.order import encode as encode_order
from foundation.clock import SystemClock, epoch
from foundation.files import write_secret
from foundation.jose import SigningKey, generate_signing_key
from launcher.configuration import softhsm_module
from launcher.dev import SIGNING_THREADS
from launcher.supervisor import accepts_unix, answers_http
from launcher.toml import dumps
from signing.link.client import SamClient
from tests.postgres import PostgresServer

HOST: Final = "127.0.0.1"
ISSUER: Final = "http://idp.localhost:8401"
"""Only a name here: a request whose bearer is the SAD needs no identity provider."""
SAM_ID: Final = "urn:privyseal:sam:benchmark"
OWNER: Final = "alice"
CLIENT: Final = "example-contracts"
CA: Final = "certification authority"
TSA: Final = "time-stamping authority"
"""Parts that stand for other people's services."""
_PROFILE: Final = "default"
_UNLIMITED: Final = {"per_second": 1_000_000.0, "burst": 1_000_000}
_TOKEN_LABEL: Final = "privy-seal-benchmark"
_DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
"""A test's server may lose commits; a server that is measured may not."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL server that keeps what it has committed."""

    url: str
    """SQLAlchemy URL of a fresh database."""
    version: str
    pid: int

    def scalar(self, query: str) -> int:
        """The one number that a query gives."""
        with psycopg.connect(self.url.replace("+psycopg", "", 1)) as link:
            row = link.execute(query.encode()).fetchone()
        if row is None:
            raise StandFailed("the database gave no row")
        return int(row[0])

    def commits_per_second(self, seconds: float = 3.0) -> float:
        """Durable commits on one connection, each of one short row: what this disk gives, whoever asks."""
        with psycopg.connect(self.url.replace("+psycopg", "", 1)) as link:
            link.execute("CREATE TABLE IF NOT EXISTS benchmark_commits (at bigint)")
            link.commit()
            count, began = 0, time.perf_counter()
            while (spent := time.perf_counter() - began) < seconds:
                link.execute("INSERT INTO benchmark_commits VALUES (1)")
                link.commit()
                count += 1
        return count / spent


@dataclass(frozen=True, slots=True)
class Token:
    """The SoftHSM2 token, for the peer that signs without us."""

    module: Path
    label: str
    pin_file: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SigningStand:
    """The signing side, running."""

    ports: tuple[int, ...]
    """Of the web tiers, each with a module of its own behind it."""
    key: SigningKey = field(repr=False)
    """The activation key that the modules pin."""
    credential_id: str
    certificate: bytes
    """DER."""
    database: Database
    token: Token
    processes: Processes
    directory: Path
    """Private; for what a benchmark adds."""
    authorities: Mapping[str, str] = field(default_factory=dict)
    """Addresses of :data:`CA` and :data:`TSA`."""
    others: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    """Further credentials by their key profile: identifier and certificate in DER."""


def say(text: str) -> None:
    """A line of progress."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def durable_database() -> Iterator[Database]:
    """A PostgreSQL server with an empty database, both removed at the end."""
    with PostgresServer.start() as server, server.fresh_database() as url:
        admin = f"postgresql://privyseal@/postgres?host={server.directory}"
        with psycopg.connect(admin, autocommit=True) as link:
            for name, value in _DURABLE.items():
                link.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
            link.execute("SELECT pg_reload_conf()")
        version = _checked_settings(admin)
        pid = int((server.directory / "data" / "postmaster.pid").read_text().split()[0])
        yield Database(url, version, pid)


def _checked_settings(admin: str) -> str:
    # A connection made after the reload: the postmaster hands the new values to it, in time or not at all.
    for _attempt in range(50):
        with psycopg.connect(admin) as link:
            found = {name: (link.execute(f"SHOW {name}".encode()).fetchone() or ("",))[0] for name in _DURABLE}
            row = link.execute("SHOW server_version").fetchone()
        if found == _DURABLE and row is not None:
            return str(row[0])
    raise StandFailed("PostgreSQL does not take the settings that keep commits")


@contextmanager
def private_directory() -> Iterator[Path]:
    """A directory of ours, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="privyseal-benchmark-") as name:
        yield Path(name)


@contextmanager
def running(directory: Path) -> Iterator[Processes]:
    """The processes of a stand, all ended at the end."""
    processes = Processes(directory)
    try:
        yield processes
    finally:
        processes.stop()


@contextmanager
def signing_stand(
    pairs: int, workers: int, say: Say, others: Sequence[str] = (), *, authorities: bool = False
) -> Iterator[SigningStand]:
    """Start everything, with one credential (P-256, SCAL2).

    :param pairs: web tiers, each with a module of its own behind it; the modules share database and token.
    :param workers: device processes of each module.
    :param others: key profiles of which there is a credential as well.
    :param authorities: with a time-stamping authority, and what the CA says of its certificates: for levels above B-B.
    :raises StandFailed: a part did not start.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(private_directory())
        say("PostgreSQL, with durable commits")
        database = stack.enter_context(durable_database())
        processes = stack.enter_context(running(directory))
        processes.add_guest("postgresql", database.pid)
        layout = _Layout(directory, database, workers, others)
        key = generate_signing_key()
        layout.write_common(key)
        say("development certification authority")
        ca_port = free_port()
        ca_url = f"http://{HOST}:{ca_port}"
        processes.start(
            CA, answers_http(HOST, ca_port, "/healthz"), "devservices.ca_http",
            "--port", str(ca_port), "--state", str(directory / "ca"), "--public-url", ca_url,
            "--token-file", str(layout.ca_token),
        )  # fmt: skip
        asked = {CA: ca_url}
        if authorities:
            say("time-stamping authority")
            tsa_port = free_port()
            asked[TSA] = f"http://{HOST}:{tsa_port}"
            processes.start(
                TSA, answers_http(HOST, tsa_port, "/healthz"), "devservices.tsa", "--port", str(tsa_port),
                "--state", str(directory / "tsa"), "--ca-state", str(directory / "ca"),
            )  # fmt: skip
        say("token, server keys, database")
        configs = [layout.write_sam(number) for number in range(pairs)]
        processes.run("sam init", "launcher", "sam", "init", "--config", str(configs[0]))
        say(f"{pairs} x module and web tier")
        ports = []
        for number, config in enumerate(configs):
            port = free_port()
            web = layout.write_web(number, port, asked)
            processes.start(
                _name("sam", number), accepts_unix(layout.socket(number)),
                "launcher", "sam", "serve", "--config", str(config),
            )  # fmt: skip
            environment = {"PRIVYSEAL_WEB_CONFIG": str(web)}
            start_web(processes, _name("web", number), port, "signing", environment, threads=SIGNING_THREADS)
            ports.append(port)
        credential = _credential(processes, layout, key)
        further = {name: _credential(processes, layout, key, name) for name in others}
        with SamClient(layout.socket(0)) as sam:
            certificate = sam.credential(credential).certificates[0]
            found = {name: (made, sam.credential(made).certificates[0]) for name, made in further.items()}
        yield SigningStand(
            ports=tuple(ports),
            key=key,
            credential_id=credential,
            certificate=certificate,
            database=database,
            token=layout.token(),
            processes=processes,
            directory=directory,
            authorities=asked,
            others=found,
        )


def start_web(
    processes: Processes,
    name: str,
    port: int,
    factory: str,
    environment: Mapping[str, str],
    *,
    module: str = "wsgi",
    workers: int = 1,
    threads: int = 8,
) -> None:
    """Start one of the two web applications, with the options that the development supervisor uses."""
    processes.start(
        name, answers_http(f"{factory}.localhost", port, "/health/ready"),
        "granian", "--interface", "wsgi", "--factory", "--workers-kill-timeout", "10",
        "--host", HOST, "--port", str(port), "--workers", str(workers),
        "--blocking-threads", str(threads), "--no-ws", "--log-level", "warning", f"{module}:{factory}", **environment,
    )  # fmt: skip


def _name(part: str, number: int) -> str:
    return part if number == 0 else f"{part} {number + 1}"


class _Layout:
    """The files of a stand."""

    def __init__(self, directory: Path, database: Database, workers: int, others: Sequence[str]) -> None:
        self._directory = directory
        self._database = database
        self._workers = workers
        self._profiles = {_PROFILE: "ec-p256", **{name: name for name in others}}
        self.ca_token = directory / "ca-token"
        self._activation = directory / "activation.pem"
        self._softhsm = directory / "softhsm2.conf"
        self._database_url = directory / "database-url"
        self._client_secret = directory / "csc-secret"
        self._pin = directory / "user-pin"

    def socket(self, number: int) -> Path:
        return self._directory / f"sam-{number}.sock"

    def token(self) -> Token:
        return Token(softhsm_module(), _TOKEN_LABEL, self._pin, {"SOFTHSM2_CONF": str(self._softhsm)})

    def write_common(self, key: SigningKey) -> None:
        tokens = self._directory / "tokens"
        tokens.mkdir(mode=0o700)
        self._softhsm.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        write_secret(self._database_url, self._database.url.encode())
        write_secret(self._client_secret, secrets.token_urlsafe(32).encode())
        public = key.verification_key().key.as_pem(private=False)
        self._activation.write_bytes(public)

    def write_sam(self, number: int) -> Path:
        token = self.token()
        return self._write(
            f"sam-{number}.toml",
            {
                "mode": "development",
                "database_url_file": self._database_url,
                "realm": "benchmark",
                "sam_id": SAM_ID,
                "socket": self.socket(number),
                "admin_socket": self._directory / f"admin-{number}.sock",
                "certificate_anchors": [self._directory / "ca" / "root.crt"],
                "issuers": {"idp": {"issuer": ISSUER, "keys": [self._activation]}},
                "device": {
                    "module": token.module,
                    "token_label": token.label,
                    "pin_file": token.pin_file,
                    "workers": self._workers,
                    "environment": token.environment,
                },
                "profiles": {name: {"key": key, "scal": "2"} for name, key in self._profiles.items()},
            },
        )

    def write_web(self, number: int, port: int, authorities: Mapping[str, str]) -> Path:
        ca_url = authorities[CA]
        return self._write(
            f"web-{number}.toml",
            {
                "mode": "development",
                "public_url": f"http://sign.localhost:{port}",
                "sam_socket": self.socket(number),
                "egress_allow": [ca_url.removeprefix("http://")],
                # One client and one person stand for many here.
                "limits": {name: dict(_UNLIMITED) for name in ("client", "user", "credential")},
                "issuer": {
                    "url": ISSUER,
                    "client_id": "csc",
                    "client_secret_file": self._client_secret,
                    "sad_keys": [self._activation],
                },
                "pki": {
                    "connector": "devca",
                    "profile": "signer",
                    "settings": {"base_url": ca_url, "token_file": self.ca_token},
                },
                **(self._lasting(ca_url, authorities[TSA]) if TSA in authorities else {}),
            },
        )

    def _lasting(self, ca_url: str, tsa_url: str) -> Mapping[str, object]:
        root = self._directory / "ca" / "root.crt"
        allowed = {"egress_allow": [ca_url.removeprefix("http://")]}
        stamps = {
            "url": f"{tsa_url}/tsa",
            "trust_anchors": [str(root)],
            "egress_allow": [tsa_url.removeprefix("http://")],
        }
        return {
            "timestamp_authorities": [{"connector": "rfc3161", "settings": stamps}],
            "status": {"connector": "http", "trust_anchors": [root], "settings": allowed},
        }

    def write_order(self, key: SigningKey, profile: str) -> Path:
        now = epoch(SystemClock().now())
        order = Order(
            iss=ISSUER,
            aud=SAM_ID,
            sub=OWNER,
            jti=secrets.token_hex(16),
            iat=now,
            exp=now + 600,
            operation="credential.create",
            parameters=CreateParameters(profile, SubjectClaim("Alice Example", "Alice", "Example", None, "BE")),
            policy="benchmark",
        )
        path = self._directory / f"order-{profile}.jws"
        path.write_text(encode_order(order, key))
        return path

    def _write(self, name: str, table: Mapping[str, object]) -> Path:
        path = self._directory / name
        path.write_text(dumps(table), encoding="utf-8")
        return path


def _credential(processes: Processes, layout: _Layout, key: SigningKey, profile: str = _PROFILE) -> str:
    order = layout.write_order(key, profile)
    config = order.with_name("web-0.toml")
    text = processes.capture(
        "credential create",
        "launcher", "credential", "create", "--order", str(order), "--config", str(config), "--json",
    )  # fmt: skip
    (view,) = json.loads(text)
    return str(view["credential_id"])
