"""The identity provider's audit events and its chain."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from auditlog.catalogue import Catalogue, Event
from auditlog.sql import AuditLog, audit_tables
from foundation.clock import Clock
from idp.authn.events import EVENTS as AUTHENTICATOR_EVENTS
from idp.oidc.events import EVENTS as OIDC_EVENTS
from idp.storage.models import metadata
from idp.storage.statements import Statement

_POLICY: Final = frozenset({"policy", "policy_sha256", "cases_sha256"})
_TRANSACTION: Final = frozenset({"txn", "client_id", "action"})
_NOTICE: Final = frozenset({"account_id", "notice_id", "change", "factor", "channel", "attempts"})
_DECISION: Final = frozenset({"decision_id", "decision_sha256", "policy", "policy_sha256"})

EVENTS: Final = (
    Event(
        "account.created",
        "An administrator added a person.",
        frozenset({"account_id", "proofing"}),
        frozenset({"authenticators"}),
    ),
    Event(
        "account.described",
        "An administrator replaced a person's groups or attributes; of attributes the names are kept, not the values.",
        frozenset({"account_id", "groups", "attributes"}),
    ),
    Event(
        "account.status_changed",
        "An administrator disabled or enabled an account.",
        frozenset({"account_id", "status", "sessions_ended"}),
        frozenset({"reason"}),
    ),
    Event(
        "authenticator.replaced",
        "An administrator bound another password, phone or mail address; the former one is disabled.",
        frozenset({"account_id", "factor", "authenticator_id", "not_before", "sessions_ended"}),
    ),
    Event(
        "messages.stopped",
        "As many text messages as may went out to everybody, or to numbers of one prefix (`scope` `prefix_34`); "
        "no more of those are sent for a while.",
        frozenset({"scope", "seconds"}),
    ),
    Event(
        "messages.unused",
        "Of the codes that went out by text message few were used: somebody may be pumping messages.",
        frozenset({"ended", "used"}),
    ),
    Event(
        "database.restored",
        "A backup was put into the database; all sessions, codes and tokens ended with it.",
        frozenset({"made_at", "content_sha256"}),
    ),
    Event("messages.resumed", "An operator took back what stopped messages.", frozenset({"stops"})),
    Event(
        "notice.sent",
        "A person was told, over a channel that they had, that something they sign in with was changed.",
        _NOTICE,
    ),
    Event("notice.dropped", "A person could not be told, and will not be.", _NOTICE | {"cause"}),
    Event(
        "record.altered",
        "A row of the database is not as this program wrote it; it was treated as if it were not there.",
        frozenset({"table", "record", "cause"}),
    ),
    Event(
        "policy.in_force",
        "Another policy, or another file of its cases, was put in force.",
        _POLICY | {"former_sha256"},
    ),
    Event(
        "policy.approved",
        "Operators approved the policy that is put in force.",
        _POLICY | {"operators", "approval", "expires_at"},
    ),
    Event(
        "policy.refused",
        "A policy file was refused; what was in force before stays so.",
        frozenset({"role", "policy_sha256", "cases_sha256", "cause", "faults"}),
    ),
    Event(
        "policy.restored",
        "What was refused is gone: the file holds again what is in force.",
        _POLICY | {"role"},
    ),
    Event("policy.shadow_began", "A candidate is asked beside the policy in force, and decides nothing.", _POLICY),
    Event(
        "policy.shadow_differs",
        "The candidate would have decided otherwise; it decided nothing.",
        frozenset(
            {
                "decision_id",
                "txn",
                "policy_sha256",
                "candidate_sha256",
                "kind",
                "outcome",
                "candidate_outcome",
                "rules",
            }
        ),
    ),
    Event("policy.shadow_ended", "The candidate is not asked any more.", frozenset({"policy_sha256"})),
    Event("keys.initialised", "Keys were made.", frozenset({"keys"})),
    Event("keys.rotated", "Another token key became current.", frozenset({"kid"})),
    Event(
        "login.succeeded",
        "A person proved a factor that identifies them.",
        frozenset({"account_id", "session_id", "factor", "authenticator_id"}),
        _TRANSACTION,
    ),
    Event(
        "login.refused",
        "A factor of a known account was not proved.",
        frozenset({"account_id", "factor", "authenticator_id", "failures"}),
        _TRANSACTION | {"cause"},
    ),
    Event(
        "otp.sent",
        "A message with a one-time code was handed to a gateway.",
        frozenset({"account_id", "session_id", "factor", "authenticator_id", "challenge_id", "sends"}),
        _TRANSACTION,
    ),
    Event(
        "otp.not_sent",
        "A gateway did not take a message.",
        frozenset({"account_id", "session_id", "factor", "authenticator_id", "challenge_id", "cause"}),
        _TRANSACTION,
    ),
    Event(
        "otp.accepted",
        "The right code came, once.",
        frozenset({"account_id", "session_id", "factor", "authenticator_id", "challenge_id"}),
        _TRANSACTION,
    ),
    Event(
        "otp.refused",
        "A wrong, used or expired code came, or the authenticator is locked.",
        frozenset({"account_id", "session_id", "factor", "authenticator_id", "cause"}),
        _TRANSACTION | {"challenge_id"},
    ),
    Event(
        "session.ended",
        "A session was ended before its time.",
        frozenset({"account_id", "session_id", "cause"}),
    ),
    Event(
        "transaction.approved",
        "The policy allowed an action and the person approved it.",
        frozenset({"account_id", "session_id", "acr", "amr"}) | _DECISION | _TRANSACTION,
        frozenset({"credential_id", "hash_alg", "digests", "profile", "shown", "shown_sha256"}),
    ),
    Event(
        "transaction.refused",
        "The policy denied an action, or the person did.",
        frozenset({"cause"}) | _TRANSACTION,
        frozenset({"account_id", "session_id"}) | _DECISION,
    ),
    Event(
        "admin.refused",
        "Somebody who is signed in asked for a page or a change of the administration and was refused.",
        frozenset({"account_id", "session_id", "action", "cause"}),
    ),
    Event(
        "admin.viewed",
        "An administrator looked at what concerns other people.",
        frozenset({"account_id", "session_id", "action"}),
        frozenset({"subject", "decision_id", "candidate_sha256"}),
    ),
    Event(
        "role.granted",
        "A person became an administrator of one kind.",
        frozenset({"account_id", "role", "by"}),
        frozenset({"request_id", "proposed_by", "decision_id"}),
    ),
    Event(
        "role.proposed",
        "An operator proposed that a person shall hold a role, or no longer.",
        frozenset({"account_id", "role", "change", "by", "request_id", "decision_id", "expires_at"}),
    ),
    Event(
        "role.refused",
        "A change of roles was not proposed, or not confirmed.",
        frozenset({"account_id", "role", "change", "by", "cause"}),
        frozenset({"request_id"}),
    ),
    Event(
        "role.rejected",
        "An operator rejected, or withdrew, a proposed change of roles.",
        frozenset({"account_id", "role", "change", "by", "request_id", "decision_id"}),
    ),
    Event(
        "role.revoked",
        "A person no longer is an administrator of one kind.",
        frozenset({"account_id", "role", "by"}),
        frozenset({"request_id", "proposed_by", "decision_id"}),
    ),
    Event(
        "event.dropped",
        "The signing side was never told of something in the time in which it mattered.",
        frozenset({"jti", "notice", "subject", "attempts"}),
    ),
    Event(
        "proof.given",
        "A person's own device approved a signature; `display_sha256` is of the text that it was shown with.",
        frozenset(
            {"account_id", "session_id", "txn", "client_id", "credential_id", "proof_key", "display_sha256", "language"}
        ),
    ),
    Event(
        "proof.refused",
        "What came as a device's approval of a signature was none.",
        frozenset({"account_id", "session_id", "txn", "client_id", "credential_id", "cause"}),
    ),
    Event(
        "order.issued",
        "An order for the signature activation module was signed.",
        frozenset({"account_id", "jti", "operation", "decision_id", "txn"}),
        frozenset({"profile", "credential_id", "device", "client_id", "grant_id"}),
    ),
)
"""What happens to persons, their factors and their transactions; the protocols add theirs."""

CATALOGUE: Final = Catalogue((*EVENTS, *AUTHENTICATOR_EVENTS, *OIDC_EVENTS))

TABLES: Final = audit_tables(metadata)


class DatabaseAudit:
    """The chain in the identity provider's database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # What is written goes with the commit, so that the chain is locked for one way to the database less.
        self._log = AuditLog(TABLES, CATALOGUE, Statement, lambda clause: Statement(clause).put_off)

    def initialise(self, connection: Connection) -> None:
        """Begin the chain where there is none."""
        self._log.initialise(connection)

    def touch(self, connection: Connection) -> None:
        """Ask for the chain's head as :meth:`record` does, and write nothing."""
        self._log.lock(connection)

    def record(self, connection: Connection, event: str, **fields: Any) -> None:
        """Append a record; the last statement of the caller's transaction.

        :raises auditlog.errors.AuditError: the event is unknown or the chain cannot be written: roll back.
        """
        self._log.append(connection, event, fields, self._clock.now())
