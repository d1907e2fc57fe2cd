"""The few PKCS#11 calls that python-pkcs11 does not offer, through the module's function list.

Used by the ceremony only: initialising a token, the user's PIN, and objects whose attributes have to be exactly
those of the template (nested templates, copies).  Source: PKCS #11 base specification 2.40, 5.4 to 5.7.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from signing.scdev.errors import CryptokiError

_P, _UL = ctypes.c_void_p, ctypes.c_ulong

CKF_OS_LOCKING_OK: Final = 0x2
_CKF_TOKEN_INITIALIZED: Final = 0x400
_CKF_RW_SERIAL: Final = 0x6
CKU_SO: Final = 0
CKU_USER: Final = 1
CKR_OK: Final = 0
CKR_ALREADY_INITIALIZED: Final = 0x191
_UNAVAILABLE: Final = (1 << (8 * ctypes.sizeof(_UL))) - 1

# Positions in CK_FUNCTION_LIST, counted in pointers; the version fills the first.
_INDEX: Final = {
    "C_Initialize": 1,
    "C_Finalize": 2,
    "C_GetSlotList": 5,
    "C_GetTokenInfo": 7,
    "C_InitToken": 10,
    "C_InitPIN": 11,
    "C_OpenSession": 13,
    "C_CloseSession": 14,
    "C_Login": 19,
    "C_Logout": 20,
    "C_CopyObject": 22,
    "C_DestroyObject": 23,
    "C_GetAttributeValue": 25,
    "C_FindObjectsInit": 27,
    "C_FindObjects": 28,
    "C_FindObjectsFinal": 29,
    "C_GenerateKey": 59,
    "C_GenerateKeyPair": 60,
}


class InitializeArgs(ctypes.Structure):
    """``CK_C_INITIALIZE_ARGS`` (PKCS #11 2.40, 3.7)."""

    _fields_ = (
        ("CreateMutex", _P),
        ("DestroyMutex", _P),
        ("LockMutex", _P),
        ("UnlockMutex", _P),
        ("flags", _UL),
        ("pReserved", _P),
    )


def initialize_arguments(parameters: str | None) -> tuple[InitializeArgs, object]:
    """Arguments of C_Initialize, and what has to live as long as they do.

    :param parameters: a text for ``pReserved``, which some modules want (NSS softokn: where its files are).
    """
    arguments = InitializeArgs(flags=CKF_OS_LOCKING_OK)
    text = None if parameters is None else ctypes.create_string_buffer(parameters.encode())
    if text is not None:
        arguments.pReserved = ctypes.addressof(text)
    return arguments, text


class _Attribute(ctypes.Structure):
    _fields_ = (("type", _UL), ("value", _P), ("length", _UL))


class _Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", _UL), ("parameter", _P), ("length", _UL))


class _TokenInfo(ctypes.Structure):
    _fields_ = (
        ("label", ctypes.c_char * 32),
        ("manufacturer", ctypes.c_char * 32),
        ("model", ctypes.c_char * 16),
        ("serial", ctypes.c_char * 16),
        ("flags", _UL),
        ("counters", _UL * 10),
        ("versions", ctypes.c_ubyte * 4),
        ("utc_time", ctypes.c_char * 16),
    )


def _table(module: Path) -> Any:
    """What C_GetFunctionList gives.

    :raises CryptokiError: the module cannot be loaded or has no function list.
    """
    try:
        library = ctypes.CDLL(str(module))
        get_list = library.C_GetFunctionList
    except (OSError, AttributeError) as error:
        raise CryptokiError("the PKCS#11 module cannot be loaded", 0) from error
    get_list.argtypes = [_P]
    get_list.restype = _UL
    table = ctypes.POINTER(_P)()
    check("C_GetFunctionList", get_list(ctypes.byref(table)))
    return table


def function_list(module: Path) -> Callable[[str], Callable[..., int]]:
    """Load the module and give a way to its functions by name.

    :raises CryptokiError: the module cannot be loaded or has no function list.
    """
    table = _table(module)
    prototype = ctypes.CFUNCTYPE(_UL)

    def function(name: str) -> Callable[..., int]:
        return prototype(table[_INDEX[name]] or 0)

    return function


def is_one_instance(module: Path) -> bool:
    """Whether all who ask get the same function list, and so share what C_Initialize did.

    :raises CryptokiError: as :func:`function_list`.
    """
    first, second = (ctypes.cast(_table(module), _P).value for _ in range(2))
    return first == second


def check(name: str, code: int) -> None:
    """:raises CryptokiError: the code is not CKR_OK."""
    if code != CKR_OK:
        raise CryptokiError(f"{name} answered {code:#x}", code)


class Template:
    """An array of CK_ATTRIBUTE with the memory that it points at; a mapping makes a nested template."""

    def __init__(self, attributes: Mapping[int, object]) -> None:
        self._keep: list[object] = []
        self.array = (_Attribute * len(attributes))()
        for slot, (kind, value) in zip(self.array, attributes.items(), strict=True):
            slot.type = kind
            slot.value, slot.length = self._memory(value)
        self.count = len(attributes)

    def _memory(self, value: object) -> tuple[int | None, int]:
        if isinstance(value, Mapping):
            nested = Template(value)
            self._keep.append(nested)
            return ctypes.addressof(nested.array), ctypes.sizeof(nested.array)
        if isinstance(value, bool):
            octets = bytes([value])
        elif isinstance(value, int):
            octets = value.to_bytes(ctypes.sizeof(_UL), "little")
        elif isinstance(value, bytes):
            octets = value
        else:
            raise CryptokiError("an attribute's value is of no kind known", 0)
        buffer = ctypes.create_string_buffer(octets, len(octets))
        self._keep.append(buffer)
        return ctypes.addressof(buffer), len(octets)


class Cryptoki:
    """An initialised module.  One thread; one user logged in at a time (PKCS #11 2.40, 2.6)."""

    def __init__(self, module: Path, parameters: str | None = None) -> None:
        self._function = function_list(module)
        arguments, _text = initialize_arguments(parameters)
        self.call("C_Initialize", ctypes.byref(arguments))

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the module.

        :raises CryptokiError: it did not answer CKR_OK.
        """
        check(name, self._function(name)(*arguments))

    def slots(self) -> dict[int, str | None]:
        """Slots with a token, by slot id: the label of the token, None where it is not initialised."""
        count = _UL()
        self.call("C_GetSlotList", ctypes.c_ubyte(1), None, ctypes.byref(count))
        ids = (_UL * count.value)()
        self.call("C_GetSlotList", ctypes.c_ubyte(1), ids, ctypes.byref(count))
        found: dict[int, str | None] = {}
        for slot in ids[: count.value]:
            info = _TokenInfo()
            self.call("C_GetTokenInfo", _UL(slot), ctypes.byref(info))
            label = bytes(info.label).decode("utf-8", "replace").rstrip(" \0")
            found[slot] = label if info.flags & _CKF_TOKEN_INITIALIZED else None
        return found

    def init_token(self, slot: int, label: str, so_pin: bytes) -> None:
        """C_InitToken: the label is padded with blanks to 32 octets."""
        padded = label.encode().ljust(32)
        self.call("C_InitToken", _UL(slot), so_pin, _UL(len(so_pin)), padded)

    def open(self, slot: int) -> int:
        """A read-write session's handle."""
        handle = _UL()
        self.call("C_OpenSession", _UL(slot), _UL(_CKF_RW_SERIAL), None, None, ctypes.byref(handle))
        return handle.value

    def close_session(self, session: int) -> None:
        """C_CloseSession."""
        self.call("C_CloseSession", _UL(session))

    def login(self, session: int, user: int, pin: bytes) -> None:
        """C_Login, once: the caller does not try again."""
        self.call("C_Login", _UL(session), _UL(user), pin, _UL(len(pin)))

    def logout(self, session: int) -> None:
        """C_Logout."""
        self.call("C_Logout", _UL(session))

    def init_pin(self, session: int, pin: bytes) -> None:
        """C_InitPIN: the user's PIN, set by the security officer who is logged in."""
        self.call("C_InitPIN", _UL(session), pin, _UL(len(pin)))

    def generate_key(self, session: int, mechanism: int, attributes: Mapping[int, object]) -> int:
        """C_GenerateKey."""
        template, handle = Template(attributes), _UL()
        self.call(
            "C_GenerateKey",
            _UL(session),
            ctypes.byref(_Mechanism(mechanism, None, 0)),
            template.array,
            _UL(template.count),
            ctypes.byref(handle),
        )
        return handle.value

    def generate_key_pair(
        self, session: int, mechanism: int, public: Mapping[int, object], private: Mapping[int, object]
    ) -> tuple[int, int]:
        """C_GenerateKeyPair: handles of the public and the private key."""
        first, second = Template(public), Template(private)
        public_handle, private_handle = _UL(), _UL()
        self.call(
            "C_GenerateKeyPair",
            _UL(session),
            ctypes.byref(_Mechanism(mechanism, None, 0)),
            first.array,
            _UL(first.count),
            second.array,
            _UL(second.count),
            ctypes.byref(public_handle),
            ctypes.byref(private_handle),
        )
        return public_handle.value, private_handle.value

    def copy(self, session: int, handle: int, attributes: Mapping[int, object]) -> int:
        """C_CopyObject, with what is different in the copy."""
        template, copied = Template(attributes), _UL()
        self.call(
            "C_CopyObject",
            _UL(session),
            _UL(handle),
            template.array,
            _UL(template.count),
            ctypes.byref(copied),
        )
        return copied.value

    def destroy(self, session: int, handle: int) -> None:
        """C_DestroyObject."""
        self.call("C_DestroyObject", _UL(session), _UL(handle))

    def flag(self, session: int, handle: int, attribute: int) -> bool:
        """A boolean attribute of an object."""
        value = ctypes.c_ubyte()
        wanted = _Attribute(attribute, ctypes.addressof(value), 1)
        self.call("C_GetAttributeValue", _UL(session), _UL(handle), ctypes.byref(wanted), _UL(1))
        return bool(value.value)

    def find(self, session: int, attributes: Mapping[int, object], limit: int = 16) -> tuple[int, ...]:
        """Handles of the objects that match."""
        template = Template(attributes)
        self.call("C_FindObjectsInit", _UL(session), template.array, _UL(template.count))
        handles, count = (_UL * limit)(), _UL()
        self.call("C_FindObjects", _UL(session), handles, _UL(limit), ctypes.byref(count))
        self.call("C_FindObjectsFinal", _UL(session))
        return tuple(handles[: count.value])
