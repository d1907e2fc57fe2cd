"""Why a SAD or an order could not be read."""

from __future__ import annotations

from foundation.errors import PrivySealError


class ContractError(PrivySealError):
    """Base of the errors of this package; never raised itself."""


class SadInvalid(ContractError):
    """The SAD is not one: form, signature, type, or a claim missing, unknown or out of bounds."""

    code = "invalid_sad"


class OrderInvalid(ContractError):
    """The order is not one: form, signature, type, or a claim missing, unknown or out of bounds."""

    code = "invalid_order"
