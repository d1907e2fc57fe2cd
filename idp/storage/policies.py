"""Which policies there have been: their content for ever, when each was in force, and what was refused.

A SAD names the policy that it rests on by its SHA-256; :func:`by_sha256` gives back the file.  Of what was refused
only hashes and faults are kept: whatever lies in a policy's place by mistake, a key perhaps, does not get in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch, from_epoch
from idp.policy.approval import PolicyApproval
from idp.policy.document import MAX_FAULTS
from idp.policy.errors import Fault, PolicyRejected
from idp.policy.prepare import sha256
from idp.storage.models import metadata
from idp.storage.seal import Sealer

Role = Literal["in_force", "shadow"]
"""What a file is for: it decides, or it is asked as well and decides nothing."""

Happening = Literal["in_force", "restored", "refused", "shadow", "shadow_refused"]

policy_versions: Final = Table(
    "policy_versions",
    metadata,
    Column("sha256", String(64), primary_key=True),
    # Empty where there is no file of cases.
    Column("cases_sha256", String(64), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("cases", LargeBinary),
    Column("first_seen_at", BigInteger, nullable=False),
)

policy_history: Final = Table(
    "policy_history",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("happening", String(16), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("cases_sha256", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("cause", String(64), nullable=False),
    Column("faults", JSON, nullable=False),
    Column("approval", JSON),
)

policy_states: Final = Table(
    "policy_states",
    metadata,
    Column("role", String(16), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("cases_sha256", String(64), nullable=False),
    Column("since", BigInteger, nullable=False),
    # Whose approval put it in force; empty if none was asked for.
    Column("operators", JSON, nullable=False),
    # When the newest approval that was ever accepted was given: nothing older puts a policy in force again.
    Column("approved_iat", BigInteger, nullable=False),
    # What lies in its place and was refused, with the cause; empty if nothing does.
    Column("refused", String(255), nullable=False),
    Column("seal", String(64), nullable=False, default=""),
    info={"sealed": ("role", "sha256", "cases_sha256", "since", "operators", "approved_iat", "refused")},
)

_NOTHING: Final[Mapping[str, Any]] = {
    "sha256": "",
    "cases_sha256": "",
    "since": 0,
    "operators": [],
    "approved_iat": 0,
    "refused": "",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A policy that may be used, with the octets that it was made of."""

    sha256: str
    cases_sha256: str
    name: str
    content: bytes
    cases: bytes | None
    approval: PolicyApproval | None
    unapproved: PolicyRejected | None = None
    """Why there is no approval that counts, where one is needed: only what is approved and in place may stay."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """What may not be used, and why."""

    sha256: str
    """Empty if nothing could be read."""
    cases_sha256: str
    cause: str
    faults: tuple[Fault, ...]

    @property
    def key(self) -> str:
        """What makes it another refusal than the one before."""
        return f"{self.sha256} {self.cases_sha256} {self.cause}"


@dataclass(frozen=True, slots=True)
class Change:
    """What an acceptance changed; false and false: all was so already."""

    put_in_place: bool
    newly_approved: bool
    restored: bool
    """What had been refused in its place is gone."""
    former_sha256: str


@dataclass(frozen=True, slots=True)
class State:
    """What is in a role now, as the last process that saw its file wrote it."""

    sha256: str
    cases_sha256: str
    since: datetime
    operators: tuple[str, ...]
    """Thumbprints of the keys that approved it."""
    refused: bool
    """Whether its file now holds something else, which was refused."""

    def approved(self, sha256: str, cases_sha256: str) -> bool:
        """Whether it is this, and operators approved it."""
        return bool(self.operators) and (self.sha256, self.cases_sha256) == (sha256, cases_sha256)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing that happened to the policy."""

    at: datetime
    happening: Happening
    sha256: str
    cases_sha256: str
    name: str
    """Empty for what was refused."""
    cause: str
    """Of a refusal; else empty."""
    faults: tuple[Fault, ...]
    approval: PolicyApproval | None


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A policy that was used at some time."""

    sha256: str
    cases_sha256: str
    name: str
    content: bytes
    cases: bytes | None
    first_seen_at: datetime


def state(connection: Connection, seals: Sealer, role: Role) -> State | None:
    """What is in a role; None if nothing ever was, or the row is not as it was written."""
    row = connection.execute(select(policy_states).where(policy_states.c.role == role)).one_or_none()
    if row is None or not seals.holds(policy_states, row) or not row.sha256:
        return None
    return State(row.sha256, row.cases_sha256, from_epoch(row.since), tuple(row.operators), bool(row.refused))


def accept(connection: Connection, seals: Sealer, role: Role, accepted: Accepted, now: datetime) -> Change:
    """Put a policy in a role, unless it is there; keeps its content.

    :raises PolicyRejected: ``approval_superseded``: something else was approved later; or it was not approved at all.
    """
    row = _locked(connection, seals, role)
    same = (row["sha256"], row["cases_sha256"]) == (accepted.sha256, accepted.cases_sha256)
    approval = accepted.approval
    iat = 0 if approval is None else approval.iat
    if accepted.unapproved is not None and not (same and row["operators"]):
        raise accepted.unapproved
    if approval is not None and not same and iat <= row["approved_iat"]:
        raise PolicyRejected("approval_superseded", (Fault("", 0, 0, "another policy was approved later"),))
    change = Change(not same, iat > row["approved_iat"], same and bool(row["refused"]), row["sha256"])
    if not (change.put_in_place or change.newly_approved or change.restored):
        return change
    operators = row["operators"] if same and approval is None else list(approval.operators if approval else ())
    values = {
        "sha256": accepted.sha256,
        "cases_sha256": accepted.cases_sha256,
        "since": row["since"] if same else epoch(now),
        "operators": operators,
        "approved_iat": max(iat, row["approved_iat"]),
        "refused": "",
    }
    _write(connection, seals, role, values)
    if change.put_in_place:
        _keep(connection, accepted, now)
    happening: Happening = "shadow" if role == "shadow" else "restored" if change.restored else "in_force"
    _append(
        connection,
        now,
        happening=happening,
        sha256=accepted.sha256,
        cases_sha256=accepted.cases_sha256,
        name=accepted.name,
        approval=None if approval is None else asdict(approval),
    )
    return change


def refuse(connection: Connection, seals: Sealer, role: Role, rejected: Rejected, now: datetime) -> bool:
    """Note that what lies in a role's file was refused; False if that is known already."""
    row = _locked(connection, seals, role)
    if row["refused"] == rejected.key:
        return False
    _write(connection, seals, role, {**row, "refused": rejected.key})
    _append(
        connection,
        now,
        happening="refused" if role == "in_force" else "shadow_refused",
        sha256=rejected.sha256,
        cases_sha256=rejected.cases_sha256,
        cause=rejected.cause,
        faults=[asdict(fault) for fault in rejected.faults[:MAX_FAULTS]],
    )
    return True


def empty(connection: Connection, seals: Sealer, role: Role) -> str:
    """Note that a role has no file any more; the hash of the policy that was in it, empty if none was."""
    row = _locked(connection, seals, role)
    if row["sha256"] or row["refused"]:
        _write(connection, seals, role, {**_NOTHING, "approved_iat": row["approved_iat"]})
    return str(row["sha256"])


def history(connection: Connection, limit: int = 100) -> tuple[HistoryEntry, ...]:
    """What happened, the latest first."""
    rows = connection.execute(select(policy_history).order_by(policy_history.c.id.desc()).limit(limit))
    return tuple(_entry(row) for row in rows)


def by_sha256(connection: Connection, digest: str, cases_digest: str | None = None) -> StoredVersion | None:
    """The policy of that hash, as SADs, approvals and decisions name it; with its earliest cases unless others are
    named."""
    query = select(policy_versions).where(policy_versions.c.sha256 == digest)
    if cases_digest is not None:
        query = query.where(policy_versions.c.cases_sha256 == cases_digest)
    row = connection.execute(query.order_by(policy_versions.c.first_seen_at).limit(1)).one_or_none()
    # The hash is the policy's name: content that does not have it is another's.
    if row is None or sha256(row.content) != digest:
        return None
    return StoredVersion(row.sha256, row.cases_sha256, row.name, row.content, row.cases, from_epoch(row.first_seen_at))


def _locked(connection: Connection, seals: Sealer, role: Role) -> Mapping[str, Any]:
    """The role's row, locked.  One that was altered counts as empty, and stays as it is until it is written again."""
    query = select(policy_states).where(policy_states.c.role == role).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        try:
            with connection.begin_nested():
                values = {"role": role, **_NOTHING}
                connection.execute(insert(policy_states).values(**values, seal=seals.seal(policy_states, values)))
        except IntegrityError:
            pass
        row = connection.execute(query).one()
    if not seals.holds(policy_states, row):
        return _NOTHING
    return {name: getattr(row, name) for name in _NOTHING}


def _write(connection: Connection, seals: Sealer, role: Role, values: Mapping[str, Any]) -> None:
    seal = seals.seal(policy_states, {"role": role, **values})
    connection.execute(update(policy_states).where(policy_states.c.role == role).values(**values, seal=seal))


def _keep(connection: Connection, accepted: Accepted, now: datetime) -> None:
    try:
        with connection.begin_nested():
            connection.execute(
                insert(policy_versions).values(
                    sha256=accepted.sha256,
                    cases_sha256=accepted.cases_sha256,
                    name=accepted.name,
                    content=accepted.content,
                    cases=accepted.cases,
                    first_seen_at=epoch(now),
                )
            )
    except IntegrityError:
        pass  # it was used before


def _append(connection: Connection, now: datetime, **values: Any) -> None:
    nothing: dict[str, Any] = {"name": "", "cause": "", "faults": [], "approval": None}
    connection.execute(insert(policy_history).values(at=epoch(now), **{**nothing, **values}))


def _entry(row: Row[Any]) -> HistoryEntry:
    return HistoryEntry(
        from_epoch(row.at),
        row.happening,
        row.sha256,
        row.cases_sha256,
        row.name,
        row.cause,
        tuple(Fault(**fault) for fault in row.faults),
        None if row.approval is None else _approval(row.approval),
    )


def _approval(value: Mapping[str, Any]) -> PolicyApproval:
    operators: Iterable[str] = value["operators"]
    return PolicyApproval(**{**value, "operators": tuple(operators)})
