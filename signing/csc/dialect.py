"""The dialects of the API, mapped at the edge and nowhere else (CSC API 1.0.4.0, 2.0.0.2 and 2.2.0.0).

Inside, everything has its v2 name.  A dialect says which names a request may use, and how answers are shaped; it is
data, and whoever shapes an answer asks it for a feature, never which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

HASHES: Final = "hashes"
HASH_ALGORITHM: Final = "hashAlgorithmOID"
_OLD_NAMES: Final = {HASHES: "hash", HASH_ALGORITHM: "hashAlgo"}
"""What version 1 calls what version 2 has renamed."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One published version of the API."""

    name: str
    path: str
    specs: str
    """Value of ``specs`` in ``info``."""
    hashes: str
    """Name of the request's array of digests, in a request; error texts say ``hash`` in all versions."""
    hash_algorithm: str
    """Name of the hash function's OID."""
    nested_auth: bool
    """``auth{mode, expression, objects}``, where asked for, against ``authMode``, ``PIN`` and ``OTP`` in any case."""
    authorization_server: Literal["oauth2", "oauth2Issuer"]
    """How ``info`` names the authorization server: its base URI, or the issuer with metadata (RFC 8414)."""
    base_uri_ends_with_slash: bool = False
    """Whether the base URI does, as the specification writes it; clients of 2.2 put ``/oauth2/...`` behind it."""
    asynchronous: bool = True
    """Whether ``signHash`` may be answered later, through ``signPolling``."""
    pages: bool = False
    """Whether ``credentials/list`` has ``maxResults``, ``pageToken`` and ``nextPageToken``."""
    qualifiers: bool = True
    """Whether credentials have a ``signatureQualifier``."""
    hash_types: bool = False
    """Whether ``info`` tells of ``supportedHashTypes``, ``supportsRar``, ``documentTypes`` and ``allowMix``."""
    certificate_policies: bool = False
    """Whether ``cert`` has ``qcStatements`` and ``policy``."""
    names_always: bool = False
    """Whether ``issuerDN`` and ``subjectDN`` are told unasked: clients of 2.2 fail without them."""

    @property
    def own_names(self) -> Mapping[str, str]:
        """The dialect's name of each member that has several, by its v2 name."""
        return {HASHES: self.hashes, HASH_ALGORITHM: self.hash_algorithm}


V1: Final = Dialect(
    "v1",
    "/csc/v1",
    "1.0.4.0",
    "hash",
    "hashAlgo",
    nested_auth=False,
    authorization_server="oauth2",
    base_uri_ends_with_slash=True,
    asynchronous=False,
    pages=True,
    qualifiers=False,
)
V2: Final = Dialect(
    "v2", "/csc/v2", "2.0.0.2", HASHES, HASH_ALGORITHM, nested_auth=True, authorization_server="oauth2Issuer"
)
V2_2: Final = Dialect(
    "v2_2",
    "/2.2/csc/v2",
    "2.2.0.0",
    HASHES,
    HASH_ALGORITHM,
    nested_auth=True,
    authorization_server="oauth2",
    hash_types=True,
    certificate_policies=True,
    names_always=True,
)
"""Its path is the operator's choice (``csc_2_2_path``), if it ends in ``/csc/v2``."""


def dialects(path_of_2_2: str = V2_2.path) -> tuple[Dialect, ...]:
    """All that a deployment speaks.

    :param path_of_2_2: empty: not that one.
    """
    return (V1, V2) if not path_of_2_2 else (V1, V2, replace(V2_2, path=path_of_2_2))


def to_own_names(dialect: Dialect, description: str) -> str:
    """An error's description with the dialect's name of the parameter (``hash`` is called so in all of them)."""
    return description.replace(HASH_ALGORITHM, dialect.hash_algorithm)


def with_own_names(body: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A request with other versions' names of its members replaced by the dialect's own.

    v1 clients are found on v2 paths (and the reverse), so the other version's name is taken where the own one is
    absent or null; a request that has both is not merged: its own dialect's name counts.

    :param names: own name to v2 name, for those members of the method that have several.
    """
    renamed = dict(body)
    for own, name in names.items():
        other = _OLD_NAMES[name] if own == name else name
        if other in renamed:
            value = renamed.pop(other)
            if renamed.get(own) is None:
                renamed[own] = value
    return renamed


def to_v2_names(body: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A request that has the dialect's own names, under v2 names.

    :param names: own name to v2 name, for those members of the method that have several.
    """
    return {names.get(member, member): value for member, value in body.items()}
