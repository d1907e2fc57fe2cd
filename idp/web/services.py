"""What the pages and endpoints stand on, in one frozen value; ``idp.app`` makes it, tests make their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, cast

from flask import Flask, current_app, g, has_app_context, request
from sqlalchemy import Connection, Engine

from connectors.ports.messaging import Mailer, SmsGateway
from foundation.clock import Clock
from idp.authn.methods import available
from idp.policy.anybody import Anybody
from idp.policy.model import Policy
from idp.policy.prepare import Prepared
from idp.settings import IdpSettings
from idp.storage.keys import KeyStore
from idp.storage.outbox import Outbox
from idp.storage.seal import Sealer
from idp.web.candidate import Candidate

TOLD: Final = "privyseal_told"
"""In ``g``: this request may have written something into the outbox."""
EXTENSION: Final = "privyseal"
_NOT_BEGUN: Final = object()
_OUTER: Final = "privyseal.outer"
"""In the request's environment: what was held where this request began within another."""


@dataclass(frozen=True, slots=True)
class CredentialView:
    """What a person is shown of a signing credential, as the signing service states it."""

    credential_id: str
    subject: str
    issuer: str
    valid_from: str
    """GeneralizedTime in UTC as the CSC API has it (``20260101000000Z``), or empty where the service did not say."""
    valid_to: str
    """The same."""
    scal: str
    qualifier: str | None
    status: str
    proof_required: bool = False
    """Whether nothing is signed without a proof by the person's own device."""
    proof_keys: tuple[Mapping[str, Any], ...] = ()
    """The devices, as :func:`contract.proof_key.to_json` writes them."""


class CredentialReader(Protocol):
    """Reads ``credentials/info`` and ``credentials/list`` for an account."""

    def read(self, account_id: str, client_id: str, credential_id: str) -> CredentialView:
        """The credential, read for its owner.

        :raises CredentialUnavailable: it is not there, not this account's, or the service does not answer.
        """
        ...

    def of_account(self, account_id: str, client_id: str) -> tuple[CredentialView, ...]:
        """All of an account's, suspended ones too.

        :raises CredentialUnavailable: :raises CredentialUnusable: the service does not say.
        """
        ...


class AuditTrail(Protocol):
    """Where what happened is recorded so that it cannot be changed unseen."""

    def touch(self, connection: Connection) -> None:
        """Ask the database what :meth:`record` asks it, and write nothing."""
        ...

    def record(self, connection: Connection, event: str, **fields: Any) -> None:
        """Append an entry in the caller's transaction; fields are JSON values and never secrets."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyView:
    """The policy in force at one moment, with all that follows from it: what one request is answered by."""

    policy: Policy
    settings: IdpSettings
    """With the policy's limits where they are tighter."""
    candidate: Candidate | None = None
    """Another policy that is asked as well and decides nothing (shadow mode)."""
    prepared: Prepared | None = None
    """How the policy did with the linter and its cases; None: it did not come from a file."""


class PolicySource(Protocol):
    """Where the policy in force comes from."""

    @property
    def current(self) -> PolicyView:
        """The policy in force now; another one may take its place at any time."""
        ...

    @property
    def troubles(self) -> tuple[str, ...]:
        """Codes of what is wrong with the files that it comes from."""
        ...

    def refresh(self) -> None:
        """See whether there is another one; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Messaging:
    """The gateways that the operator enabled."""

    sms: SmsGateway | None
    mail: Mailer | None
    certificates: bool = False
    """Somebody in front of these pages asks browsers for certificates."""

    @property
    def factors(self) -> frozenset[str]:
        """Kinds of factor that anybody can have with them."""
        return available(sms=self.sms, mail=self.mail, certificates=self.certificates)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may need that is not in the request."""

    policies: PolicySource
    clock: Clock
    engine: Engine
    keys: KeyStore
    seals: Sealer
    """Tells whether rows are as they were written."""
    audit: AuditTrail
    messaging: Messaging
    credentials: CredentialReader
    random: Callable[[int], bytes]
    """Octets from the operating system's generator."""
    anybody: Anybody = field(default_factory=Anybody, compare=False)
    """What is asked of whoever it may be."""
    tidied: dict[str, datetime] = field(default_factory=dict, compare=False)
    """When this process last forgot what has ended, by what it was."""

    @property
    def outbox(self) -> Outbox:
        """Where is written what the signing side and relying parties have to be told of, after this request."""
        if has_app_context():
            setattr(g, TOLD, True)
        return Outbox(self.seals, self.clock, self.random)

    @property
    def policy(self) -> Policy:
        """The policy in force; the same one throughout a request, whatever happens to the file meanwhile."""
        return self.view.policy

    @property
    def settings(self) -> IdpSettings:
        """The settings, with the limits of :attr:`policy`."""
        return self.view.settings

    @property
    def view(self) -> PolicyView:
        """The policy with all that follows from it, as this request began with it."""
        held = _held.get()
        return held.view if held is not None and held.services.policies is self.policies else self.policies.current


@dataclass(frozen=True, slots=True)
class _Held:
    """What a request is answered by, from its beginning to its end."""

    services: Services
    view: PolicyView


_held: ContextVar[_Held | None] = ContextVar("privyseal_services", default=None)
"""Asked dozens of times a request: a look here instead of one at Flask's context, its app and that one's extensions."""


def install(app: Flask, services: Services) -> None:
    """Make the services reachable from requests to this app."""
    app.extensions[EXTENSION] = services
    app.before_request(_hold)
    app.teardown_request(_let_go)


def _hold() -> None:
    """One policy for a whole request; an outer context's is not taken for it."""
    found = of(current_app)
    found.policies.refresh()
    # Not in ``g``, which a request within a request of the same app shares with it.
    request.environ[_OUTER] = _held.get()
    _held.set(_Held(found, found.policies.current))


def _let_go(_error: BaseException | None) -> None:
    outer = request.environ.pop(_OUTER, _NOT_BEGUN)
    if outer is not _NOT_BEGUN:
        _held.set(outer)


def services() -> Services:
    """The services of the app that handles the current request."""
    held = _held.get()
    return of(current_app) if held is None else held.services


def of(app: Flask) -> Services:
    """The services of an app."""
    return cast("Services", app.extensions[EXTENSION])
