"""Data objects on the token: private, kept, never changed, only added and removed.

Changing CKA_VALUE in place would leave nothing whole if power went at that moment; so a new object is made first and
the old one destroyed afterwards, and whoever reads may find both (PKCS #11 2.40 base, 4.5).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from pkcs11 import Attribute, ObjectClass
from pkcs11.exceptions import ObjectHandleInvalid

APPLICATION: Final = "privyseal"
_ATTEMPTS: Final = 20


def read(session: Any, label: str) -> list[bytes]:
    """Values under a label."""
    return [value for _item, value in _found(session, label)]


def add(session: Any, label: str, value: bytes) -> None:
    """One more object."""
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.DATA,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: True,
            Attribute.MODIFIABLE: False,
            Attribute.APPLICATION: APPLICATION,
            Attribute.LABEL: label,
            Attribute.VALUE: value,
        }
    )


def remove(session: Any, label: str, value: bytes) -> None:
    """The objects that hold exactly this."""
    for item, held in _found(session, label):
        if held == value:
            with suppress(ObjectHandleInvalid):  # somebody else was faster
                item.destroy()


def _found(session: Any, label: str) -> list[tuple[Any, bytes]]:
    """The objects with their values, all of them before anything is done with one.

    Another process may remove one between the search and the look at it.  It may then have added others as well, so
    the search is made again.
    """
    wanted = {Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: label}
    for _attempt in range(_ATTEMPTS):
        with suppress(ObjectHandleInvalid):
            return [(item, bytes(item[Attribute.VALUE])) for item in list(session.get_objects(wanted))]
    return [(item, bytes(item[Attribute.VALUE])) for item in list(session.get_objects(wanted))]
