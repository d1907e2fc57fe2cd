"""Why the signature activation module refuses: the codes that go over the link, each with one constant sentence.

The sentence depends on the code alone, so an answer tells nothing that the code does not (SAD-15).  What an operator
needs beyond it stands in the module's log and audit chain.
"""

from __future__ import annotations

from typing import Final

INVALID_SAD: Final = "invalid_sad"
EXPIRED_SAD: Final = "expired_sad"
SAD_USED: Final = "sad_used"
SAD_REVOKED: Final = "sad_revoked"
HASH_NOT_AUTHORIZED: Final = "hash_not_authorized"
INVALID_DIGEST_LENGTH: Final = "invalid_digest_length"
INVALID_DIGEST: Final = "invalid_digest"
INVALID_TEMPLATE: Final = "invalid_template"
WRONG_CREDENTIAL: Final = "wrong_credential"
WRONG_CLIENT: Final = "wrong_client"
BINDING_REFUSED: Final = "binding_refused"
WRONG_OWNER: Final = "wrong_owner"
UNKNOWN_CREDENTIAL: Final = "unknown_credential"
CREDENTIAL_DISABLED: Final = "credential_disabled"
CERTIFICATE_EXPIRED: Final = "certificate_expired"
FLOOR_NOT_MET: Final = "floor_not_met"
ALGORITHM_NOT_ALLOWED: Final = "algorithm_not_allowed"
PROOF_MISSING: Final = "proof_missing"
INVALID_PROOF: Final = "invalid_proof"
PROOF_CLONED: Final = "proof_cloned"
TOO_MANY_SIGNATURES: Final = "too_many_signatures"
DAY_EXHAUSTED: Final = "day_exhausted"
INVALID_ORDER: Final = "invalid_order"
ORDER_USED: Final = "order_used"
EXPIRED_ORDER: Final = "expired_order"
INVALID_EVENT: Final = "invalid_event"
EVENT_AUDIENCE: Final = "event_audience"
EVENT_ISSUER: Final = "event_issuer"
INVALID_OPERATION: Final = "invalid_operation"
OPERATORS_MISSING: Final = "operators_missing"
OPERATION_USED: Final = "operation_used"
EXPIRED_OPERATION: Final = "expired_operation"
LEDGER_SET_BACK: Final = "ledger_set_back"
CERTIFICATE_REFUSED: Final = "certificate_refused"
ROW_INTEGRITY: Final = "row_integrity"
DEVICE_UNAVAILABLE: Final = "device_unavailable"
INDETERMINATE: Final = "indeterminate"
AUDIT_UNAVAILABLE: Final = "audit_unavailable"
BUSY: Final = "busy"
BAD_REQUEST: Final = "bad_request"
NOT_PERMITTED: Final = "not_permitted"

DETAILS: Final[dict[str, str]] = {
    INVALID_SAD: "The SAD is not valid.",
    EXPIRED_SAD: "The SAD has expired.",
    SAD_USED: "What the SAD authorised has been spent.",
    SAD_REVOKED: "The SAD was revoked.",
    HASH_NOT_AUTHORIZED: "A digest is not authorised by the SAD.",
    INVALID_DIGEST_LENGTH: "A digest does not have the length of its hash function.",
    INVALID_DIGEST: "The digests cannot be read, or there are none.",
    INVALID_TEMPLATE: "What is to be signed cannot be built as it is asked for.",
    WRONG_CREDENTIAL: "The SAD is for another credential.",
    WRONG_CLIENT: "The SAD was given to another client.",
    BINDING_REFUSED: "The SAD is bound to a key that the request does not show.",
    WRONG_OWNER: "The credential belongs to another person.",
    UNKNOWN_CREDENTIAL: "There is no such credential.",
    CREDENTIAL_DISABLED: "The credential is not active.",
    CERTIFICATE_EXPIRED: "The credential's certificate is not valid at this time.",
    FLOOR_NOT_MET: "The authentication does not reach what the credential demands.",
    ALGORITHM_NOT_ALLOWED: "The signature algorithm is not allowed for this key.",
    PROOF_MISSING: "The credential demands a proof by its signer's device.",
    INVALID_PROOF: "The signer's proof is not valid.",
    PROOF_CLONED: "The counter of the signer's device went back.",
    TOO_MANY_SIGNATURES: "More signatures than the credential allows at a time.",
    DAY_EXHAUSTED: "More signatures than the credential allows in a day.",
    INVALID_ORDER: "The order is not valid.",
    ORDER_USED: "The order has been used.",
    EXPIRED_ORDER: "The order has expired.",
    INVALID_EVENT: "The security event is not valid.",
    EVENT_AUDIENCE: "The security event is for another audience.",
    EVENT_ISSUER: "The security event is from an issuer that is not known.",
    INVALID_OPERATION: "The operators' operation is not valid.",
    OPERATORS_MISSING: "It takes more operators than have signed.",
    OPERATION_USED: "The operation has been used.",
    EXPIRED_OPERATION: "The operation has expired.",
    LEDGER_SET_BACK: "The database is behind the token's anchor; nothing is signed until operators restore it.",
    CERTIFICATE_REFUSED: "The certificate is not one for this credential.",
    ROW_INTEGRITY: "The credential's record has been altered.",
    DEVICE_UNAVAILABLE: "The signature creation device is not available.",
    INDETERMINATE: "It is not certain what became of the request; what it authorised is spent.",
    AUDIT_UNAVAILABLE: "The record cannot be written, so nothing is done.",
    BUSY: "Too much is in progress.",
    BAD_REQUEST: "The request is not in the form of the link.",
    NOT_PERMITTED: "The operation is not permitted here.",
}
"""Every code with its sentence; a code that is not here never leaves the module."""
