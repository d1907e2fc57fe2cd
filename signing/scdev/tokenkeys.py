"""Users' keys that stay on the token as objects: generated, found, destroyed.  One thread.

Found by a CKA_ID that no other has; labelled with the installation that they belong to, since two may share a token.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pkcs11 import Attribute, ObjectClass
from pkcs11.exceptions import ObjectHandleInvalid, PKCS11Error

from signing.sam.algorithms import KeyProfile
from signing.scdev import pairs
from signing.scdev.objects import USER_KEY
from signing.scdev.refused import Refused, expect, refusal, told

LABEL: Final = "privyseal-user/"
"""Before the name of the installation."""

_ON_TOKEN: Final[dict[Any, Any]] = {**USER_KEY, Attribute.TOKEN: True}
_KEPT: Final[dict[Any, Any]] = {
    **_ON_TOKEN,
    Attribute.LOCAL: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
}
"""What the token itself says of a key that was born in it and never could leave."""


def generate(
    session: Any, profile: KeyProfile, realm: str, identifier: bytes, end: Callable[[Any], None]
) -> list[bytes]:
    """A key pair whose private key stays.

    :param end: destroys a session object.
    :returns: the private key's attributes as they were read back, and the public key's parts, see
        :func:`signing.scdev.pairs.public_parts`.
    """
    born = {**_ON_TOKEN, Attribute.ID: identifier, Attribute.LABEL: LABEL + realm}
    try:
        return _generated(session, profile, born, end)
    except Refused:
        # Nobody will ever ask for it; where this fails as well, it is an orphan.
        with suppress(Refused):
            destroy(session, realm, identifier)
        raise


def _generated(session: Any, profile: KeyProfile, born: dict[Any, Any], end: Callable[[Any], None]) -> list[bytes]:
    public, private = pairs.generate(session, profile, born)
    try:
        expect(private, "a user's key at its birth", _KEPT)
        return [told(_KEPT), *pairs.public_parts(public, profile)]
    except PKCS11Error as error:
        raise refusal(error, "the public key's parts", sent=False) from error
    finally:
        end(public)


def find(session: Any, profile: KeyProfile, identifier: bytes) -> Any:
    """The private key of that CKA_ID, its attributes read back.

    :raises Refused: there is none, or several, or it is not as it was made.
    """
    try:
        found = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: identifier}))
        if len(found) != 1:
            raise Refused("wrapped_key_refused", f"the token holds {len(found)} keys of that CKA_ID, not one")
        (key,) = found
        expect(key, "a user's key", _KEPT)
        if not pairs.is_of(key, profile):
            raise Refused("wrapped_key_refused", "the key on the token is not of the profile")
    except PKCS11Error as error:
        raise refusal(error, "a user's key on the token", sent=False) from error
    return key


def kept(session: Any, realm: str) -> list[bytes]:
    """CKA_IDs of an installation's keys."""
    try:
        return [bytes(key[Attribute.ID]) for key in _of(session, realm)]
    except ObjectHandleInvalid:
        # Somebody else has destroyed one between the search and the look at it.
        return [bytes(key[Attribute.ID]) for key in _of(session, realm)]
    except PKCS11Error as error:
        raise refusal(error, "users' keys on the token", sent=False) from error


def destroy(session: Any, realm: str, identifier: bytes) -> None:
    """End a key for good; does nothing where there is none of that installation and CKA_ID."""
    try:
        for key in _of(session, realm, {Attribute.ID: identifier}):
            with suppress(ObjectHandleInvalid):
                key.destroy()
    except PKCS11Error as error:
        raise refusal(error, "C_DestroyObject", sent=False) from error


def _of(session: Any, realm: str, more: dict[Any, Any] | None = None) -> list[Any]:
    wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: LABEL + realm, **(more or {})}
    return list(session.get_objects(wanted))
