"""How many logins a second, with password and a code by text message?  Through the identity provider's own pages.

PostgreSQL (durable commits), the identity provider under granian, messages through the product's Twilio connector to an
endpoint of this process.  Everybody signs in once, with a browser of their own: authorization request, password, choice
of the factor, code, redirect with an authorization code.  The rate is given as a ratio to argon2id's own on one thread,
with the product's parameters, measured in the same run before and after.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import argon2id
from benchmarks.browser import Person, SignIn, authorization_path
from benchmarks.driver import Outcome, closed_loop
from benchmarks.errors import RunInvalid
from benchmarks.machine import describe
from benchmarks.measure import Figure, Report, Requirement
from benchmarks.phones import ACCOUNT_SID, Phones, phones
from benchmarks.processes import ROOT, Processes, Usage, end_in_order
from benchmarks.stand import (
    SAM_ID,
    Database,
    Say,
    durable_database,
    free_port,
    private_directory,
    running,
    say,
    start_web,
)
from foundation.clock import SystemClock
from foundation.errors import PrivySealError
from foundation.files import write_secret
from idp.authn.password import KEY, Passwords
from idp.settings import PasswordSettings
from idp.storage import accounts, authenticators
from idp.storage.engine import open_engine
from idp.storage.keys import KeyStore
from idp.storage.seal import Sealer
from launcher.toml import dumps

EXIT_GOOD: Final = 0
EXIT_NOT_MET: Final = 1
EXIT_NOT_RUN: Final = 3
ACR: Final = "http://eidas.europa.eu/NotNotified/LoA/substantial"
CLIENT: Final = "example-contracts"
REDIRECT_URI: Final = "http://rp.localhost/callback"
_EXPECTED_PAGES: Final = b"sign-in choose otp"
_SPARE: Final = 3.0

_EPILOG: Final = """exit codes:
  0  measured, without an error
  1  measured, with errors
  2  the command line cannot be used
  3  not measured: a part did not start, or the run is not valid
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.login",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--seconds", type=float, default=60.0, help="length of the window (default %(default).0f)")
    command.add_argument("--warm-up", type=float, default=5.0, help="seconds before it (default %(default).0f)")
    command.add_argument("--connections", type=int, default=4, help="logins under way (default %(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; see ``--help`` for the exit codes."""
    options = parser().parse_args(argv)
    if not 1 <= options.seconds <= 600 or not 0 < options.warm_up <= 60 or not 1 <= options.connections <= 64:
        print("error: --seconds is 1 to 600, --warm-up up to 60, --connections 1 to 64", file=sys.stderr)
        return 2
    end_in_order()
    try:
        report = measure(options)
    except (PrivySealError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NOT_RUN
    print(report.to_json() if options.json else report.to_text())
    return EXIT_GOOD if report.good else EXIT_NOT_MET


@dataclass(frozen=True, slots=True)
class LoginStand:
    """The identity provider, running."""

    port: int
    database: Database
    phones: Phones
    processes: Processes
    costs: PasswordSettings
    key_dir: Path
    password: str = field(repr=False)

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
def login_stand(tell: Say) -> Iterator[LoginStand]:
    """Start everything.

    :raises StandFailed: a part did not start.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(private_directory())
        tell("PostgreSQL, with durable commits")
        database = stack.enter_context(durable_database())
        processes = stack.enter_context(running(directory))
        processes.add_guest("postgresql", database.pid)
        port = free_port()
        tell("identity provider: keys, tables, client")
        # The phones' thread is started last: processes are forked from here.
        inbox = _prepare(directory, database, processes, port)
        tell("identity provider")
        start_web(processes, "idp", port, "idp", {"PRIVYSEAL_IDP_CONFIG": str(directory / "idp.toml")})
        found = stack.enter_context(phones(inbox))
        costs, keys = PasswordSettings(), directory / "keys"
        yield LoginStand(port, database, found, processes, costs, keys, secrets.token_urlsafe(16))


def _prepare(directory: Path, database: Database, processes: Processes, port: int) -> int:
    inbox = free_port()
    write_secret(directory / "database-url", database.url.encode())
    write_secret(directory / "twilio-token", secrets.token_hex(16).encode())
    config = directory / "idp.toml"
    settings = {
        "mode": "development",
        "issuer": f"http://idp.localhost:{port}",
        "key_dir": directory / "keys",
        "policy_file": ROOT / "policies" / "default.yaml",
        "database_url_file": directory / "database-url",
        "signing": {"csc_base": "http://sign.localhost:8402/csc/v2", "sam_id": SAM_ID},
        # All of them come from one address.
        "otp": dict.fromkeys(("max_per_network", "budget_an_hour", "budget_a_day"), 10**9),
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
    processes.run("idp init", "launcher", "idp", "init", "--config", str(config))
    processes.run(
        "client create", "launcher", "idp", "client", "create", "--config", str(config), "--client-id", CLIENT,
        "--name", "Example Contracts", "--secret-file", str(directory / "rp-secret"), "--redirect-uri", REDIRECT_URI,
        "--scope", "openid",
    )  # fmt: skip
    return inbox


def measure(options: argparse.Namespace) -> Report:
    """Start a stand, measure, end it.

    :raises BenchmarkError: it did not start, or what came back is not valid.
    """
    with login_stand(say) as stand:
        machine = describe(postgresql=f"{stand.database.version}, fsync on")
        say("argon2id by itself")
        before = argon2id.rate(stand.costs)
        outcome, usage = _window(stand, options)
        say("argon2id by itself, again")
        after = argon2id.rate(stand.costs)
    figure = Figure.of(
        name="password and a code by text message",
        unit="logins",
        connections=options.connections,
        samples=outcome.samples,
        window=outcome.window,
        peer=argon2id.peer(stand.costs, before, after),
        errors=outcome.errors,
        cpu_seconds=usage.by_part,
        others_cpu_share=usage.others_share,
    )
    return Report(
        benchmark="login",
        at=SystemClock().now().isoformat(timespec="seconds"),
        machine={**machine, "stand": "1 x identity provider, 8 threads"},
        peers=(argon2id.peer(stand.costs, before, after),),
        figures=(figure,),
        requirements=(Requirement("every login asked for password and code, and ended with a code", met=True),),
    )


def _window(stand: LoginStand, options: argparse.Namespace) -> tuple[Outcome, Usage]:
    say("warm-up")
    trial = _drive(stand, options, stand.enrol("warm", int(options.warm_up * 100)), options.warm_up)
    per_second = len(trial.samples) / trial.window
    needed = int(per_second * options.seconds * _SPARE) + options.connections
    say(f"{per_second:.1f} logins/s; enrolling {needed} people")
    people = stand.enrol("person", needed)
    say(f"{options.seconds:.0f} s")
    meter = stand.processes.meter()
    outcome = _drive(stand, options, people, options.seconds)
    usage = meter.read()
    stand.processes.check()
    if outcome.exhausted:
        raise RunInvalid("the window ran out of people: lengthen the warm-up")
    return outcome, usage


def _drive(stand: LoginStand, options: argparse.Namespace, people: Sequence[Person], seconds: float) -> Outcome:
    def begin() -> tuple[str, str]:
        return authorization_path(CLIENT, REDIRECT_URI, ACR), REDIRECT_URI

    outcome = closed_loop(
        lambda _turn: SignIn(stand.port, "idp.localhost", people, stand.phones.take, begin),
        len(people),
        workers=options.connections,
        seconds=seconds,
    )
    if not outcome.samples:
        raise RunInvalid(f"no login succeeded: {dict(outcome.errors)}")
    if set(outcome.answers.values()) != {_EXPECTED_PAGES}:
        raise RunInvalid("a login did not go through the pages for password and code")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
