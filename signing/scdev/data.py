"""Data objects on the token: private, kept, never changed, only added and removed.

Changing CKA_VALUE in place would leave nothing whole if power went at that moment; so a new object is made first and
the old one destroyed afterwards, and whoever reads may find both (PKCS #11 2.40 base, 4.5).
"""

from __future__ import annotations

from typing import Any, Final

from pkcs11 import Attribute, ObjectClass

APPLICATION: Final = "privyseal"


def read(session: Any, label: str) -> list[bytes]:
    """Values under a label."""
    return [bytes(item[Attribute.VALUE]) for item in _found(session, label)]


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
    for item in _found(session, label):
        if bytes(item[Attribute.VALUE]) == value:
            item.destroy()


def _found(session: Any, label: str) -> list[Any]:
    # All of them first: an object that is destroyed while the search is open ends some tokens' search.
    return list(session.get_objects({Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: label}))
