"""The policy in force in this process: looked at while requests come, swapped in whole, never by halves.

A request asks at most once a second whether the files changed.  If they did, they are prepared beside the requests,
which go on with the policy that they have; a request that comes after a pause, when nobody had looked, prepares them
first, so that what was edited meanwhile holds for it.  What is refused leaves everything as it was, and is said in the
log, in the audit chain and by ``/health/ready``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from foundation import log
from foundation.clock import Clock
from foundation.jose import VerificationKey
from idp.policy.approval import PolicyApproval, check_approval
from idp.policy.errors import Fault, PolicyRejected
from idp.policy.lint import NOTHING_KNOWN, Deployment
from idp.policy.model import Policy
from idp.policy.prepare import Prepared, prepare
from idp.settings import IdpSettings
from idp.storage import policies
from idp.storage.engine import reading
from idp.storage.policies import Accepted, Rejected, Role
from idp.storage.policy_files import LOOK_SECONDS, Content, PolicyFiles, Watch, read_policy_files
from idp.storage.seal import Sealer
from idp.web.candidate import Candidate
from idp.web.services import AuditTrail, PolicyView

_PAUSE_SECONDS: Final = 5
"""Whoever comes when nobody looked for so long waits for what may have changed."""

_log = log.get(__name__)

_PREFIXES: Final[dict[Role, str]] = {"in_force": "policy_", "shadow": "policy_shadow_"}

Found = tuple[Role, Content | PolicyRejected]


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="policy", daemon=True).start()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What :class:`Policies` stands on."""

    settings: IdpSettings
    clock: Clock
    engine: Engine
    seals: Sealer
    audit: AuditTrail
    tighten: Callable[[IdpSettings, Policy], IdpSettings]
    """The settings with a policy's limits."""
    deployment: Deployment = NOTHING_KNOWN
    """What the linter is to know beside the file."""
    operators: tuple[VerificationKey, ...] = ()
    """Whoever approves policies; nobody: no approval is asked for."""
    aside: Callable[[Callable[[], None]], None] = field(default=_in_a_thread)
    """Runs something beside the requests."""


class FixedPolicy:
    """One policy for ever: for tests, and for commands that decide nothing."""

    def __init__(self, settings: IdpSettings, policy: Policy) -> None:
        self._view = PolicyView(policy, settings)

    @property
    def current(self) -> PolicyView:
        """Always the same."""
        return self._view

    @property
    def troubles(self) -> tuple[str, ...]:
        """None."""
        return ()

    def refresh(self) -> None:
        """There is nothing to look at."""


class Policies:
    """The policy of the settings' file; safe to share between threads.

    :raises PolicyRejected: the file may not be put in force, and there is none yet; the refusal has been recorded.
    """

    def __init__(self, made: Surroundings) -> None:
        self._made = made
        shadow = made.settings.policy.shadow_file
        self._watches: dict[Role, Watch] = {"in_force": Watch(PolicyFiles(made.settings.policy_file))}
        if shadow is not None:
            self._watches["shadow"] = Watch(PolicyFiles(shadow))
        self._busy = threading.Lock()
        """Held by whoever looks and prepares: everything below is changed by its holder only."""
        self._looked_at: datetime | None = None
        self._accepted: dict[Role, Content] = {}
        self._refused: dict[Role, Rejected] = {}
        self._causes: dict[Role, str] = {}
        self._view: PolicyView | None = None
        self._begin()

    @property
    def current(self) -> PolicyView:
        """The policy in force now, one that passed its own cases."""
        view = self._view  # one reference, replaced whole
        if view is None:
            raise PolicyRejected("internal", ())
        return view

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with the files, as codes; the policy in force is not concerned."""
        candidate = self.current.candidate
        stopped = ("policy_shadow_stopped",) if candidate is not None and candidate.stopped else ()
        causes = self._causes  # one reference, replaced whole
        return (*(_PREFIXES[role] + causes[role] for role in sorted(causes)), *stopped)

    def refresh(self) -> None:
        """Look whether the files changed; never raises, and never waits for another thread that looks."""
        now = self._made.clock.now()
        before = self._looked_at
        pause = _PAUSE_SECONDS if before is None else abs((now - before).total_seconds())
        if pause < LOOK_SECONDS or not self._busy.acquire(blocking=False):
            return
        self._looked_at = now
        found = self._look(now)
        if found and pause < _PAUSE_SECONDS:
            try:
                self._made.aside(lambda: self._finish(found))
                return
            except RuntimeError:  # no thread can be started
                _log.warning("a policy is prepared by a request")
        self._finish(found)

    def _finish(self, found: list[Found]) -> None:
        try:
            for role, content in found:
                self._handle(role, content)
        finally:
            self._busy.release()

    def _look(self, now: datetime) -> list[Found]:
        found: list[Found] = []
        for role, watch in self._watches.items():
            try:
                content = watch.look(now)
            except PolicyRejected as error:
                found.append((role, error))
            except Exception:  # noqa: BLE001 - a request is not to fail for a file that it does not need
                _log.exception("the policy's files cannot be looked at")
            else:
                if content is not None and (role in self._causes or content != self._accepted.get(role)):
                    found.append((role, content))
        return found

    # Putting in force

    def _begin(self) -> None:
        """The first policy: without one there is no server."""
        files = self._watches["in_force"].files
        content = None
        try:
            content = read_policy_files(files)
            self._put("in_force", content)
        except PolicyRejected as error:
            self._refuse("in_force", content, error)
            raise
        if "shadow" in self._watches:
            try:
                self._handle("shadow", read_policy_files(self._watches["shadow"].files))
            except PolicyRejected as error:
                self._handle("shadow", error)

    def _handle(self, role: Role, found: Content | PolicyRejected) -> None:
        """Put in force what may be; whatever happens, what was in force stays until something else can be."""
        try:
            if isinstance(found, Content):
                self._put(role, found)
            elif role == "shadow" and not self._watches[role].files.policy.exists():
                self._remove_candidate()
            else:
                raise found
        except PolicyRejected as error:
            self._refuse(role, found if isinstance(found, Content) else None, error)
        except Exception:  # noqa: BLE001 - a fault of ours or of the database must not end what is in force
            self._watches[role].forget()
            self._tell(role, "internal")
            _log.exception("a policy could not be put in force", extra={"fields": {"role": role}})

    def _put(self, role: Role, content: Content) -> None:
        """Check, prepare, record, swap: in this order.

        :raises PolicyRejected: it may not be put in force.
        """
        approval, refusal = self._approval(role, content)
        if refusal is not None and not self._in_place(content):
            raise refusal
        files = self._watches[role].files
        settings = self._made.settings
        prepared = prepare(
            content.policy,
            str(files.policy),
            content.cases,
            str(files.cases),
            self._made.deployment,
            cases_required=settings.production and settings.policy.cases_required and role == "in_force",
        )
        if approval is not None and approval.name != prepared.policy.name:
            fault = Fault(str(files.approval), 1, 1, "approves a policy of another name")
            raise PolicyRejected("approval_for_other_content", (fault,))
        self._record(role, content, prepared, approval, refusal)
        self._accepted[role] = content
        self._refused.pop(role, None)
        self._swap(role, prepared)
        self._tell(role, None)

    def _approval(self, role: Role, content: Content) -> tuple[PolicyApproval | None, PolicyRejected | None]:
        """What operators signed, or why that does not count; neither where none of it is asked for."""
        made = self._made
        if role == "shadow" or made.settings.policy.approval is None:
            return None, None
        try:
            approval = check_approval(
                content.approval,
                made.operators,
                made.settings.policy.approval.needed,
                issuer=made.settings.issuer,
                file=str(self._watches[role].files.approval),
                sha256=content.sha256,
                cases_sha256=content.cases_sha256,
                now=made.clock.now(),
            )
        except PolicyRejected as error:
            return None, error
        return approval, None

    def _in_place(self, content: Content) -> bool:
        """Whether operators approved this very content and it has been in force ever since."""
        with reading(self._made.engine) as connection:
            state = policies.state(connection, self._made.seals, "in_force")
        return state is not None and state.approved(content.sha256, content.cases_sha256)

    def _swap(self, role: Role, prepared: Prepared | None) -> None:
        view = self._view
        if role == "shadow":
            if view is not None:
                self._view = replace(view, candidate=None if prepared is None else Candidate(prepared.policy))
        elif prepared is not None:
            settings = self._made.tighten(self._made.settings, prepared.policy)
            candidate = None if view is None else view.candidate
            self._view = PolicyView(prepared.policy, settings, candidate, prepared)

    def _remove_candidate(self) -> None:
        with self._made.engine.begin() as connection:
            former = policies.empty(connection, self._made.seals, "shadow")
            if former:
                self._made.audit.record(connection, "policy.shadow_ended", policy_sha256=former)
        self._accepted.pop("shadow", None)
        self._refused.pop("shadow", None)
        self._swap("shadow", None)
        self._tell("shadow", None)

    # Saying so

    def _record(
        self,
        role: Role,
        content: Content,
        prepared: Prepared,
        approval: PolicyApproval | None,
        refusal: PolicyRejected | None,
    ) -> None:
        """In the database before it decides anything; by the first process that comes to it.

        :raises PolicyRejected: another process put something else in force that was approved later.
        """
        made, policy = self._made, prepared.policy
        accepted = Accepted(
            policy.sha256, prepared.cases_sha256, policy.name, content.policy, content.cases, approval, refusal
        )
        names = {"policy": policy.name, "policy_sha256": policy.sha256, "cases_sha256": prepared.cases_sha256}
        with made.engine.begin() as connection:
            change = policies.accept(connection, made.seals, role, accepted, made.clock.now())
            if approval is not None and change.newly_approved:
                made.audit.record(
                    connection,
                    "policy.approved",
                    **names,
                    operators=list(approval.operators),
                    approval=approval.jti,
                    expires_at=approval.exp,
                )
            if change.put_in_place and role == "in_force":
                made.audit.record(connection, "policy.in_force", **names, former_sha256=change.former_sha256)
            elif change.put_in_place:
                made.audit.record(connection, "policy.shadow_began", **names)
            elif change.restored:
                made.audit.record(connection, "policy.restored", role=role, **names)
        warnings = [f"{item.where.file}:{item.where.line}: {item.rule}: {item.message}" for item in prepared.findings]
        if prepared.report is None:
            warnings.append("it has no cases")
        _log.log(
            logging.WARNING if warnings else logging.INFO,
            "a policy is in its place",
            extra={"fields": {**names, "role": role, "warnings": warnings}},
        )

    def _refuse(self, role: Role, content: Content | None, error: PolicyRejected) -> None:
        made = self._made
        sha256, cases_sha256 = ("", "") if content is None else (content.sha256, content.cases_sha256)
        rejected = Rejected(sha256, cases_sha256, error.cause, error.faults)
        self._tell(role, error.cause)
        if self._refused.get(role) == rejected:
            return
        fields = {
            "role": role,
            "policy_sha256": sha256,
            "cases_sha256": cases_sha256,
            "cause": error.cause,
        }
        _log.error(
            "a policy was refused", extra={"fields": {**fields, "faults": [str(fault) for fault in error.faults]}}
        )
        try:
            with made.engine.begin() as connection:
                if policies.refuse(connection, made.seals, role, rejected, made.clock.now()):
                    made.audit.record(connection, "policy.refused", **fields, faults=len(error.faults))
        except Exception:  # noqa: BLE001 - it was said, and is recorded at the next look
            self._watches[role].forget()
            _log.exception("a refused policy could not be recorded", extra={"fields": fields})
        else:
            self._refused[role] = rejected

    def _tell(self, role: Role, cause: str | None) -> None:
        others = {other: code for other, code in self._causes.items() if other != role}
        self._causes = others if cause is None else {**others, role: cause}
