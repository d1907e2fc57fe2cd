"""Parameters of a request: by name, each once, and within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from foundation.jose import MAX_TOKEN_OCTETS
from idp.oidc import rar
from idp.oidc.errors import ParameterMalformed, ParameterRepeated, ParameterTooLong

MAX_PARAMETERS: Final = 64
MAX_NAME: Final = 64
DEFAULT_MAX: Final = 1024
MAX_LENGTHS: Final[Mapping[str, int]] = {
    "state": 2048,
    "redirect_uri": 2048,
    "authorization_details": rar.MAX_DETAILS,
    "hashes": 16 * 1024,
    "hash": 16 * 1024,
    "claims": 4096,
    "id_token_hint": 8192,
    "request": 64 * 1024,
    "client_assertion": 8192,
    "token": MAX_TOKEN_OCTETS,
    "sad": MAX_TOKEN_OCTETS,
    "subject_token": 8192,
    "auth_data": 16 * 1024,
    "password": 4096,
    "account_token": 4096,
    "clientData": 4096,
    "description": 2048,
}
"""Characters of a parameter's value; :data:`DEFAULT_MAX` for any other.  A limit above what is accepted is there so
that the refusal can name its cause."""


def read_parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Parameters by name, each once and within bounds; an empty one counts as absent (RFC 6749 3.1).

    :raises ParameterRepeated: a name occurs twice.
    :raises ParameterTooLong: too many, or one that is too long.
    """
    found: dict[str, str] = {}
    for count, (name, value) in enumerate(pairs):
        if count >= MAX_PARAMETERS or len(name) > MAX_NAME:
            raise ParameterTooLong("too many parameters, or one with too long a name")
        if name in found:
            raise ParameterRepeated("a parameter is given twice")
        if "\0" in value:
            raise ParameterMalformed("a parameter has a character that cannot be stored")
        if len(value) > MAX_LENGTHS.get(name, DEFAULT_MAX):
            raise ParameterTooLong("a parameter is too long")
        found[name] = value
    return {name: value for name, value in found.items() if value}
