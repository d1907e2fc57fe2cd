"""What a client asks to have signed, in the three forms that the CSC API has for it.

Rich authorization requests (RFC 9396) of the type of CSC API 2.0.0.2 (clause 8.4.2) and of 2.2, and the query
parameters of 2.0.0.2 and 1.0.4.  All become one :class:`SignatureIntent`, or a refusal: what is not understood is
refused and never passed over, because a person will approve what stands here and a key will be used for it.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from contract.digests import HASH_LENGTHS, MAX_DIGESTS
from foundation.errors import TokenMalformed
from foundation.jose import parse_json
from idp.activation.intent import DocumentDigest, DocumentLocation, HashType, SignatureIntent
from idp.oidc import document_locations
from idp.oidc.errors import AuthorizationDetailsInvalid, RequestInvalid

TYPE_CSC_2_0: Final = "credential"
TYPE_CSC_2_2: Final = "https://cloudsignatureconsortium.org/2025/credential"
TYPES: Final = (TYPE_CSC_2_0, TYPE_CSC_2_2)

MAX_LABEL: Final = 255
MAX_DESCRIPTION: Final = 500
"""CSC API 2.0.0.2 clause 8.4.2."""
MAX_DETAILS: Final = 128 * 1024
"""Characters of ``authorization_details``: a hundred digests with labels of full length."""

QUERY_PARAMETERS: Final = frozenset({"credentialID", "signatureQualifier", "numSignatures", "hashes", "hash"})
"""Parameters that ask for a signature without ``authorization_details``."""

CREDENTIAL_ID: Final = re.compile(r"[A-Za-z0-9_:-]{1,128}\Z")
"""The signing service's own identifiers are hexadecimal; nothing that could be a token gets into an audit record."""
_QUALIFIER: Final = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}\Z")
_SHA2_BY_LENGTH: Final = {
    32: "2.16.840.1.101.3.4.2.1",
    48: "2.16.840.1.101.3.4.2.2",
    64: "2.16.840.1.101.3.4.2.3",
}
"""CSC API 1.0.4 names no hash algorithm when it asks for authorization; there the length tells which SHA-2 it is."""

_MEMBERS_2_0: Final = frozenset(
    {
        "type",
        "credentialID",
        "signatureQualifier",
        "documentDigests",
        "documentLocations",
        "hashAlgorithmOID",
        "locations",
    }
)
_MEMBERS_2_2: Final = _MEMBERS_2_0 | {"numSignatures"}
_DIGEST_2_0: Final = frozenset({"hash", "label"})
_DIGEST_2_2: Final = _DIGEST_2_0 | {"hashType"}
_HASH_TYPES: Final[Mapping[str, HashType]] = {"dtbsr": "dtbsr", "sdr": "sdr"}
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of what no reader sees: controls, directions, tags, soft hyphens, halves, and what is no character."""
_BLANK: Final = frozenset(
    # Letters, symbols and marks by their category that are drawn as nothing (Unicode's Default_Ignorable_Code_Point,
    # and the empty braille pattern); of the variation selectors the two that pictures have stay.
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0))))
)
_NON_JOINER: Final = "\u200c"
_JOINERS: Final = frozenset({_NON_JOINER, "\u200d"})
_VIRAMA: Final = 9
_MARKS: Final = frozenset({"Mn", "Me"})
_MAX_MARKS: Final = 4
"""On one character; no language stacks more, and more of them cover the lines above and below."""
_MARKS_IN_A_ROW: Final = re.compile(rf"^m|m{{{_MAX_MARKS + 1},}}")


def parse_details(
    text: str, locations: Sequence[str], *, choosable: bool = False, documents: Sequence[str] | None = ()
) -> SignatureIntent:
    """Read ``authorization_details``: an array of exactly one object of a credential type.

    :param locations: what ``locations`` may name.
    :param choosable: whether ``signatureQualifier`` may stand for the credential, because the person can be asked.
    :param documents: below which URIs ``documentLocations`` may name documents; None: wherever.
    :raises AuthorizationDetailsInvalid: anything that is not understood or not in bounds.
    """
    details = _parse_json(text)
    if not isinstance(details, list) or len(details) != 1 or not isinstance(details[0], dict):
        # One approval activates one credential; a second object would need a second SAD.
        raise AuthorizationDetailsInvalid("authorization_details must be an array of exactly one object")
    value = details[0]
    kind = value.get("type")
    if kind not in TYPES:
        raise AuthorizationDetailsInvalid("unknown authorization_details type")
    _check_members(value, _MEMBERS_2_2 if kind == TYPE_CSC_2_2 else _MEMBERS_2_0, "authorization_details")
    credential_id, qualifier = _credential(value, choosable=choosable)
    hash_alg = _hash_algorithm(value.get("hashAlgorithmOID"))
    digests, hash_type = _documents(value.get("documentDigests"), hash_alg, kind)
    return SignatureIntent(
        credential_id=credential_id,
        hash_alg=hash_alg,
        digests=digests,
        hash_type=hash_type,
        sign_count=_count(value.get("numSignatures", len(digests)), len(digests)),
        locations=_locations(value.get("locations", []), locations),
        qualifier=qualifier,
        documents=_document_locations(value, len(digests), hash_type, documents),
    )


def parse_query(
    parameters: Mapping[str, str], *, without_digests: bool, choosable: bool = False
) -> SignatureIntent:
    """Read the query form (CSC API 2.0.0.2 clause 8.4.2; ``hash`` is the name of 1.0.4).

    :param without_digests: whether the client may leave the digests out, for a credential at SCAL1.
    :param choosable: as for :func:`parse_details`.
    :raises RequestInvalid: anything that is not understood or not in bounds.
    """
    try:
        return _parse_query(parameters, without_digests=without_digests, choosable=choosable)
    except AuthorizationDetailsInvalid as error:
        # The same rules, under the error that this form has.
        raise RequestInvalid(error.description) from error


def _parse_query(parameters: Mapping[str, str], *, without_digests: bool, choosable: bool) -> SignatureIntent:
    credential_id, qualifier = _credential(parameters, choosable=choosable)
    if "hash" in parameters and "hashes" in parameters:
        raise RequestInvalid("hash and hashes are the same parameter of two versions: give one")
    name = "hash" if "hash" in parameters else "hashes"
    stated = parameters.get("hashAlgorithmOID")
    texts = parameters[name].split(",") if parameters.get(name) else []
    if not texts and not without_digests:
        raise RequestInvalid("Missing parameter hashes")
    if len(texts) > MAX_DIGESTS:
        raise RequestInvalid(f"at most {MAX_DIGESTS} hashes can be authorized at once")
    values = [_decode_base64(item) for item in texts]
    hash_alg = _infer_algorithm(values) if stated is None and name == "hash" else _hash_algorithm(stated)
    # This form has one description for all; it is shown where the other forms' labels are.
    label = _label(parameters.get("description", ""), MAX_DESCRIPTION)
    digests = tuple(DocumentDigest(_check_length(value, hash_alg), label) for value in values)
    return SignatureIntent(
        credential_id=credential_id,
        hash_alg=hash_alg,
        digests=digests,
        hash_type="dtbsr",
        sign_count=_count(_number(parameters.get("numSignatures"), len(digests)), len(digests)),
        qualifier=qualifier,
    )


def to_details(intent: SignatureIntent, kind: str = TYPE_CSC_2_0) -> list[dict[str, Any]]:
    """The granted intent as a token response repeats it (RFC 9396 7), digests in base64 as they came."""
    documents: list[dict[str, Any]] = []
    for item in intent.digests:
        document: dict[str, Any] = {"hash": base64.b64encode(item.digest).decode(), "label": item.label}
        if kind == TYPE_CSC_2_2:
            document["hashType"] = intent.hash_type
        documents.append(document)
    value: dict[str, Any] = {
        "type": kind,
        "credentialID": intent.credential_id,
        "numSignatures": intent.sign_count,
        "documentDigests": documents,
        "hashAlgorithmOID": intent.hash_alg,
    }
    if intent.locations:
        value["locations"] = list(intent.locations)
    if intent.documents:
        value["documentLocations"] = document_locations.to_json(intent.documents)
    return [value]


def is_credential_id(text: str) -> bool:
    """Whether a text has the form of a credential's identifier."""
    return bool(CREDENTIAL_ID.match(text))


def details_type(text: str) -> str:
    """The type of details that :func:`parse_details` has read."""
    return str(_parse_json(text)[0]["type"])


def _parse_json(text: str) -> Any:
    if len(text) > MAX_DETAILS:
        raise AuthorizationDetailsInvalid("authorization_details is too long")
    try:
        return parse_json(text)
    except TokenMalformed as error:
        raise AuthorizationDetailsInvalid("authorization_details is not JSON in the strict form") from error


def _check_members(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    if not value.keys() <= known:
        raise AuthorizationDetailsInvalid(f"{where} has a member that is not supported")


def _credential(value: Mapping[str, Any], *, choosable: bool) -> tuple[str, str | None]:
    """The credential, or the qualifier that stands for it."""
    credential_id, qualifier = value.get("credentialID"), value.get("signatureQualifier")
    if "signatureQualifier" in value:
        if credential_id is not None:
            # It would be a condition that nobody here can check.
            raise AuthorizationDetailsInvalid("signatureQualifier does not go with credentialID")
        if not choosable:
            raise AuthorizationDetailsInvalid("signatureQualifier alone is not supported: name the credentialID")
        if not isinstance(qualifier, str) or not _QUALIFIER.match(qualifier):
            raise AuthorizationDetailsInvalid("Invalid parameter signatureQualifier")
        return "", qualifier
    if credential_id is None:
        raise AuthorizationDetailsInvalid("Missing parameter credentialID")
    if not isinstance(credential_id, str) or not CREDENTIAL_ID.match(credential_id):
        raise AuthorizationDetailsInvalid("Invalid parameter credentialID")
    return credential_id, None


def _hash_algorithm(value: object) -> str:
    if value is None:
        raise AuthorizationDetailsInvalid("Missing parameter hashAlgorithmOID")
    if not isinstance(value, str) or value not in HASH_LENGTHS:
        raise AuthorizationDetailsInvalid("Invalid parameter hashAlgorithmOID")
    return value


def _infer_algorithm(values: Sequence[bytes]) -> str:
    lengths = {len(value) for value in values}
    if len(lengths) != 1 or not lengths <= _SHA2_BY_LENGTH.keys():
        raise AuthorizationDetailsInvalid("Invalid digest value length")
    return _SHA2_BY_LENGTH[lengths.pop()]


def _documents(value: object, hash_alg: str, kind: str) -> tuple[tuple[DocumentDigest, ...], HashType]:
    if not isinstance(value, list) or not value:
        raise AuthorizationDetailsInvalid("documentDigests must be an array that is not empty")
    if len(value) > MAX_DIGESTS:
        raise AuthorizationDetailsInvalid(f"at most {MAX_DIGESTS} digests can be authorized at once")
    known = _DIGEST_2_2 if kind == TYPE_CSC_2_2 else _DIGEST_2_0
    digests: list[DocumentDigest] = []
    types: set[HashType] = set()
    for item in value:
        if not isinstance(item, dict):
            raise AuthorizationDetailsInvalid("documentDigests has an item that is not an object")
        _check_members(item, known, "documentDigests")
        text = item.get("hash")
        if not isinstance(text, str):
            raise AuthorizationDetailsInvalid("documentDigests has an item without hash")
        digests.append(DocumentDigest(_check_length(_decode_base64(text), hash_alg), _label(item.get("label", ""))))
        types.add(_hash_type(item.get("hashType", "dtbsr")))
    if len(types) != 1:
        raise AuthorizationDetailsInvalid("all digests of one request must have the same hashType")
    return tuple(digests), types.pop()


def _document_locations(
    value: Mapping[str, Any], digests: int, hash_type: HashType, prefixes: Sequence[str] | None
) -> tuple[DocumentLocation, ...]:
    if "documentLocations" not in value:
        return ()
    found = document_locations.parse_locations(value["documentLocations"], digests, prefixes)
    if hash_type != "sdr":
        # Of anything else nobody can tell whether it is the digest of the document that is shown.
        raise AuthorizationDetailsInvalid("documentLocations go with digests of documents: hashType sdr")
    return found


def _hash_type(value: object) -> HashType:
    # Upper or lower case: the specification's prose has one, its clients send the other.
    found = _HASH_TYPES.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise AuthorizationDetailsInvalid("hashType must be dtbsr or sdr")
    return found


def check_shown(value: object, limit: int) -> str:
    """A text of a client's that a person is shown.

    :raises AuthorizationDetailsInvalid: it is too long, or something in it is not seen.
    """
    return _label(value, limit)


def _label(value: object, limit: int = MAX_LABEL) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise AuthorizationDetailsInvalid(f"a label must be a string of at most {limit} characters")
    # The person reads it when approving: nothing may hide in it, break its line, turn its direction or cover the page.
    if any(_is_hidden(value, index) for index in range(len(value))):
        raise AuthorizationDetailsInvalid("a label has a character that is not seen as one")
    if _MARKS_IN_A_ROW.search("".join("m" if unicodedata.category(item) in _MARKS else " " for item in value)):
        raise AuthorizationDetailsInvalid(f"a label has more than {_MAX_MARKS} marks on one character")
    if value and not any(unicodedata.category(item)[0] in "LNPS" for item in value):
        raise AuthorizationDetailsInvalid("a label must have a character that can be seen, or be empty")
    return value


def _is_hidden(text: str, index: int) -> bool:
    character = text[index]
    if character in _JOINERS:
        return not _joins(text, index)
    return unicodedata.category(character) in _HIDDEN or character in _BLANK


def _joins(text: str, index: int) -> bool:
    """Whether a joiner changes how its neighbours are written, as Persian and the scripts of India need it.

    After a virama, or a non-joiner between letters of a script that joins them (RFC 5892 appendix A, simplified).
    """
    before, after = text[index - 1 : index], text[index + 1 : index + 2]
    if before and unicodedata.combining(before) == _VIRAMA:
        return True
    joined = bool(before and after) and {unicodedata.bidirectional(before), unicodedata.bidirectional(after)} == {"AL"}
    return text[index] == _NON_JOINER and joined


def _decode_base64(text: str) -> bytes:
    """Standard base64 with padding, or base64url with or without; one spelling of each value only."""
    standard = text.replace("-", "+").replace("_", "/")
    mixed = ("-" in text or "_" in text) and ("+" in text or "/" in text)
    padded = standard if standard.endswith("=") else standard + "=" * (-len(standard) % 4)
    try:
        if mixed or not _BASE64.match(text):
            raise ValueError("not base64")
        value = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AuthorizationDetailsInvalid("Invalid Base64 hash string parameter") from error
    if base64.b64encode(value).decode() != padded or (standard != padded and ("+" in text or "/" in text)):
        raise AuthorizationDetailsInvalid("Invalid Base64 hash string parameter")
    return value


def _check_length(value: bytes, hash_alg: str) -> bytes:
    if len(value) != HASH_LENGTHS[hash_alg]:
        raise AuthorizationDetailsInvalid("Invalid digest value length")
    return value


def _number(text: str | None, default: int) -> int:
    if text is None:
        if default == 0:
            raise RequestInvalid("Missing parameter numSignatures")
        return default
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII):
        raise RequestInvalid("Invalid parameter numSignatures")
    return int(text)


def _count(value: object, digests: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_DIGESTS:
        raise AuthorizationDetailsInvalid(f"numSignatures must be from 1 to {MAX_DIGESTS}")
    if digests and value != digests:
        raise AuthorizationDetailsInvalid("numSignatures must be the number of hashes")
    return value


def _locations(value: object, allowed: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or len(value) > len(allowed):
        raise AuthorizationDetailsInvalid("locations must be an array of this server's signing service")
    if not set(value) <= set(allowed):
        raise AuthorizationDetailsInvalid("locations names another service than this server's")
    return tuple(value)


__all__ = [
    "CREDENTIAL_ID",
    "MAX_DETAILS",
    "MAX_LABEL",
    "QUERY_PARAMETERS",
    "TYPES",
    "TYPE_CSC_2_0",
    "TYPE_CSC_2_2",
    "details_type",
    "is_credential_id",
    "parse_details",
    "parse_query",
    "to_details",
]
