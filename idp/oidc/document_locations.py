"""Where a relying party keeps the documents that are to be signed, and how it is shown who comes for them.

``documentLocations`` goes with ``documentDigests`` of a credential's authorization details: one for each, in the same
order, an object of ``uri`` and ``method``.  CSC API 2.0.0.2 does not define it; the name, the members and the methods
are those of the data model of the European wallet's remote signing (``type``, or ``document_access_mode`` as its
earlier form has it: ``public``, ``OAuth_20``, ``Basic_Auth``, ``Digest_Auth``, ``OTP``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from foundation.clock import epoch
from idp.activation.intent import DocumentLocation
from idp.oidc.errors import AuthorizationDetailsInvalid

FETCH_TOKEN_TYPE: Final = "document-fetch+jwt"
"""``typ`` of the token by which a holder of documents knows who comes for one."""
FETCH_TOKEN_SECONDS: Final = 60
MAX_URI: Final = 2048
MAX_PREFIXES: Final = 20

_MEMBERS: Final = frozenset({"uri", "method"})
_MODES: Final = ("type", "document_access_mode")
_PUBLIC: Final = "public"
_OAUTH: Final = "oauth_20"
_URI: Final = re.compile(r"https?://[!-~]+\Z")
_STEP: Final = re.compile(r"(?:\.|%2e){1,2}(?:;|%3b|\Z)", re.IGNORECASE)
"""A segment that means the folder itself, or the one above it; to some servers also with a parameter behind."""
_SLASH: Final = re.compile(r"/|%2f|%5c", re.IGNORECASE)
"""What ends a segment for whoever decodes first."""


def prefix_faults(prefixes: Sequence[str]) -> list[str]:
    """What is wrong with the places that a client registers, one sentence each."""
    faults = []
    if len(prefixes) > MAX_PREFIXES:
        faults.append(f"document_locations: at most {MAX_PREFIXES}")
    for prefix in prefixes:
        if not _is_clean(prefix) or not urlsplit(prefix).path.endswith("/") or "?" in prefix:
            faults.append("document_locations: absolute http or https URIs that end with the slash of a folder")
    return faults


def parse_locations(value: object, digests: int, prefixes: Sequence[str] | None) -> tuple[DocumentLocation, ...]:
    """Read ``documentLocations``.

    :param digests: how many there must be.
    :param prefixes: below which of them the client may name documents; None: what is read is only compared.
    :raises AuthorizationDetailsInvalid: anything that is not understood, or a place that is not the client's.
    """
    if prefixes is not None and not prefixes:
        raise AuthorizationDetailsInvalid("the client is not registered for documentLocations")
    if not isinstance(value, list) or len(value) != digests:
        raise AuthorizationDetailsInvalid("documentLocations must be an array of one location for each digest")
    return tuple(_location(item, prefixes) for item in value)


def to_json(locations: Sequence[DocumentLocation]) -> list[dict[str, Any]]:
    """The member as a token response repeats it."""
    return [{"uri": item.uri, "method": {"type": "OAuth_20" if item.bearer else _PUBLIC}} for item in locations]


def _location(item: object, prefixes: Sequence[str] | None) -> DocumentLocation:
    if not isinstance(item, dict) or not item.keys() <= _MEMBERS:
        raise AuthorizationDetailsInvalid("documentLocations has an item that is not an object of uri and method")
    uri = item.get("uri")
    if not isinstance(uri, str) or not _is_clean(uri):
        raise AuthorizationDetailsInvalid("documentLocations has an item without a usable uri")
    if prefixes is not None and not any(_is_below(uri, prefix) for prefix in prefixes):
        raise AuthorizationDetailsInvalid("documentLocations names a place that is not registered for the client")
    return DocumentLocation(uri, bearer=_mode(item.get("method")) == _OAUTH)


def _mode(method: object) -> str:
    if not isinstance(method, dict) or not method.keys() <= {*_MODES, "oneTimePassword"}:
        raise AuthorizationDetailsInvalid("documentLocations has an item without a method that is understood")
    named = [method[name] for name in _MODES if name in method]
    if len(named) != 1 or not isinstance(named[0], str) or method.get("oneTimePassword") is not None:
        raise AuthorizationDetailsInvalid("documentLocations: a method is public or OAuth_20")
    mode = named[0].lower()
    if mode not in {_PUBLIC, _OAUTH}:
        # The others take a secret, and a request is no place for one.
        raise AuthorizationDetailsInvalid("documentLocations: a method is public or OAuth_20")
    return mode


def _is_clean(uri: str) -> bool:
    """An absolute URI that means the same to whoever compares it and to whoever fetches it."""
    if len(uri) > MAX_URI or not _URI.match(uri) or "#" in uri or "\\" in uri:
        return False
    try:
        parts = urlsplit(uri)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return False
    steps = any(_STEP.match(segment) for segment in _SLASH.split(parts.path))
    return port_is_valid and bool(parts.hostname) and "@" not in parts.netloc and not steps


def _is_below(uri: str, prefix: str) -> bool:
    # Scheme and host as they are written: whoever writes them otherwise than registered gets a clear answer.
    return uri.startswith(prefix) and len(uri) > len(prefix)


def fetch_claims(
    *, issuer: str, client_id: str, jti: str, digest: bytes, hash_alg: str, now: datetime
) -> Mapping[str, Any]:
    """What the token says with which a document is fetched: who comes, from whom, and for which document.

    :param digest: the document's own, as it is to be approved.
    :param hash_alg: OID.
    """
    iat = epoch(now)
    return {
        "iss": issuer,
        "aud": client_id,
        "iat": iat,
        "exp": iat + FETCH_TOKEN_SECONDS,
        "jti": jti,
        "digest": digest.hex(),
        "hashAlgorithmOID": hash_alg,
    }


__all__ = [
    "FETCH_TOKEN_SECONDS",
    "FETCH_TOKEN_TYPE",
    "fetch_claims",
    "parse_locations",
    "prefix_faults",
    "to_json",
]
