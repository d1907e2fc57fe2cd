"""Why a SAD, an order, an operators' operation or a security event could not be read."""

from __future__ import annotations

from foundation.errors import PrivySealError


class ContractError(PrivySealError):
    """Base of the errors of this package; never raised itself."""


class SadInvalid(ContractError):
    """The SAD is not one: form, signature, type, or a claim missing, unknown or out of bounds."""

    code = "invalid_sad"


class ConfirmationInvalid(ContractError):
    """A claim ``cnf`` does not have exactly one method that is known, with a thumbprint."""

    code = "invalid_token"


class OrderInvalid(ContractError):
    """The order is not one: form, signature, type, or a claim missing, unknown or out of bounds."""

    code = "invalid_order"


class OperationInvalid(ContractError):
    """The operators' operation is not one: form, type, a claim, a signature, or a key that is no operator's."""

    code = "invalid_operation"


class OperationUnderSigned(OperationInvalid):
    """Fewer operators have signed the operation than it takes."""

    code = "operators_missing"


class OperationExpired(OperationInvalid):
    """The operation's ``exp`` has been reached."""

    code = "expired_operation"


class EventInvalid(ContractError):
    """The security event is not one: form, signature, type, or a claim missing, unknown or out of bounds."""

    code = "invalid_event"


class ProofInvalid(ContractError):
    """The signer's proof is not one: form, what it is about, origin, time, or signature."""

    code = "invalid_proof"
