"""What the authorization server writes into the audit chain.

Refusals are recorded for clients that had authenticated; those of anybody else go to the log only, so that a flood of
them cannot fill the chain.
"""

from __future__ import annotations

from typing import Final

from auditlog.catalogue import Event

_LOGOUT: Final = frozenset({"client_id", "account_id", "session_id", "notice_id", "attempts"})

EVENTS: Final = (
    Event(
        "client.created",
        "A client was registered.",
        frozenset({"client_id", "auth_method", "scopes", "grant_types"}),
        frozenset({"redirect_uris", "introspects", "backchannel_logout_uri"}),
    ),
    Event(
        "client.changed",
        "A client was enabled, disabled, or given a new secret.",
        frozenset({"client_id", "change", "grants_revoked"}),
        frozenset({"by", "decision_id"}),
    ),
    Event(
        "token.issued",
        "An access token that opens no signing key was given to a client.",
        frozenset({"client_id", "subject", "grant_id", "jti", "grant_type", "scope", "audience", "expires_at"}),
        frozenset({"session_id", "txn", "bound_to"}),
    ),
    Event(
        "sad.issued",
        "Signature activation data was given to a client.",
        frozenset(
            {
                "client_id",
                "account_id",
                "session_id",
                "grant_id",
                "jti",
                "txn",
                "decision_id",
                "credential_id",
                "hash_alg",
                "digests",
                "sign_count",
                "expires_at",
                "sad_sha256",
            }
        ),
        frozenset({"bound_to", "supersedes"}),
    ),
    Event(
        "token.refused",
        "A client that had authenticated was refused.",
        frozenset({"client_id", "endpoint", "error"}),
        frozenset({"cause", "grant_id"}),
    ),
    Event(
        "grant.revoked",
        "Everything given out on one approval was revoked.",
        frozenset({"client_id", "grant_id", "cause"}),
    ),
    Event(
        "backchannel.asked",
        "A client asked for an approval without a browser.",
        frozenset({"client_id", "request_id", "seconds", "scope"}),
        frozenset({"account_id", "credential_id", "digests", "asked_by"}),
    ),
    Event(
        "backchannel.approved",
        "The person approved it; the client may collect it, once.",
        frozenset({"client_id", "account_id", "request_id", "txn", "grant_id"}),
    ),
    Event(
        "backchannel.refused",
        "The person did not approve it, or the policy did not let them.",
        frozenset({"client_id", "account_id", "request_id", "cause"}),
    ),
    Event(
        "backchannel.expired",
        "Nobody decided on it in time, or nobody collected it.",
        frozenset({"client_id", "request_id"}),
        frozenset({"account_id"}),
    ),
    Event(
        "logout.told",
        "A relying party was told that a session has ended in which it was given an ID token.",
        _LOGOUT | {"jti"},
    ),
    Event("logout.dropped", "A relying party was not told of that, and will not be.", _LOGOUT | {"cause"}),
    Event("token.revoked", "A client gave an access token back.", frozenset({"client_id", "grant_id", "jti"})),
)
