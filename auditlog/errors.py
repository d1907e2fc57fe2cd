"""What can be wrong with a record or a chain."""

from __future__ import annotations

from foundation.errors import PrivySealError


class AuditError(PrivySealError):
    """Base of the errors of this package; never raised itself."""

    code = "audit"


class EventRefused(AuditError):
    """The event is not in the catalogue, or has a field that its entry there does not allow: a fault in our code."""

    code = "audit_event_refused"


class ChainBroken(AuditError):
    """A record does not continue the chain.

    :ivar sequence: the first bad record.
    """

    code = "audit_chain_broken"

    def __init__(self, sequence: int, reason: str) -> None:
        super().__init__(f"record {sequence}: {reason}")
        self.sequence = sequence
        self.reason = reason


class ChainTruncated(ChainBroken):
    """The chain ends before a record that is known to have existed; ``sequence`` is the first one missing."""

    code = "audit_chain_truncated"


class CheckpointInvalid(AuditError):
    """A checkpoint cannot be read."""

    code = "audit_checkpoint_invalid"


class CheckpointNotSigned(CheckpointInvalid):
    """A signed checkpoint is signed by none of the keys that are known."""

    code = "audit_checkpoint_not_signed"


class ProofInvalid(AuditError):
    """A record is not shown to be in a tree, or what shows it cannot be read."""

    code = "audit_proof_invalid"


class EvidenceMissing(AuditError):
    """There is no evidence of what was asked for, or what it would be made of cannot be read."""

    code = "evidence_missing"


class ChainNotReady(AuditError):
    """The database has no chain, or its head was changed by somebody who does not hold the lock."""

    code = "audit_unavailable"
