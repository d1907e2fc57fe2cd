"""How a worker says that something could not be done: python-pkcs11's exceptions as kinds of the port's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pkcs11.exceptions import PKCS11Error

from signing.scdev.returncodes import CKR_GENERAL_ERROR, Kind, kind_of

_CODES: Final[dict[str, int]] = {
    "ArgumentsBad": 0x07,
    "AttributeReadOnly": 0x10,
    "AttributeTypeInvalid": 0x12,
    "AttributeValueInvalid": 0x13,
    "DataInvalid": 0x20,
    "DataLenRange": 0x21,
    "EncryptedDataInvalid": 0x40,
    "EncryptedDataLenRange": 0x41,
    "KeySizeRange": 0x62,
    "KeyTypeInconsistent": 0x63,
    "KeyFunctionNotPermitted": 0x68,
    "KeyNotWrappable": 0x69,
    "KeyUnextractable": 0x6A,
    "MechanismInvalid": 0x70,
    "MechanismParamInvalid": 0x71,
    "PinIncorrect": 0xA0,
    "PinInvalid": 0xA1,
    "PinLenRange": 0xA2,
    "PinExpired": 0xA3,
    "PinLocked": 0xA4,
    "TemplateIncomplete": 0xD0,
    "TemplateInconsistent": 0xD1,
    "UserPinNotInitialized": 0x102,
    "WrappedKeyInvalid": 0x110,
    "WrappedKeyLenRange": 0x112,
}
"""Return codes by python-pkcs11's exceptions, as far as they mean anything but a loss."""

_UNMAPPED: Final = re.compile(r"Unmapped error code (0x[0-9a-fA-F]{1,8})")


class Refused(Exception):
    """The answer to a request is an error; never leaves the worker."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind: Kind = kind


def code_of(error: PKCS11Error) -> int:
    """Codes that python-pkcs11 has no class for (CKR_KEY_FUNCTION_NOT_PERMITTED among them) are in its text."""
    unmapped = _UNMAPPED.fullmatch(str(error))
    if unmapped is not None:
        return int(unmapped[1], 16)
    return _CODES.get(type(error).__name__, CKR_GENERAL_ERROR)


def refusal(error: PKCS11Error, what: str, *, sent: bool) -> Refused:
    """An exception's own text is left out: only its kind is known to carry nothing."""
    code = code_of(error)
    return Refused(kind_of(code, sent=sent), f"{what}: {type(error).__name__} ({code:#x})")


def expect(key: Any, name: str, attributes: Mapping[Any, object]) -> None:
    """Read a key's attributes back, since tokens have been seen to take a template and not to obey it (KEY-07).

    :raises Refused: one is not what it has to be, or the token does not tell.
    """
    found = key.get_attributes(list(attributes))
    for attribute, wanted in attributes.items():
        if found.get(attribute) != wanted:
            raise Refused("operation_not_permitted", f"{name}: CKA_{attribute.name} is not {str(wanted).upper()}")
