"""PKCS#11 return codes (PKCS #11 2.40, 5.1), by what is to be done about them.  Pure."""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal[
    "device_unavailable", "device_lost", "wrapped_key_refused", "operation_not_permitted", "pin_refused"
]
"""Wire codes of the port's errors."""

CKR_GENERAL_ERROR: Final = 0x05

PIN_CODES: Final = frozenset({0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0x102})
"""PIN_INCORRECT, _INVALID, _LEN_RANGE, _EXPIRED, _LOCKED; USER_PIN_NOT_INITIALIZED."""

PERMANENT_CODES: Final = frozenset(
    {
        0x07,  # ARGUMENTS_BAD
        0x20,  # DATA_INVALID
        0x21,  # DATA_LEN_RANGE
        0x62,  # KEY_SIZE_RANGE
        0x63,  # KEY_TYPE_INCONSISTENT
        0x68,  # KEY_FUNCTION_NOT_PERMITTED
        0x69,  # KEY_NOT_WRAPPABLE
        0x6A,  # KEY_UNEXTRACTABLE
        0x70,  # MECHANISM_INVALID
        0x71,  # MECHANISM_PARAM_INVALID
        0xD0,  # TEMPLATE_INCOMPLETE
        0xD1,  # TEMPLATE_INCONSISTENT
        0x10,  # ATTRIBUTE_READ_ONLY
        0x12,  # ATTRIBUTE_TYPE_INVALID
        0x13,  # ATTRIBUTE_VALUE_INVALID
    }
)
"""Configuration or request: the same call fails again, and nothing was signed."""

WRAPPED_CODES: Final = frozenset(
    {
        0x40,  # ENCRYPTED_DATA_INVALID
        0x41,  # ENCRYPTED_DATA_LEN_RANGE
        0x110,  # WRAPPED_KEY_INVALID
        0x112,  # WRAPPED_KEY_LEN_RANGE
        0x20,  # DATA_INVALID
        0x21,  # DATA_LEN_RANGE
        0x62,  # KEY_SIZE_RANGE
        0xD1,  # TEMPLATE_INCONSISTENT
    }
)
"""In answer to C_UnwrapKey: the blob, not the device."""


def kind_of(code: int, *, sent: bool) -> Kind:
    """What the port says of a return code.

    :param sent: whether C_Sign was called, so that a signature may exist.
    """
    if code in PIN_CODES and not sent:
        return "pin_refused"
    if code in PERMANENT_CODES:
        return "operation_not_permitted"
    return "device_lost" if sent else "device_unavailable"


def ends_worker(kind: Kind) -> bool:
    """Whether the process is replaced: after a loss neither handles nor sessions of the module can be relied on.

    Stale handles, lost logins, capacity (memory, sessions) and a session left in the middle of an operation are
    all cured by a new process, which looks its keys up anew.
    """
    return kind in {"device_unavailable", "device_lost", "pin_refused"}
