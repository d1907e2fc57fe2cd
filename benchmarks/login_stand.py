"""What ``login`` measures: the identity provider as it is, and once more without argon2id, on one database."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.browser import Person
from benchmarks.measured import TALLIES, Tally
from benchmarks.phones import ACCOUNT_SID, Phones, phones
from benchmarks.processes import ROOT, Processes
from benchmarks.stand import (
    SAM_ID,
    Database,
    Say,
    durable_database,
    free_port,
    private_directory,
    running,
    start_web,
)
from benchmarks.unhashed import PASSWORD_FILE
from foundation.clock import SystemClock
from foundation.files import write_secret
from idp.authn.password import KEY, Passwords
from idp.settings import PasswordSettings
from idp.storage import accounts, authenticators
from idp.storage.engine import open_engine
from idp.storage.keys import KeyStore
from idp.storage.seal import Sealer
from launcher.toml import dumps

CLIENT: Final = "example-contracts"
REDIRECT_URI: Final = "http://rp.localhost/callback"
HASHED: Final = "idp"
UNHASHED: Final = "idp without argon2id"


@dataclass(frozen=True, slots=True)
class LoginStand:
    """The identity providers, running."""

    ports: dict[str, int]
    """Of :data:`HASHED` and :data:`UNHASHED`."""
    database: Database
    phones: Phones
    processes: Processes
    costs: PasswordSettings
    key_dir: Path
    password: str = field(repr=False)
    tallies: Path
    """Where the one with argon2id tells what its hashes cost."""

    def hashed(self) -> Tally:
        """What verifications have cost so far, in the threads of the one with argon2id."""
        return Tally.of(self.tallies)

    def enrol(self, prefix: str, count: int) -> list[Person]:
        """People with a password (all the same one, so that it is hashed once here) and a phone of their own."""
        now = SystemClock().now()
        engine = open_engine(self.database.url)
        keys = KeyStore(engine, self.key_dir)
        seals = Sealer(keys.secret)
        encoded = Passwords(self.costs, key=keys.secret(KEY)).hash(self.password)
        people = []
        with engine.begin() as connection:
            for number in range(count):
                person = Person(f"{prefix}{number}", self.password, f"+1555{secrets.randbelow(10**9):09d}")
                new = accounts.NewAccount(person.username, "Alice Example", proofing="substantial")
                account = accounts.create(connection, secrets.token_hex(16), new, now)
                for kind, address, secret in (("password", None, encoded), ("sms_otp", person.phone, None)):
                    authenticators.add(
                        connection,
                        seals,
                        authenticator_id=secrets.token_hex(16),
                        account_id=account.id,
                        kind=kind,
                        now=now,
                        address=address,
                        secret_hash=secret,
                    )
                people.append(person)
        engine.dispose()
        return people


@contextmanager
def login_stand(workers: int, tell: Say) -> Iterator[LoginStand]:
    """Start everything.

    :param workers: processes of each of the two identity providers.

    :raises StandFailed: a part did not start.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(private_directory())
        tell("PostgreSQL, with durable commits")
        database = stack.enter_context(durable_database())
        processes = stack.enter_context(running(directory))
        processes.add_guest("postgresql", database.pid)
        ports = {HASHED: free_port(), UNHASHED: free_port()}
        password, inbox = secrets.token_urlsafe(16), free_port()
        write_secret(directory / "password", password.encode())
        tell("identity provider: keys, tables, client")
        configs = {name: _configure(directory, name, port, inbox) for name, port in ports.items()}
        _prepare(directory, database, processes, configs[HASHED])
        tell("identity provider, with argon2id and without")
        tallies = directory / "tallies"
        tallies.mkdir()
        for name, module in ((HASHED, "benchmarks.measured"), (UNHASHED, "benchmarks.unhashed")):
            environment = {
                "PRIVYSEAL_IDP_CONFIG": str(configs[name]),
                PASSWORD_FILE: str(directory / "password"),
                TALLIES: str(tallies),
            }
            start_web(processes, name, ports[name], "idp", environment, module=module, workers=workers)
        # The phones' thread is started last: processes are forked from here.
        found = stack.enter_context(phones(inbox))
        yield LoginStand(ports, database, found, processes, PasswordSettings(), directory / "keys", password, tallies)


def _configure(directory: Path, name: str, port: int, inbox: int) -> Path:
    config = directory / f"{name.replace(' ', '-')}.toml"
    settings = {
        "mode": "development",
        "issuer": f"http://idp.localhost:{port}",
        "key_dir": directory / "keys",
        "policy_file": ROOT / "policies" / "default.yaml",
        "database_url_file": directory / "database-url",
        "signing": {"csc_base": "http://sign.localhost:8402/csc/v2", "sam_id": SAM_ID},
        # All of them come from one address.
        "otp": dict.fromkeys(("max_per_network", "max_per_prefix", "budget_an_hour", "budget_a_day"), 10**9),
        "messaging": {
            "sms": {
                "connector": "twilio",
                "settings": {
                    "account_sid": ACCOUNT_SID,
                    "auth_token_file": directory / "twilio-token",
                    "sender": "+15550199",
                    "base_url": f"http://127.0.0.1:{inbox}",
                },
            }
        },
    }
    config.write_text(dumps(settings), encoding="utf-8")
    return config


def _prepare(directory: Path, database: Database, processes: Processes, config: Path) -> None:
    write_secret(directory / "database-url", database.url.encode())
    write_secret(directory / "twilio-token", secrets.token_hex(16).encode())
    processes.run("idp init", "launcher", "idp", "init", "--config", str(config))
    processes.run(
        "client create", "launcher", "idp", "client", "create", "--config", str(config), "--client-id", CLIENT,
        "--name", "Example Contracts", "--secret-file", str(directory / "rp-secret"), "--redirect-uri", REDIRECT_URI,
        "--scope", "openid",
    )  # fmt: skip
