"""Why the module refuses.  ``code`` goes over the link; the text is for the operator and never holds a secret."""

from __future__ import annotations

from signing.errors import SigningError


class SamError(SigningError):
    """Base of the module's refusals; never raised itself."""


class SadRefused(SamError):
    """The SAD is well formed and signed, and still not one for this module at this time."""

    code = "invalid_sad"


class EpochSetBack(SamError):
    """The database knows an earlier epoch than this process has seen: nothing is done until it is raised again."""

    code = "audit_unavailable"


class LedgerBehind(SamError):
    """The database is behind the anchor on the token: nothing is signed until operators restore it (SAD-12)."""

    code = "ledger_set_back"


class SadExpired(SamError):
    """``exp`` has been reached."""

    code = "expired_sad"


class SadSpent(SamError):
    """What the SAD authorised has been spent, or is reserved by another request."""

    code = "sad_used"


class StillInProgress(SamError):
    """The identical request is being carried out, and has not come to its end in time."""

    code = "busy"


class SadSuperseded(SamError):
    """Another SAD of the same transaction took its place."""

    code = "invalid_sad"


class SadRevoked(SamError):
    """Its issuer took it back: transaction withdrawn, session ended, client or account disabled, factor changed."""

    code = "sad_revoked"


class DigestNotAuthorized(SamError):
    """A digest, or its hash function, is not among those that the SAD names."""

    code = "hash_not_authorized"


class TemplateRefused(SamError):
    """What is asked for has not the form of a template, or a document is not as it is said to be."""

    code = "invalid_template"


class DigestLengthInvalid(SamError):
    """A digest does not have its hash function's length."""

    code = "invalid_digest_length"


class DigestsMissing(SamError):
    """There is nothing to sign."""

    code = "invalid_digest"


class WrongCredential(SamError):
    """The SAD is for another credential."""

    code = "wrong_credential"


class WrongClient(SamError):
    """The SAD was given to another client."""

    code = "wrong_client"


class BindingRefused(SamError):
    """The SAD is bound to a key, and the request does not show it, or shows it for something else or once more."""

    code = "binding_refused"


class WrongOwner(SamError):
    """SAD or order and credential belong to different persons."""

    code = "wrong_owner"


class UnknownCredential(SamError):
    """There is no credential of that id."""

    code = "unknown_credential"


class CredentialDisabled(SamError):
    """The credential is not in the status that the operation needs."""

    code = "credential_disabled"


class ChangedMeanwhile(SamError):
    """The credential or the ledger's epoch changed between the look at them and the reservation; nothing is spent."""

    code = "credential_disabled"


class CertificateExpired(SamError):
    """The certificate is not valid now."""

    code = "certificate_expired"


class FloorNotMet(SamError):
    """Level, categories or age of the evidence fall short of the floor stored with the credential."""

    code = "floor_not_met"


class AlgorithmNotAllowed(SamError):
    """No such algorithm, or none that this key serves."""

    code = "algorithm_not_allowed"


class ProofMissing(SamError):
    """The credential demands a proof by its signer's own device, and there is none."""

    code = "proof_missing"


class ProofRefused(SamError):
    """The signer's proof is not one for this, by a device that is bound to the credential, now."""

    code = "invalid_proof"


class ProofCloned(ProofRefused):
    """Alarm: the device's counter went back, as it does when somebody uses a copy of its key."""

    code = "proof_cloned"


class TooManySignatures(SamError):
    """More signatures than the credential allows in one SAD, or than the SAD allows."""

    code = "too_many_signatures"


class DayExhausted(SamError):
    """The credential has made as many signatures in the last 24 hours as its floor allows; nothing is spent."""

    code = "day_exhausted"


class OrderRefused(SamError):
    """The order is well formed and signed, and still not one for this module at this time."""

    code = "invalid_order"


class OrderUsed(SamError):
    """The order has been carried out."""

    code = "order_used"


class OrderExpired(SamError):
    """``exp`` of the order has been reached."""

    code = "expired_order"


class EventRefused(SamError):
    """The security event is well formed and signed, and still not one for this module at this time."""

    code = "invalid_event"


class EventWrongAudience(EventRefused):
    """The security event is for another module."""

    code = "event_audience"


class EventIssuerUnknown(EventRefused):
    """The security event names an issuer of whom no key is pinned."""

    code = "event_issuer"


class OperationRefused(SamError):
    """The operators' operation is right in form and signatures, and still not one for this module at this time."""

    code = "invalid_operation"


class OperationUsed(SamError):
    """The operation has been carried out."""

    code = "operation_used"


class CertificateRefused(SamError):
    """The certificate does not belong to the credential, or does not come from a pinned anchor."""

    code = "certificate_refused"


class RowAltered(SamError):
    """A credential's record does not have the integrity that its MAC gave it."""

    code = "row_integrity"


class Indeterminate(SamError):
    """What became of the request is not certain; its positions are spent."""

    code = "indeterminate"


class StoreUnavailable(SamError):
    """The database cannot be read or written, so neither ledger nor audit can; nothing was committed."""

    code = "audit_unavailable"


class CommitUnknown(SamError):
    """A commit was sent and no answer came: it may or may not have been done."""

    code = "indeterminate"


class NotPermitted(SamError):
    """Not offered by this version, or not on this socket."""

    code = "not_permitted"


class ScdevUnavailable(SamError):
    """The device did nothing, and it is certain that it did not."""

    code = "device_unavailable"


class TransitionRefused(SamError):
    """A redemption does not go from the one state to the other: a fault in our code."""

    code = "indeterminate"


class StateRefused(SamError):
    """The database is not this module's: no tables, another schema version or another realm."""

    code = "state_refused"
