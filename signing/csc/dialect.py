"""The two dialects of the API, mapped at the edge and nowhere else (CSC API 1.0.4.0 and 2.0.0.2).

Inside, everything has its v2 name.  A dialect says which names a request may use, and how answers are shaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """One published version of the API."""

    name: str
    path: str
    specs: str
    """Value of ``specs`` in ``info``."""
    hashes: str
    """Name of the request's array of digests, in a request; error texts say ``hash`` in both versions."""
    hash_algorithm: str
    """Name of the hash function's OID."""
    nested_auth: bool
    """``auth{mode}`` (v2) against ``authMode`` (v1)."""


V1: Final = Dialect("v1", "/csc/v1", "1.0.4.0", "hash", "hashAlgo", nested_auth=False)
V2: Final = Dialect("v2", "/csc/v2", "2.0.0.2", "hashes", "hashAlgorithmOID", nested_auth=True)


def to_own_names(dialect: Dialect, description: str) -> str:
    """An error's description with the dialect's name of the parameter (``hash`` is called so in both)."""
    return description.replace(V2.hash_algorithm, dialect.hash_algorithm)


def to_v2_names(dialect: Dialect, body: Mapping[str, Any]) -> dict[str, Any]:
    """Rename a request's members to their v2 names.

    v1 clients are found on v2 paths (and the reverse), so the other dialect's name is taken where the own one is
    absent; a request that has both is not merged: its own dialect's name counts.
    """
    renamed = dict(body)
    for own, other, name in (
        (dialect.hashes, "hashes" if dialect is V1 else "hash", "hashes"),
        (dialect.hash_algorithm, "hashAlgorithmOID" if dialect is V1 else "hashAlgo", "hashAlgorithmOID"),
    ):
        value = renamed.pop(own, None)
        fallback = renamed.pop(other, None)
        renamed[name] = value if value is not None else fallback
    return renamed
