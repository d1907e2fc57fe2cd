"""PKCS#11 return codes (PKCS #11 2.40, 5.1), by what is to be done about them.  Pure."""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal["device_unavailable", "device_lost", "wrapped_key_refused", "operation_not_permitted", "pin_refused"]
"""Wire codes of the port's errors."""

CKR_GENERAL_ERROR: Final = 0x05
CKR_FUNCTION_FAILED: Final = 0x06
CKR_OPERATION_ACTIVE: Final = 0x90
CKR_TOKEN_NOT_PRESENT: Final = 0xE0
CKR_VENDOR_DEFINED: Final = 0x80000000

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
        0x11,  # ATTRIBUTE_SENSITIVE
        0x13,  # ATTRIBUTE_VALUE_INVALID
        0x54,  # FUNCTION_NOT_SUPPORTED
        0xF1,  # UNWRAPPING_KEY_SIZE_RANGE
        0xF2,  # UNWRAPPING_KEY_TYPE_INCONSISTENT
        0x114,  # WRAPPING_KEY_SIZE_RANGE
        0x115,  # WRAPPING_KEY_TYPE_INCONSISTENT
        0x130,  # DOMAIN_PARAMS_INVALID
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

LOST_CODES: Final = frozenset(
    {
        CKR_GENERAL_ERROR,
        0x30,  # DEVICE_ERROR
        0x32,  # DEVICE_REMOVED
        0xB0,  # SESSION_CLOSED
        0xB3,  # SESSION_HANDLE_INVALID
        CKR_TOKEN_NOT_PRESENT,
        0x190,  # CRYPTOKI_NOT_INITIALIZED
    }
)
"""The connection or the device is lost, for every process that uses it."""

STALE_CODES: Final = frozenset(
    {
        0x60,  # KEY_HANDLE_INVALID
        0x82,  # OBJECT_HANDLE_INVALID
        0xF0,  # UNWRAPPING_KEY_HANDLE_INVALID
        0x113,  # WRAPPING_KEY_HANDLE_INVALID
    }
)
"""A handle that the token does not know any longer; a new process looks its keys up anew."""

LOGIN_CODES: Final = frozenset({0x101})
"""USER_NOT_LOGGED_IN: a new process logs in, once."""

CAPACITY_CODES: Final = frozenset(
    {
        0x02,  # HOST_MEMORY
        CKR_FUNCTION_FAILED,
        0x31,  # DEVICE_MEMORY
        0xB1,  # SESSION_COUNT
    }
)
"""Something ran out, in the process or on the token."""

_NAMES: Final[dict[int, str]] = {
    0x02: "HOST_MEMORY",
    0x05: "GENERAL_ERROR",
    0x06: "FUNCTION_FAILED",
    0x07: "ARGUMENTS_BAD",
    0x10: "ATTRIBUTE_READ_ONLY",
    0x11: "ATTRIBUTE_SENSITIVE",
    0x12: "ATTRIBUTE_TYPE_INVALID",
    0x13: "ATTRIBUTE_VALUE_INVALID",
    0x20: "DATA_INVALID",
    0x21: "DATA_LEN_RANGE",
    0x30: "DEVICE_ERROR",
    0x31: "DEVICE_MEMORY",
    0x32: "DEVICE_REMOVED",
    0x40: "ENCRYPTED_DATA_INVALID",
    0x41: "ENCRYPTED_DATA_LEN_RANGE",
    0x50: "FUNCTION_CANCELED",
    0x54: "FUNCTION_NOT_SUPPORTED",
    0x60: "KEY_HANDLE_INVALID",
    0x62: "KEY_SIZE_RANGE",
    0x63: "KEY_TYPE_INCONSISTENT",
    0x68: "KEY_FUNCTION_NOT_PERMITTED",
    0x69: "KEY_NOT_WRAPPABLE",
    0x6A: "KEY_UNEXTRACTABLE",
    0x70: "MECHANISM_INVALID",
    0x71: "MECHANISM_PARAM_INVALID",
    0x82: "OBJECT_HANDLE_INVALID",
    0x90: "OPERATION_ACTIVE",
    0x91: "OPERATION_NOT_INITIALIZED",
    0xA0: "PIN_INCORRECT",
    0xA1: "PIN_INVALID",
    0xA2: "PIN_LEN_RANGE",
    0xA3: "PIN_EXPIRED",
    0xA4: "PIN_LOCKED",
    0xB0: "SESSION_CLOSED",
    0xB1: "SESSION_COUNT",
    0xB3: "SESSION_HANDLE_INVALID",
    0xC1: "SIGNATURE_LEN_RANGE",
    0xD0: "TEMPLATE_INCOMPLETE",
    0xD1: "TEMPLATE_INCONSISTENT",
    0xE0: "TOKEN_NOT_PRESENT",
    0xE1: "TOKEN_NOT_RECOGNIZED",
    0xE2: "TOKEN_WRITE_PROTECTED",
    0xF0: "UNWRAPPING_KEY_HANDLE_INVALID",
    0xF1: "UNWRAPPING_KEY_SIZE_RANGE",
    0xF2: "UNWRAPPING_KEY_TYPE_INCONSISTENT",
    0x100: "USER_ALREADY_LOGGED_IN",
    0x101: "USER_NOT_LOGGED_IN",
    0x102: "USER_PIN_NOT_INITIALIZED",
    0x104: "USER_ANOTHER_ALREADY_LOGGED_IN",
    0x110: "WRAPPED_KEY_INVALID",
    0x112: "WRAPPED_KEY_LEN_RANGE",
    0x113: "WRAPPING_KEY_HANDLE_INVALID",
    0x114: "WRAPPING_KEY_SIZE_RANGE",
    0x115: "WRAPPING_KEY_TYPE_INCONSISTENT",
    0x120: "RANDOM_SEED_NOT_SUPPORTED",
    0x121: "RANDOM_NO_RNG",
    0x130: "DOMAIN_PARAMS_INVALID",
    0x150: "BUFFER_TOO_SMALL",
    0x190: "CRYPTOKI_NOT_INITIALIZED",
    0x191: "CRYPTOKI_ALREADY_INITIALIZED",
}


def name_of_code(code: int) -> str:
    """As the standard writes it; what it does not name, in hexadecimal."""
    name = _NAMES.get(code)
    return f"{code:#x}" if name is None else f"CKR_{name}"


def down_for_all(code: int) -> bool:
    """Whether no process can be expected to do better: all are replaced before another call is served."""
    return code in LOST_CODES


def worth_another_try(code: int) -> bool:
    """Whether a new process may do what this one could not; only ever once, and only where C_Sign was not sent."""
    return code in STALE_CODES or code in LOGIN_CODES or code in CAPACITY_CODES


def may_be_the_blob(code: int) -> bool:
    """Whether a token says this of an altered blob and of itself alike, so that only another operation tells."""
    return code in {CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED} or code >= CKR_VENDOR_DEFINED


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
