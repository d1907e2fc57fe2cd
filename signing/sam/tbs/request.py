"""What the web tier asks to have built, from the link's JSON: every member is there, none is unknown.

A digest is canonical base64url, an absent parameter is ``null``.  ``docs/signing.md`` shows the forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import decode_base64url
from signing.sam.errors import TemplateRefused
from signing.sam.tbs.asic import AsicDocument, AsicSignature
from signing.sam.tbs.cms import CmsSignature, PdfSignature
from signing.sam.tbs.common import MAX_DOCUMENTS, MAX_TEXT_CHARACTERS, SignaturePolicy
from signing.sam.tbs.jws import MAX_PAYLOAD_OCTETS, JwsDocument, JwsPayload, JwsSignature
from signing.sam.tbs.pdf import MAX_PDF_OCTETS, MeasuredPdf, PdfClaim
from signing.sam.tbs.xades import Form, XmlDocument, XmlSignature

Template: TypeAlias = CmsSignature | AsicSignature | XmlSignature | JwsSignature | JwsPayload | PdfSignature

_MAX_DIGEST_CHARACTERS: Final = 128
_MAX_PAYLOAD_CHARACTERS: Final = MAX_PAYLOAD_OCTETS * 4 // 3 + 4


def parse_templates(items: Sequence[Mapping[str, Any]]) -> tuple[Template, ...]:
    """The templates of a request, in its order.  A PDF is not among them: its octets are streamed.

    :raises TemplateRefused: none, too many, or one that is not in its form.
    """
    if not 1 <= len(items) <= MAX_DOCUMENTS:
        raise TemplateRefused("a request is for one to a hundred signatures")
    try:
        templates = tuple(_PARSERS[read.text(item, "form", max_length=16)](item) for item in items)
    except (JoseError, KeyError, UnicodeEncodeError) as error:
        raise TemplateRefused("not in the form of a template") from error
    if len(documents_of(templates)) > MAX_DOCUMENTS:
        raise TemplateRefused("a request is for a hundred documents at most")
    if sum(len(template.payload) for template in templates if isinstance(template, JwsPayload)) > MAX_PAYLOAD_OCTETS:
        raise TemplateRefused("the payloads of a request are too large together")
    return templates


def parse_pdf(value: Mapping[str, Any]) -> PdfClaim:
    """The members ``document``, ``approved_octets`` and ``byte_range`` of a request for a PDF's signature.

    :raises TemplateRefused: not in that form, or a range that cannot be one.
    """
    try:
        read.check_members(value, _PDF_MEMBERS)
        numbers = value["byte_range"]
        if not isinstance(numbers, list) or len(numbers) != 4:
            raise TemplateRefused("a byte range is four numbers")
        named = dict(zip("0123", numbers, strict=True))
        first, before, after, rest = (read.integer(named, name, low=0, high=MAX_PDF_OCTETS) for name in "0123")
        return PdfClaim(
            document=_digest(value, "document"),
            approved_octets=read.integer(value, "approved_octets", low=0, high=MAX_PDF_OCTETS),
            byte_range=(first, before, after, rest),
        )
    except (JoseError, UnicodeEncodeError) as error:
        raise TemplateRefused("not in the form of a PDF's range") from error


def parse_files(
    pdfs: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]
) -> tuple[tuple[PdfClaim, ...], tuple[Template, ...]]:
    """PDFs that are going to be streamed, and the templates of the other documents of their request.

    :raises TemplateRefused: no PDF, too many documents, or something that is not in its form.
    """
    if not 1 <= len(pdfs) <= MAX_DOCUMENTS:
        raise TemplateRefused("a request is for one to a hundred PDFs")
    claims, templates = tuple(map(parse_pdf, pdfs)), parse_templates(items) if items else ()
    if len(claims) + len(documents_of(templates)) > MAX_DOCUMENTS:
        raise TemplateRefused("a request is for a hundred documents at most")
    if sum(claim.octets for claim in claims) > MAX_PDF_OCTETS:
        raise TemplateRefused("the documents are too large together")
    return claims, templates


def pdf_template(pdf: MeasuredPdf, value: Mapping[str, Any]) -> PdfSignature:
    """The template for a PDF that has been read, with the further members of its request.

    :raises TemplateRefused: these are not in their form.
    """
    try:
        return PdfSignature(pdf, *_extras(value))
    except (JoseError, KeyError, UnicodeEncodeError) as error:
        raise TemplateRefused("not in the form of a template") from error


def documents_of(templates: Sequence[Template]) -> tuple[bytes, ...]:
    """All digests that have to be authorised, in the order in which they are asked for."""
    return tuple(document for template in templates for document in template.documents)


def _cms(value: Mapping[str, Any]) -> CmsSignature:
    read.check_members(value, {"form", "document", "mime_type", "description", "commitment", "policy"})
    return CmsSignature(
        _digest(value, "document"),
        _optional_text(value, "mime_type"),
        _optional_text(value, "description"),
        *_extras(value),
    )


def _asic(value: Mapping[str, Any]) -> AsicSignature:
    read.check_members(value, {"form", "signature_uri", "references", "commitment", "policy"})
    return AsicSignature(
        read.text(value, "signature_uri", max_length=MAX_TEXT_CHARACTERS),
        tuple(AsicDocument(*_file(item)) for item in _references(value)),
        *_extras(value),
    )


def _xades(value: Mapping[str, Any]) -> XmlSignature:
    read.check_members(value, {"form", "id", "references", "commitment", "policy"})
    return XmlSignature(
        read.text(value, "id", max_length=64),
        tuple(_xml_document(item) for item in _references(value)),
        *_extras(value),
    )


def _xml_document(value: Mapping[str, Any]) -> XmlDocument:
    read.check_members(value, {"document", "form", "uri", "mime_type"})
    uri = value["uri"]
    return XmlDocument(
        document=_digest(value, "document"),
        form=cast("Form", read.text(value, "form", max_length=16)),
        # The one text that may be empty: the document that the signature stands in.
        uri="" if uri == "" else read.text(value, "uri", max_length=MAX_TEXT_CHARACTERS),
        mime_type=read.text(value, "mime_type", max_length=MAX_TEXT_CHARACTERS),
    )


def _jws(value: Mapping[str, Any]) -> JwsSignature:
    read.check_members(value, {"form", "references", "commitment"})
    return JwsSignature(
        tuple(JwsDocument(*_file(item)) for item in _references(value)),
        _optional_text(value, "commitment"),
    )


def _jws_payload(value: Mapping[str, Any]) -> JwsPayload:
    read.check_members(value, {"form", "document", "payload", "mime_type", "commitment"})
    return JwsPayload(
        document=_digest(value, "document"),
        payload=decode_base64url(read.text(value, "payload", max_length=_MAX_PAYLOAD_CHARACTERS).encode()),
        mime_type=read.text(value, "mime_type", max_length=MAX_TEXT_CHARACTERS),
        commitment=_optional_text(value, "commitment"),
    )


def _file(value: Mapping[str, Any]) -> tuple[bytes, str, str]:
    """Digest, path and media type."""
    read.check_members(value, {"document", "uri", "mime_type"})
    return (
        _digest(value, "document"),
        read.text(value, "uri", max_length=MAX_TEXT_CHARACTERS),
        read.text(value, "mime_type", max_length=MAX_TEXT_CHARACTERS),
    )


def _references(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = value["references"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TemplateRefused("references are a list of objects")
    return items


def _extras(value: Mapping[str, Any]) -> tuple[str | None, SignaturePolicy | None]:
    """Commitment and policy."""
    return _optional_text(value, "commitment"), _policy(value)


def _policy(value: Mapping[str, Any]) -> SignaturePolicy | None:
    if value["policy"] is None:
        return None
    policy = read.mapping(value, "policy")
    read.check_members(policy, {"oid", "hash_alg", "digest"})
    return SignaturePolicy(
        oid=read.text(policy, "oid", max_length=MAX_TEXT_CHARACTERS),
        hash_alg=read.text(policy, "hash_alg", max_length=64),
        digest=_digest(policy, "digest"),
    )


def _digest(value: Mapping[str, Any], name: str) -> bytes:
    return decode_base64url(read.text(value, name, max_length=_MAX_DIGEST_CHARACTERS).encode())


def _optional_text(value: Mapping[str, Any], name: str) -> str | None:
    return None if value[name] is None else read.text(value, name, max_length=MAX_TEXT_CHARACTERS)


_PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Template]]] = {
    "asic": _asic,
    "cms": _cms,
    "xades": _xades,
    "jws": _jws,
    "jws-payload": _jws_payload,
}
_PDF_MEMBERS: Final = frozenset({"document", "approved_octets", "byte_range"})
