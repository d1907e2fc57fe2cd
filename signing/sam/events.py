"""The module's audit events; ``docs/audit-events.md`` shows them, and a test compares the two."""

from __future__ import annotations

from typing import Final

from auditlog.catalogue import Catalogue, Event, recordable_text
from auditlog.chain import Fields, Value

SIGNATURE_INTENT: Final = "signature.intent"
SIGNATURE_CONSUMED: Final = "signature.consumed"
SIGNATURE_RELEASED: Final = "signature.released"
SIGNATURE_INDETERMINATE: Final = "signature.indeterminate"
SIGNATURE_REFUSED: Final = "signature.refused"
SIGNATURE_REPEATED: Final = "signature.repeated"
CREDENTIAL_INTENT: Final = "credential.create_intent"
CREDENTIAL_CREATED: Final = "credential.created"
CREDENTIAL_IMPORTED: Final = "credential.imported"
CREDENTIAL_ACTIVATED: Final = "credential.activated"
SAD_SUCCEEDED: Final = "sad.succeeded"
CREDENTIAL_SUSPENDED: Final = "credential.suspended"
CREDENTIAL_RESUMED: Final = "credential.resumed"
CREDENTIAL_REVOKED: Final = "credential.revoked"
CREDENTIAL_DELETED: Final = "credential.deleted"
CREDENTIAL_ALTERED: Final = "credential.altered"
LEDGER_SET_BACK: Final = "ledger.set_back"
EPOCH_SET_BACK: Final = "ledger.epoch_set_back"
LEDGER_BEHIND: Final = "ledger.behind_anchor"
CREDENTIAL_FLOOR_SET: Final = "credential.floor_set"
CREDENTIAL_REWRAPPED: Final = "credential.rewrapped"
KEY_ORPHAN_DESTROYED: Final = "key.orphan_destroyed"
CREDENTIAL_PROOF_KEYS: Final = "credential.proof_keys_changed"
OPERATOR_ENROLLED: Final = "operator.enrolled"
OPERATOR_RETIRED: Final = "operator.retired"
OPERATION_REFUSED: Final = "operation.refused"
EPOCH_RAISED: Final = "ledger.epoch_raised"
REVOCATION_RECORDED: Final = "revocation.recorded"
REVOCATION_REFUSED: Final = "revocation.refused"
REVOCATION_ALTERED: Final = "revocation.altered"
REVOCATION_SET_BACK: Final = "revocation.set_back"
SAM_STARTED: Final = "sam.started"
DATABASE_RESTORED: Final = "database.restored"

_OUTCOME: Final = frozenset({"redemption", "credential_id", "issuer", "txn", "count", "reason"})
_CHANGE: Final = frozenset({"credential_id", "owner", "version", "issuer", "order", "decision"})
_OPERATOR: Final = frozenset({"operator", "operators", "operation", "signers"})

CATALOGUE: Final = Catalogue(
    (
        Event(
            SIGNATURE_INTENT,
            "Positions of an approval were reserved; the device is asked next.",
            frozenset(
                {
                    "redemption", "credential_id", "credential_version", "owner", "client_id", "issuer", "txn", "jti",
                    "hash_alg", "scheme", "positions", "digests", "loa", "decision", "policy_sha256",
                }
            ),
            # `signed_digests`: what the key signs, where `digests` are of documents.
            frozenset(
                {
                    "proof_key", "proof_sha256", "proof", "sad_sha256", "aud", "iat", "exp", "sign_count", "hash_type",
                    "acr", "amr", "auth_time", "evidence", "policy", "epoch", "signed_digests", "supersedes",
                    "in_band",
                }
            ),
        ),
        Event(
            SAD_SUCCEEDED,
            "A SAD took the place of those before it, which are refused from now on.",
            frozenset({"credential_id", "client_id", "issuer", "txn", "jti", "supersedes", "unspent"}),
        ),
        Event(SIGNATURE_CONSUMED, "The values were made, verified and released.", _OUTCOME),
        Event(SIGNATURE_RELEASED, "The device certainly did nothing; the positions are free again.", _OUTCOME),
        Event(SIGNATURE_INDETERMINATE, "Alarm: nobody knows, or a value was refused; spent for good.", _OUTCOME),
        Event(
            SIGNATURE_REFUSED,
            "A SAD with a valid signature did not authorise the request.",
            frozenset({"code", "reason", "credential_id", "issuer", "txn", "jti", "client_id"}),
        ),
        Event(
            SIGNATURE_REPEATED,
            "Values that were made and not released are given to the identical request; nothing is signed.",
            frozenset({"credential_id", "issuer", "txn", "jti", "client_id", "count"}),
        ),
        Event(
            CREDENTIAL_INTENT,
            "An order to create a credential was accepted; the device is asked for a key and its request next.",
            frozenset({"credential_id", "owner", "profile", "issuer", "order", "decision"}),
        ),
        Event(
            CREDENTIAL_CREATED,
            "A key and the PKCS#10 request that it signed exist; no certificate yet.",
            frozenset({"credential_id", "owner", "version", "profile", "public_key_sha256"}),
            frozenset({"proof_key", "evidence", "key_attributes"}),
        ),
        Event(
            CREDENTIAL_IMPORTED,
            "Operators brought a key that was made elsewhere; it fits its public key, and has no certificate here yet.",
            _CHANGE | {"profile", "public_key_sha256", "key_attributes", "kek", "mechanism"},
            frozenset({"proof_key", "evidence"}),
        ),
        Event(
            CREDENTIAL_ACTIVATED,
            "A certificate from a pinned anchor was linked.",
            frozenset({"credential_id", "owner", "version", "certificate_sha256"}),
        ),
        Event(CREDENTIAL_SUSPENDED, "A credential was suspended.", _CHANGE),
        Event(CREDENTIAL_RESUMED, "A suspended credential was resumed; earlier SADs no longer serve.", _CHANGE),
        Event(CREDENTIAL_REVOKED, "A credential ended for good; its certificate is revoked next.", _CHANGE),
        Event(CREDENTIAL_DELETED, "A credential's wrapped key was removed for good.", _CHANGE),
        Event(
            CREDENTIAL_FLOOR_SET,
            "Operators changed the least that the module asks for a credential.",
            _CHANGE | {"floor"},
        ),
        Event(
            CREDENTIAL_REWRAPPED,
            "A credential's key was wrapped by another KEK; the key is the same.",
            _CHANGE | {"kek", "kek_before", "mechanism"},
        ),
        Event(
            KEY_ORPHAN_DESTROYED,
            "A key on the token that no credential has was destroyed: a process had died in between.",
            frozenset({"cka_id"}),
        ),
        Event(
            CREDENTIAL_PROOF_KEYS,
            "A device with which a signer proves was bound or removed; `agreed_by` is the key that agreed, if one did.",
            _CHANGE | {"proof_keys"},
            frozenset({"added", "removed", "agreed_by", "evidence"}),
        ),
        Event(
            CREDENTIAL_ALTERED,
            "Alarm: a credential's record is not as the module wrote it.",
            frozenset({"credential_id", "reason"}),
        ),
        Event(
            DATABASE_RESTORED,
            "A backup was put into the database; nothing is signed before operators restore the ledger.",
            frozenset({"made_at", "content_sha256"}),
        ),
        Event(
            LEDGER_SET_BACK,
            "Alarm: the ledger does not know of a redemption that this process made.",
            frozenset({"redemption", "issuer", "txn", "positions"}),
        ),
        Event(
            EPOCH_SET_BACK,
            "Alarm: the database knows an earlier epoch than this process has seen; nothing is signed until a restore.",
            frozenset({"epoch"}),
        ),
        Event(
            LEDGER_BEHIND,
            "Alarm: the database is behind the anchor on the token; nothing is signed until operators restore it.",
            frozenset({"reason"}),
        ),
        Event(
            EPOCH_RAISED,
            "After a restore: SADs and orders issued before are refused.",
            frozenset({"epoch"}),
            frozenset({"operation", "signers"}),
        ),
        Event(OPERATOR_ENROLLED, "Operators enrolled another one.", _OPERATOR),
        Event(OPERATOR_RETIRED, "Operators retired one of them.", _OPERATOR),
        Event(
            OPERATION_REFUSED,
            "An operators' operation was refused; what it says of itself is not verified.",
            frozenset({"code", "reason"}),
            frozenset({"name", "operation", "signers"}),
        ),
        Event(
            REVOCATION_RECORDED,
            "An issuer's security event was taken in: SADs that it is about no longer serve.",
            frozenset({"issuer", "jti", "event", "scope", "subject", "not_before"}),
        ),
        Event(
            REVOCATION_REFUSED,
            "A security event with a valid signature was not one for this module now.",
            frozenset({"issuer", "jti", "code", "reason"}),
        ),
        Event(
            REVOCATION_ALTERED,
            "Alarm: a revocation's record is not as the module wrote it.",
            frozenset({"issuer", "jti", "reason"}),
        ),
        Event(
            REVOCATION_SET_BACK,
            "Alarm: the database does not know of a revocation that this process has seen; it holds all the same.",
            frozenset({"issuer", "jti", "scope", "subject"}),
        ),
        Event(SAM_STARTED, "The module started.", frozenset({"sam_id", "realm", "epoch", "mode"})),
    )
)  # fmt: skip
"""Every event that the module writes."""

WITHHELD: Final = "[withheld]"


def recordable(fields: Fields) -> Fields:
    """The fields, with those replaced that the chain does not take because they look like a token or are too long.

    Some come from whoever asks: what they choose must not decide whether a refusal, or an outcome, is recorded.
    """
    return {name: _recordable(value) for name, value in fields.items()}


def _recordable(value: Value) -> Value:
    if isinstance(value, str):
        return value if recordable_text(value) else WITHHELD
    if isinstance(value, (list, tuple)):
        return [item if recordable_text(item) else WITHHELD for item in value]
    return value
