"""Signatures that a PDF already has: whole, over what they say, and nothing changed behind that they do not permit.

Nobody's trust is asked after: a certificate is only the key that a value is checked with.  What is refused here would
be found by whoever validates the document later, with this service's signature on top of it (ISO 32000-2 12.8.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from asn1crypto import core
from pyhanko.pdf_utils import generic
from pyhanko.sign.diff_analysis import DiffResult
from pyhanko.sign.fields import MDPPerm
from pyhanko.sign.validation.generic_cms import validate_sig_integrity
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from documents.bounds import Bounds
from documents.content import Content
from documents.errors import DocumentRefused
from documents.findings import PriorSignature
from documents.reading import faults_as, key_of, resolved, value

_EMBEDDED: Any = EmbeddedPdfSignature
_INTEGRITY: Any = validate_sig_integrity
"""Partly typed: met here alone."""
_KNOWN: Final = frozenset({"/adbe.pkcs7.detached", "/ETSI.CAdES.detached", "/ETSI.RFC3161"})
"""12.8.3 and EN 319 142-1; the others' values are over SHA-1, or are no CMS."""
_MAX_TEXT: Final = 512
_BROKEN: Final = "signature_broken"


def check_prior(
    reader: Any, document: bytes, bounds: Bounds, content: Content
) -> tuple[tuple[PriorSignature, ...], bool]:
    """Check all of them, the oldest first.

    :param content: is told what a signature permits, and the next signer should know.
    :returns: them, and whether one of them permits no other signature.
    :raises DocumentRefused: one is not whole, or the document was changed behind it.
    """
    with faults_as(_BROKEN):
        found = [_embedded(reader, *field) for field in _filled(reader, bounds)]
        if len(found) > bounds.signatures:
            raise DocumentRefused("too_many_objects", "signatures")
        found.sort(key=lambda each: int(each.signed_revision))
        names = {each.field_name for each in found}
        checked = tuple(_checked(each, document, names, content) for each in found)
        return checked, any(each.docmdp_level == MDPPerm.NO_CHANGES for each in found)


class SignatureDictionaries:
    """Everything in a document that looks like a signature: what no field has, nobody would check."""

    def __init__(self) -> None:
        self._found: set[tuple[int, int]] = set()

    def visit(self, node: Any) -> None:
        """A dictionary."""
        if "/ByteRange" in node and "/Contents" in node:
            self._found.add((node.container_ref.idnum, node.container_ref.generation))

    def check(self, reader: Any) -> None:
        """Each is the value of a field that was checked, or about usage rights (12.8.2.3), which are no signer's.

        :raises DocumentRefused: one is not.
        """
        # Nothing looks like a signature, and nothing is there that could be damaged about signatures.
        if not self._found and "/AcroForm" not in reader.root and "/Perms" not in reader.root:
            return
        with faults_as(_BROKEN):
            permissions = value(reader.root, "/Perms")
            rights = None if permissions is None else value(permissions, "/UR3")
            known = [each.sig_object for each in reader.embedded_signatures]
            for each in (*known, rights):
                if each is not None:
                    self._found.discard((each.container_ref.idnum, each.container_ref.generation))
        if self._found:
            raise DocumentRefused(_BROKEN, "no field has it")


def _filled(reader: Any, bounds: Bounds) -> Iterator[tuple[str, Any]]:
    """Name and dictionary of every signature field with a value, wherever in the tree (12.7.4)."""
    form = value(reader.root, "/AcroForm")
    fields = value(form, "/Fields") if isinstance(form, generic.DictionaryObject) else None
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[Any, str, Any, int]] = [(each, "", None, 0) for each in _kids(fields)]
    while stack:
        node, prefix, kind, depth = stack.pop()
        if depth > bounds.depth:
            raise DocumentRefused("too_deep", "fields")
        key = key_of(node)
        if key is not None:
            if key in seen:
                raise DocumentRefused("malformed", "a field is in the tree twice")
            seen.add(key)
            node = resolved(node)
        if not isinstance(node, generic.DictionaryObject):
            continue
        name = value(node, "/T")
        own = prefix if name is None else f"{prefix}.{name}" if prefix else str(name)
        kind = value(node, "/FT", kind)
        if kind == "/Sig" and value(node, "/V") is not None:
            yield own, node
        stack.extend((each, own, kind, depth + 1) for each in _kids(value(node, "/Kids")))


def _kids(array: Any) -> list[Any]:
    if not isinstance(array, generic.ArrayObject):
        return []
    return [array.raw_get(place) for place in range(len(array))]


def _embedded(reader: Any, name: str, field: Any) -> Any:
    if key_of(field.raw_get("/V")) is None:
        raise DocumentRefused(_BROKEN, "its value is no object of its own")
    if value(value(field, "/V"), "/SubFilter") not in _KNOWN:
        raise DocumentRefused(_BROKEN, "its kind is not known")
    return _EMBEDDED(reader, field, name)


def _checked(each: Any, document: bytes, names: set[str], content: Content) -> PriorSignature:
    # 1. The byte range leaves out exactly the value, and begins with the document (12.8.1, EN 319 142-1 5.3).
    _check_range([int(item) for item in each.byte_range], bytes(each.pkcs7_content), document)
    # 2. The value fits what it covers.
    _check_value(each)
    # 3. It covers a revision to its end.
    each.compute_integrity_info(skip_diff=True)
    if each.coverage < SignatureCoverageLevel.ENTIRE_REVISION:
        raise DocumentRefused(_BROKEN, "it does not cover its revision")
    # 4. What came later is what it permits.
    with faults_as("changed_after_signature"):
        each.compute_integrity_info()
        permitted = isinstance(each.diff_result, DiffResult) and each.summarise_integrity_info()["docmdp_ok"]
    if not permitted:
        raise DocumentRefused("changed_after_signature")
    if set(each.diff_result.changed_form_fields) - names:
        content.add("fields_changed")
    return PriorSignature(
        field=_printable(each.field_name),
        kind=_kind(each),
        signer=_printable(each.signer_cert.subject.human_friendly),
        whole_document=each.coverage == SignatureCoverageLevel.ENTIRE_FILE,
    )


def _check_range(byte_range: list[int], octets: bytes, document: bytes) -> None:
    if len(byte_range) != 4:
        raise DocumentRefused(_BROKEN, "byte range")
    start, before, after, rest = byte_range
    hole = document[before:after]
    if start != 0 or not 0 < before < after or rest < 0 or after + rest > len(document):
        raise DocumentRefused(_BROKEN, "byte range")
    if hole[:1] != b"<" or hole[-1:] != b">" or hole[1:-1].lower() != octets.hex().encode():
        raise DocumentRefused(_BROKEN, "its byte range leaves out more than its value")


def _padding(octets: bytes) -> bytes:
    """What stands behind the DER: room that was not needed."""
    return octets[len(core.Any.load(octets).dump()) :]


def _check_value(each: Any) -> None:
    if _padding(bytes(each.pkcs7_content)).strip(b"\0"):
        raise DocumentRefused(_BROKEN, "there is more than a signature in its value")
    digest, kind = each.compute_digest(), "data"
    content = each.signed_data["encap_content_info"]
    if value(each.sig_object, "/SubFilter") == "/ETSI.RFC3161":
        # The document's digest is in the token, and the token's in the signed attributes (RFC 3161 2.4.2).
        kind = "tst_info"
        if content["content"].parsed["message_imprint"]["hashed_message"].native != digest:
            raise DocumentRefused(_BROKEN, "time-stamp")
        digest = hashlib.new(each.md_algorithm, bytes(content["content"])).digest()
    elif not isinstance(content["content"], core.Void):
        raise DocumentRefused(_BROKEN, "it is not detached")
    intact, valid = _INTEGRITY(each.signer_info, each.signer_cert, kind, digest)
    if not (intact and valid):
        raise DocumentRefused(_BROKEN)


def _printable(text: str) -> str:
    return "".join(filter(str.isprintable, str(text)))[:_MAX_TEXT]


def _kind(each: Any) -> str:
    if value(each.sig_object, "/SubFilter") == "/ETSI.RFC3161":
        return "timestamp"
    return "approval" if each.docmdp_level is None else "certification"
