"""How a worker says that something could not be done: python-pkcs11's exceptions as kinds of the port's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pkcs11 import Attribute
from pkcs11.exceptions import PKCS11Error

from signing.scdev.returncodes import (
    CKR_GENERAL_ERROR,
    CKR_OPERATION_ACTIVE,
    CKR_TOKEN_NOT_PRESENT,
    Kind,
    kind_of,
)

_CODES: Final[dict[str, int]] = {
    "ArgumentsBad": 0x07,
    "AttributeReadOnly": 0x10,
    "AttributeSensitive": 0x11,
    "AttributeTypeInvalid": 0x12,
    "AttributeValueInvalid": 0x13,
    "AnotherUserAlreadyLoggedIn": 0x104,
    "DataInvalid": 0x20,
    "DataLenRange": 0x21,
    "DeviceError": 0x30,
    "DeviceMemory": 0x31,
    "DeviceRemoved": 0x32,
    "DomainParamsInvalid": 0x130,
    "EncryptedDataInvalid": 0x40,
    "EncryptedDataLenRange": 0x41,
    "FunctionCancelled": 0x50,
    "FunctionFailed": 0x06,
    "FunctionNotSupported": 0x54,
    "HostMemory": 0x02,
    "KeyFunctionNotPermitted": 0x68,
    "KeyHandleInvalid": 0x60,
    "KeyNotWrappable": 0x69,
    "KeySizeRange": 0x62,
    "KeyTypeInconsistent": 0x63,
    "KeyUnextractable": 0x6A,
    "MechanismInvalid": 0x70,
    "MechanismParamInvalid": 0x71,
    "NoSuchToken": CKR_TOKEN_NOT_PRESENT,
    "ObjectHandleInvalid": 0x82,
    "OperationActive": CKR_OPERATION_ACTIVE,
    "OperationNotInitialized": 0x91,
    "PinExpired": 0xA3,
    "PinIncorrect": 0xA0,
    "PinInvalid": 0xA1,
    "PinLenRange": 0xA2,
    "PinLocked": 0xA4,
    "RandomNoRNG": 0x121,
    "RandomSeedNotSupported": 0x120,
    "SessionClosed": 0xB0,
    "SessionCount": 0xB1,
    "SessionHandleInvalid": 0xB3,
    "SignatureLenRange": 0xC1,
    "TemplateIncomplete": 0xD0,
    "TemplateInconsistent": 0xD1,
    "TokenNotPresent": CKR_TOKEN_NOT_PRESENT,
    "TokenNotRecognised": 0xE1,
    "TokenWriteProtected": 0xE2,
    "UnwrappingKeyHandleInvalid": 0xF0,
    "UnwrappingKeySizeRange": 0xF1,
    "UnwrappingKeyTypeInconsistent": 0xF2,
    "UserAlreadyLoggedIn": 0x100,
    "UserNotLoggedIn": 0x101,
    "UserPinNotInitialized": 0x102,
    "WrappedKeyInvalid": 0x110,
    "WrappedKeyLenRange": 0x112,
    "WrappingKeyHandleInvalid": 0x113,
    "WrappingKeySizeRange": 0x114,
    "WrappingKeyTypeInconsistent": 0x115,
}
"""Return codes by python-pkcs11's exceptions; of those that are not here nothing is known but that something failed."""

_UNMAPPED: Final = re.compile(r"Unmapped error code (0x[0-9a-fA-F]{1,8})")
_TEXTS: Final = (
    ("Initialisation error (not initialized)", 0x190),
    ("Initialisation error (already initialized)", 0x191),
    ("Buffer was too small", 0x150),
)
"""How python-pkcs11 begins to speak of codes that it has no class for."""


class Refused(Exception):
    """The answer to a request is an error; never leaves the worker."""

    def __init__(self, kind: Kind, text: str, rv: int = 0) -> None:
        super().__init__(text)
        self.kind: Kind = kind
        self.rv = rv
        """The return code that it comes from; 0 where no function of the token said so."""


def code_of(error: PKCS11Error) -> int:
    """The return code; one that python-pkcs11 has no class for (CKR_KEY_FUNCTION_NOT_PERMITTED, say) is in its text."""
    unmapped = _UNMAPPED.fullmatch(str(error))
    if unmapped is not None:
        return int(unmapped[1], 16)
    for text, code in _TEXTS:
        if str(error).startswith(text):
            return code
    return _CODES.get(type(error).__name__, CKR_GENERAL_ERROR)


def refusal(error: PKCS11Error, what: str, *, sent: bool) -> Refused:
    """An exception's own text is left out: only its kind is known to carry nothing."""
    code = code_of(error)
    return Refused(kind_of(code, sent=sent), f"{what}: {type(error).__name__} ({code:#x})", code)


def expect(key: Any, name: str, attributes: Mapping[Any, object]) -> None:
    """Read a key's attributes back, since tokens have been seen to take a template and not to obey it (KEY-07).

    :raises Refused: one is not what it has to be, or the token does not tell.
    """
    found = key.get_attributes(list(attributes))
    for attribute, wanted in attributes.items():
        if found.get(attribute) != wanted:
            raise Refused("operation_not_permitted", f"{name}: CKA_{attribute.name} is not {str(wanted).upper()}")


def told(attributes: Mapping[Any, object]) -> bytes:
    """Attributes that :func:`expect` has read back, for whoever asks later what a key may: ``SENSITIVE=TRUE`` ..."""
    flags = {name: value for name, value in attributes.items() if isinstance(value, bool)}
    said = (f"{Attribute(name).name}={str(value).upper()}" for name, value in flags.items())
    return " ".join(sorted(said)).encode()
