"""What the WebAuthn library raises about octets that a stranger sent, as refusals of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from webauthn.helpers.exceptions import WebAuthnException

from idp.errors import PasskeyRefused

_RAISED: Final = (
    WebAuthnException,
    InvalidSignature,
    UnsupportedAlgorithm,
    # Met where the library takes a value's type or presence for granted.
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


@contextmanager
def translated(cause: str) -> Iterator[None]:
    """Whatever the library raises is a refusal for this cause.  Its own words quote the input: they are left behind.

    :raises PasskeyRefused: the library raised something.
    """
    try:
        yield
    except PasskeyRefused:
        raise
    except _RAISED as error:
        raise PasskeyRefused(cause, f"the WebAuthn library refused it: {type(error).__name__}") from error
