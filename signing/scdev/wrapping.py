"""Keys that wrap users' keys, and the mechanisms by which they do: what a token offers, and what a blob was made by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pkcs11 import Attribute, Mechanism, MechanismFlag, ObjectClass

from signing.scdev.objects import KEK_LABEL
from signing.scdev.refused import Refused, expect

AUTO: Final = "auto"
VENDOR: Final = re.compile(r"vendor:(0x[89a-f][0-9a-f]{7})")
"""A mechanism of the token's vendor, by its number: CKM_VENDOR_DEFINED (PKCS #11 2.40, 3.5) and above."""

STANDARD: Final = {"aes-kwp": Mechanism.AES_KEY_WRAP_PAD, "aes-kw": Mechanism.AES_KEY_WRAP}
"""CKM_AES_KEY_WRAP_PAD (RFC 5649) and CKM_AES_KEY_WRAP (RFC 3394), in the order in which they are preferred."""
_BOTH_WAYS: Final = MechanismFlag.WRAP | MechanismFlag.UNWRAP

KEPT: Final = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False}
"""What the server's own secret keys are."""
_WRAP_ONLY: Final = {
    Attribute.WRAP: True,
    Attribute.UNWRAP: True,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
    Attribute.SIGN: False,
    Attribute.DERIVE: False,
}


@dataclass(frozen=True, slots=True)
class Kek:
    """A wrapping key on the token."""

    key: Any
    trusted: bool
    """CKA_TRUSTED: keys that are WRAP_WITH_TRUSTED can be wrapped by it."""


def mechanism_named(name: str) -> Any:
    """The mechanism that stands beside a blob by this name; None where there is none."""
    found = VENDOR.fullmatch(name)
    if found is None:
        return STANDARD.get(name)
    # The library takes members of its enumeration only, and has none for what vendors add.
    number = int(found[1], 16)
    member = int.__new__(Mechanism, number)
    member._name_, member._value_ = name, number
    return member


def candidates(asked: str, offered: Mapping[int, MechanismFlag]) -> tuple[str, ...]:
    """Names of the mechanisms to try for new keys, the best first.

    :param asked: the setting: :data:`AUTO`, or the name of the one to use whatever the token says of itself.
    :param offered: what the token says that its mechanisms do.
    """
    if asked != AUTO:
        return (asked,)
    nothing = MechanismFlag(0)
    return tuple(name for name, each in STANDARD.items() if offered.get(each, nothing) & _BOTH_WAYS == _BOTH_WAYS)


def offered_by(slot: Any) -> dict[int, MechanismFlag]:
    """What the token says of those mechanisms that could be chosen (C_GetMechanismList, C_GetMechanismInfo)."""
    there = slot.get_mechanisms()
    return {each: slot.get_mechanism_info(each).flags for each in STANDARD.values() if each in there}


class Keks:
    """The wrapping keys by CKA_ID in hexadecimal; looked for again when one is asked for that was not there before."""

    def __init__(self, session: Any, *, require_trusted: bool) -> None:
        """:raises Refused: one of them is not as it has to be."""
        self._find: Callable[[], dict[str, Kek]] = lambda: _find(session, require_trusted=require_trusted)
        self._found = self._find()

    def chosen(self, chosen: str | None) -> str:
        """Id of the one for new keys.

        :param chosen: the setting; needed where there are several.  Never the latest or any by itself: whoever has the
            user PIN can put another one there, and could know its value.
        :raises Refused: it is not there, or there are several.
        """
        if chosen is None and len(self._found) == 1:
            return next(iter(self._found))
        if chosen not in self._found:
            raise Refused(
                "operation_not_permitted",
                f"the token holds {len(self._found)} KEKs; name the one to use if there are several",
            )
        return chosen

    def get(self, kek_id: str) -> Kek | None:
        """The one of that id.

        :raises Refused: one that has come is not as it has to be.
        """
        if kek_id not in self._found:
            self._found = self._find()
        return self._found.get(kek_id)

    def all(self) -> Mapping[str, Kek]:
        """Those that are there now."""
        self._found = self._find()
        return self._found


def _find(session: Any, *, require_trusted: bool) -> dict[str, Kek]:
    found: dict[str, Kek] = {}
    for key in list(session.get_objects({Attribute.LABEL: KEK_LABEL, Attribute.CLASS: ObjectClass.SECRET_KEY})):
        expect(key, KEK_LABEL, {**KEPT, **_WRAP_ONLY})
        if require_trusted:
            expect(key, KEK_LABEL, {Attribute.TRUSTED: True})
        trusted = bool(key.get_attributes([Attribute.TRUSTED]).get(Attribute.TRUSTED))
        found[bytes(key[Attribute.ID]).hex()] = Kek(key, trusted)
    return found
