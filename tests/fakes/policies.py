"""Policy files that a server watches, with a clock that says how old they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from auditlog.chain import Entry
from auditlog.sql import read_entries
from contract.operation import add_signature, operator_key, sign
from foundation.clock import FixedClock, epoch
from foundation.jose import SigningKey, generate_signing_key
from idp.policy.approval import operation
from idp.policy.prepare import NO_CASES, sha256
from idp.settings import ApprovalSettings, IdpSettings, PolicySettings, SigningSettings
from idp.storage.audit import TABLES, DatabaseAudit
from idp.storage.engine import create_tables, open_engine, reading
from idp.storage.policies import policy_history
from idp.web.policies import Policies, Surroundings
from tests.fakes.seals import make_sealer

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ISSUER = "https://idp.example.org"

POLICY = """\
policy: 1
name: {name}
levels:
  - name: low
    acr: urn:example:low
    any_of:
      - all_of:
          - factor: {factor}
rules:
  - id: {rule}
    action: sign_in
    require: low
"""


def policy(rule: str = "sign-in", *, name: str = "tests", factor: str = "password") -> bytes:
    """A policy that is known by its one rule."""
    return POLICY.format(rule=rule, name=name, factor=factor).encode()


@dataclass
class Site:
    """A database and the files; what looks at them is made by :meth:`worker`."""

    directory: Path
    engine: Engine
    settings: IdpSettings
    clock: FixedClock
    operators: tuple[SigningKey, ...] = ()
    aside: list[Callable[[], None]] = field(default_factory=list)
    """What was to be done beside the requests."""

    @property
    def file(self) -> Path:
        """The policy."""
        return self.directory / "policy.yaml"

    def write(self, data: bytes, *, name: str = "policy.yaml", age: float = 60) -> None:
        """Write a file as if it had been written some seconds ago."""
        path = self.directory / name
        path.write_bytes(data)
        at = self.clock.now().timestamp() - age
        os.utime(path, (at, at))

    def worker(self, **surroundings: Any) -> Policies:
        """A process that begins now."""
        keys = tuple(operator_key(key.verification_key().as_jwk()) for key in self.operators)
        given: dict[str, Any] = {
            "tighten": lambda settings, _policy: settings,
            "operators": keys,
            "aside": self.aside.append,
            **surroundings,
        }
        return Policies(
            Surroundings(
                self.settings,
                self.clock,
                self.engine,
                make_sealer(),
                DatabaseAudit(self.clock),
                **given,
            )
        )

    def look(self, *workers: Policies, after: float = 10) -> None:
        """Some time passes, and each has a request."""
        self.clock.advance(after)
        for worker in workers:
            worker.refresh()

    def events(self, *names: str) -> list[str]:
        """The records of the audit chain with these names; all that are about policies if none is given."""
        return [entry.event for entry in self.records(*names)]

    def records(self, *names: str) -> list[Entry]:
        """The same, whole."""
        with reading(self.engine) as connection:
            found = list(read_entries(connection, TABLES.entries))
        return [entry for entry in found if entry.event in names or (not names and entry.event.startswith("policy."))]

    def happenings(self) -> list[str]:
        """What the history says, the earliest first."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(policy_history.c.happening).order_by(policy_history.c.id)).scalars())


def make_site(directory: Path, database_url: str | None = None, *, operators: int = 0, **values: Any) -> Site:
    """A database with its tables, and no policy file yet."""
    clock = FixedClock(NOW)
    engine = open_engine(database_url or f"sqlite:///{directory / 'idp.sqlite'}")
    create_tables(engine)
    with engine.begin() as connection:
        DatabaseAudit(clock).initialise(connection)
    given: dict[str, Any] = {"shadow_file": None, **values.pop("policy", {})}
    if operators:
        names = tuple(directory / f"operator-{number}.jwk" for number in range(operators))
        given["approval"] = ApprovalSettings(names, values.pop("needed", 1))
    settings = IdpSettings(
        mode=values.pop("mode", "development"),
        issuer=ISSUER,
        key_dir=directory / "keys",
        policy_file=directory / "policy.yaml",
        signing=SigningSettings("https://sign.example.org/csc/v2", "urn:privyseal:sam:test"),
        database_url="unused",
        policy=PolicySettings(**given),
        **values,
    )
    return Site(directory, engine, settings, clock, tuple(generate_signing_key() for _ in range(operators)))


def approve(
    site: Site,
    *signers: SigningKey,
    data: bytes | None = None,
    seconds: int = 3600,
    issuer: str = ISSUER,
    name: str = "tests",
    **parameters: Any,
) -> bytes:
    """Approve a policy, by default the one that is there; writes the approval and gives it back."""
    policy_data = site.file.read_bytes() if data is None else data
    cases = site.directory / "policy.test.yaml"
    wanted = operation(
        issuer=issuer,
        name=name,
        sha256=sha256(policy_data),
        cases_sha256=sha256(cases.read_bytes()) if cases.exists() else NO_CASES,
        jti=f"approval-{epoch(site.clock.now())}",
        now=epoch(site.clock.now()),
        seconds=seconds,
    )
    wanted = replace(wanted, parameters={**wanted.parameters, **parameters})
    bundle = sign(wanted, signers[0])
    for signer in signers[1:]:
        bundle = add_signature(bundle, signer)
    site.write(bundle.encode(), name="policy.approval.json")
    return bundle.encode()
