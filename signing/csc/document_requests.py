"""Requests of ``signatures/signDoc``, parsed (CSC API 2.0.0.2 11.11)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from contract.digests import HASH_LENGTHS, MAX_DIGESTS
from signing.csc import errors, parameters, requests
from signing.csc.document_properties import Properties, parse_properties
from signing.csc.requests import Later
from signing.settings import WebSettings

_HASH_NAMES: Final = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
"""OID to the name in :mod:`hashlib`."""
_OF_ALGORITHM: Final = {
    "1.2.840.10045.4.3.2": "2.16.840.1.101.3.4.2.1",
    "1.2.840.10045.4.3.3": "2.16.840.1.101.3.4.2.2",
    "1.2.840.10045.4.3.4": "2.16.840.1.101.3.4.2.3",
    "1.2.840.113549.1.1.11": "2.16.840.1.101.3.4.2.1",
    "1.2.840.113549.1.1.12": "2.16.840.1.101.3.4.2.2",
    "1.2.840.113549.1.1.13": "2.16.840.1.101.3.4.2.3",
}
"""Hash function of those signature algorithms that name one."""
ENVELOPES: Final[Mapping[str, tuple[str, ...]]] = {"C": ("Attached", "Detached"), "P": ("Certification", "Revision")}
"""By format, the default first (11.11)."""
BASIC: Final = "Ades-B-B"
STAMPED: Final = "Ades-B-T"
VALIDATABLE: Final = "Ades-B-LT"
ARCHIVED: Final = "Ades-B-LTA"
ALL_LEVELS: Final = (BASIC, STAMPED, VALIDATABLE, ARCHIVED)
"""Each is the one before and something more (ETSI EN 319 142-1 6.1)."""
_LEVELS_OF: Final[Mapping[str, frozenset[str]]] = {"C": frozenset({BASIC, STAMPED}), "P": frozenset(ALL_LEVELS)}
_SPELLINGS: Final = {
    spelling: level for level in ALL_LEVELS for spelling in (level.lower(), level.lower().replace("-b-", "-"))
}
"""The specification has several ways, and names without "baseline" too: a baseline signature is one of those."""
_MAX_DOCUMENT_CHARACTERS: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wish:
    """One signature."""

    form: str
    """``C`` or ``P``."""
    envelope: str
    level: str
    """One of :func:`levels`."""
    digest: bytes
    """Of the document, as it was approved."""
    hash_name: str
    """Of :mod:`hashlib`."""
    document: bytes | None = field(default=None, repr=False)
    """None: the client keeps it."""
    properties: Properties = field(default_factory=Properties)
    lower: bool = False
    """Whether a lower level will do where this one is not reached."""


@dataclass(frozen=True, slots=True)
class SignDocRequest:
    """All signatures of a request: with one key, one algorithm and one SAD, which has one hash function."""

    credential_id: str
    sad: str | None = field(repr=False)
    wishes: tuple[Wish, ...]
    hash_algorithm: str
    sign_algorithm: str
    sign_algorithm_parameters: bytes | None
    validation_info: bool = False
    """Whether what validates the signatures is given out beside them."""
    later: Later | None = None
    """None: whoever asks waits."""


@dataclass(frozen=True, slots=True)
class _Algorithm:
    hash_algorithm: str
    sign_algorithm: str
    parameters: bytes | None


def levels(settings: WebSettings) -> tuple[str, ...]:
    """Conformance levels that a deployment reaches (11.1)."""
    if not settings.timestamp_authorities:
        return (BASIC,)
    return ALL_LEVELS if settings.status is not None else (BASIC, STAMPED)


def parse_sign_doc(body: Mapping[str, Any], offered: Collection[str]) -> SignDocRequest:
    """Parse ``signDoc``.

    :param offered: conformance levels.
    :raises errors.InvalidRequest: with the specification's description.
    """
    credential_id = requests.parse_credential_id(body)
    sad = parameters.optional_text(body, "SAD")
    kept, sent = body.get("documentDigests"), body.get("documents")
    if not kept and not sent:
        raise errors.InvalidRequest(errors.EMPTY_DOCUMENTS)
    if kept and sent:
        raise errors.InvalidRequest(errors.BOTH_DOCUMENTS)
    wishes: list[Wish] = []
    algorithms: set[_Algorithm] = set()
    name = "documentDigests" if kept else "documents"
    for item in _objects(body, name):
        algorithm = _algorithm(item)
        algorithms.add(algorithm)
        wishes.extend(_kept(item, algorithm, offered) if kept else (_sent(item, algorithm, offered),))
    if len(wishes) > MAX_DIGESTS:
        raise errors.invalid_of("array" if sent else "object", name)
    if len(algorithms) != 1:
        raise errors.invalid("signAlgo")
    (algorithm,) = algorithms
    return SignDocRequest(
        credential_id,
        sad,
        tuple(wishes),
        algorithm.hash_algorithm,
        algorithm.sign_algorithm,
        algorithm.parameters,
        parameters.flag(body, "returnValidationInfo"),
        requests.parse_later(body),
    )


def _objects(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = body[name]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise errors.invalid_of("array" if name == "documents" else "object", name)
    return value


def _kept(item: Mapping[str, Any], algorithm: _Algorithm, offered: Collection[str]) -> Iterator[Wish]:
    """Documents of which the client sends the digests."""
    form, envelope = _form(item), _envelope(item, "Detached")
    if form != "C" or envelope != "Detached":
        # Around a digest alone nothing but a detached signature can be made, and of a PDF the module reads every octet.
        raise errors.invalid("signature_format" if form != "C" else "signed_envelope_property")
    parse_properties(item, form=form, envelope=envelope)
    level, lower = _level(item, form, offered)
    hashes = item.get("hashes")
    # The specification's example has a single one without its array.
    for text in [hashes] if isinstance(hashes, str) else _texts(hashes):
        try:
            digest = parameters.base64_octets(text)
        except ValueError as error:
            raise errors.InvalidRequest(errors.INVALID_HASHES) from error
        if len(digest) != HASH_LENGTHS[algorithm.hash_algorithm]:
            raise errors.InvalidRequest(errors.INVALID_LENGTH)
        yield Wish(form, envelope, level, digest, _HASH_NAMES[algorithm.hash_algorithm], lower=lower)


def _sent(item: Mapping[str, Any], algorithm: _Algorithm, offered: Collection[str]) -> Wish:
    """A document that the client sends."""
    form = _form(item)
    envelope = _envelope(item, ENVELOPES[form][0])
    properties = parse_properties(item, form=form, envelope=envelope)
    level, lower = _level(item, form, offered)
    try:
        document = parameters.base64_octets(parameters.required_text(item, "document", _MAX_DOCUMENT_CHARACTERS))
    except ValueError as error:
        raise errors.InvalidRequest(errors.INVALID_DOCUMENTS) from error
    name = _HASH_NAMES[algorithm.hash_algorithm]
    digest = hashlib.new(name, document).digest()
    return Wish(form, envelope, level, digest, name, document, properties, lower)


def _algorithm(item: Mapping[str, Any]) -> _Algorithm:
    sign_algorithm = parameters.oid(item, "signAlgo")
    stated = parameters.optional_oid(item, "hashAlgorithmOID")
    implied = _OF_ALGORITHM.get(sign_algorithm)
    if stated is not None and stated not in HASH_LENGTHS:
        raise errors.invalid("hashAlgorithmOID")
    if stated is not None and implied is not None and stated != implied:
        raise errors.InvalidRequest(errors.CONTRADICTION)
    hash_algorithm = stated or implied
    if hash_algorithm is None:
        raise errors.missing_string("hashAlgorithmOID")
    return _Algorithm(hash_algorithm, sign_algorithm, requests.sign_algorithm_parameters(item))


def _form(item: Mapping[str, Any]) -> str:
    form = parameters.required_text(item, "signature_format")
    if form not in ENVELOPES:
        raise errors.invalid("signature_format")
    return form


def _envelope(item: Mapping[str, Any], default: str) -> str:
    return parameters.choice(item, "signed_envelope_property", ENVELOPES[_form(item)], default)


def _level(item: Mapping[str, Any], form: str, offered: Collection[str]) -> tuple[str, bool]:
    """As :func:`levels` spells it, and whether a lower one will do.  Without one it is the plainest."""
    lower = parameters.flag(item, "allow_lower_level")
    stated = parameters.optional_text(item, "conformance_level", 32)
    if stated is None:
        return BASIC, lower
    level = _SPELLINGS.get(stated.lower())
    if level is None or level not in offered or level not in _LEVELS_OF[form]:
        raise errors.invalid("conformance_level")
    return level, lower


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise errors.invalid_of("object", "documentDigests")
    return value
