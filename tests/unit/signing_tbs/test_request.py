"""What the web tier asks for, read strictly; and whatever it changes, refused or nothing that the template fixes."""

from __future__ import annotations

import copy
import hashlib
import json
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from asn1crypto import cms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from foundation.errors import PrivySealError
from foundation.jose import decode_base64url, encode_base64url, parse_json_object
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from signing.sam.errors import TemplateRefused
from signing.sam.tbs.asic import AsicDocument, AsicSignature
from signing.sam.tbs.cms import CmsSignature, PdfSignature
from signing.sam.tbs.common import Built, SignaturePolicy, Signer
from signing.sam.tbs.jws import MAX_PAYLOAD_OCTETS, JwsDocument, JwsPayload, JwsSignature
from signing.sam.tbs.pdf import MeasuredPdf, PdfClaim
from signing.sam.tbs.request import documents_of, parse_pdf, parse_templates, pdf_template
from signing.sam.tbs.work import Work, built_work
from signing.sam.tbs.xades import XmlDocument, XmlSignature
from tests.documents import AT
from tests.unit.signing_tbs.test_xades import NS

D1, D2, D3 = (bytes([number]) * 32 for number in (1, 2, 3))
POLICY = {"oid": "1.2.3", "hash_alg": SHA256, "digest": encode_base64url(D3)}
CMS: dict[str, Any] = {
    "form": "cms",
    "document": encode_base64url(D1),
    "mime_type": "text/plain",
    "description": None,
    "commitment": "ProofOfApproval",
    "policy": POLICY,
}
XADES: dict[str, Any] = {
    "form": "xades",
    "id": "S-1",
    "references": [
        {"document": encode_base64url(D1), "form": "octets", "uri": "a.txt", "mime_type": "text/plain"},
        {"document": encode_base64url(D2), "form": "enveloped", "uri": "", "mime_type": "text/xml"},
    ],
    "commitment": None,
    "policy": POLICY,
}
JWS: dict[str, Any] = {
    "form": "jws",
    "references": [{"document": encode_base64url(D1), "uri": "a.txt", "mime_type": "text/plain"}],
    "commitment": "ProofOfOrigin",
}
ASIC: dict[str, Any] = {
    "form": "asic",
    "signature_uri": "META-INF/signature.p7s",
    "references": [{"document": encode_base64url(D1), "uri": "a.txt", "mime_type": "text/plain"}],
    "commitment": None,
    "policy": POLICY,
}
PAYLOAD: dict[str, Any] = {
    "form": "jws-payload",
    "document": encode_base64url(hashlib.sha256(b"payload").digest()),
    "payload": encode_base64url(b"payload"),
    "mime_type": "text/plain",
    "commitment": None,
}
PDF: dict[str, Any] = {"document": encode_base64url(D1), "approved_octets": 100, "byte_range": [0, 200, 300, 50]}
SIGNER = Signer(b"certificate", SignatureAlgorithm("ecdsa", SHA256), 256, AT)


def test_each_form_is_read_as_it_stands() -> None:
    policy = SignaturePolicy("1.2.3", SHA256, D3)
    templates = parse_templates([CMS, XADES, JWS])
    assert templates == (
        CmsSignature(D1, "text/plain", None, "ProofOfApproval", policy),
        XmlSignature(
            "S-1",
            (XmlDocument(D1, "octets", "a.txt", "text/plain"), XmlDocument(D2, "enveloped", "", "text/xml")),
            None,
            policy,
        ),
        JwsSignature((JwsDocument(D1, "a.txt", "text/plain"),), "ProofOfOrigin"),
    )
    assert documents_of(templates) == (D1, D1, D2, D1)
    payload = JwsPayload(hashlib.sha256(b"payload").digest(), b"payload", "text/plain")
    assert parse_templates([PAYLOAD]) == (payload,)
    container = AsicSignature("META-INF/signature.p7s", (AsicDocument(D1, "a.txt", "text/plain"),), None, policy)
    assert parse_templates([ASIC]) == (container,)
    bare = dict.fromkeys(("mime_type", "description", "commitment", "policy"))
    assert parse_templates([{**CMS, **bare}]) == (CmsSignature(D1),)
    assert parse_pdf(PDF) == PdfClaim(D1, 100, (0, 200, 300, 50))
    measured = MeasuredPdf(D1, D2, SHA256)
    assert pdf_template(measured, {"commitment": None, "policy": POLICY}) == PdfSignature(measured, None, policy)


def test_what_is_signed_are_digests_of_what_was_built() -> None:
    work = built_work(parse_templates([CMS, JWS]), SIGNER)
    assert work.digests == tuple(SIGNER.hashed(built.tbs) for built in work.built)
    assert Work((D1,)).built == ()


def test_no_request_is_for_a_measured_pdf() -> None:
    for form in ("pdf", "pades", "measured", "cms\0", "CMS"):
        with pytest.raises(TemplateRefused):
            parse_templates([{**CMS, "form": form}])


@pytest.mark.parametrize("count", [0, 101])
def test_a_request_is_for_one_to_a_hundred(count: int) -> None:
    with pytest.raises(TemplateRefused):
        parse_templates([CMS] * count)


def test_a_hundred_documents_are_counted_over_all_signatures() -> None:
    def of(count: int) -> dict[str, Any]:
        (reference,) = JWS["references"]
        return {**JWS, "references": [{**reference, "uri": f"{number}"} for number in range(count)]}

    assert len(documents_of(parse_templates([of(50), of(50)]))) == 100
    for counts in ((50, 51), (101,)):
        with pytest.raises(TemplateRefused):
            parse_templates([of(count) for count in counts])


def test_payloads_are_bounded_together() -> None:
    half = {**PAYLOAD, "payload": encode_base64url(bytes(MAX_PAYLOAD_OCTETS // 2))}
    parse_templates([half, half])
    for templates in ([half, half, PAYLOAD], [{**half, "payload": encode_base64url(bytes(MAX_PAYLOAD_OCTETS + 1))}]):
        with pytest.raises(TemplateRefused):
            parse_templates(templates)


WRONG: tuple[Any, ...] = (
    None,
    1,
    1.5,
    True,
    [],
    {},
    "",
    "\0",
    "a" * 400_000,
    ["a"],
    {"a": 1},
    [None],
    [[]],
    "\ud800",
    "\u202e",
)
"""Nothing of this is right anywhere, but ``None`` for what may be left out."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every member and item below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value in that place."""
    copied = copy.deepcopy(value)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return copied


NULLABLE = {"mime_type", "description", "commitment", "policy"}


@pytest.mark.parametrize("template", [CMS, XADES, JWS, PAYLOAD, ASIC], ids=lambda item: str(item["form"]))
def test_SAD_09_a_member_of_another_type_is_refused(template: dict[str, Any]) -> None:
    for path in places(template):
        for wrong in WRONG:
            request = changed(template, path, wrong)
            if request == template or (wrong is None and len(path) == 1 and path[0] in NULLABLE):
                continue
            with pytest.raises(TemplateRefused):
                parse_templates([request])


@pytest.mark.parametrize("template", [CMS, XADES, JWS, PAYLOAD, ASIC], ids=lambda item: str(item["form"]))
def test_SAD_09_a_member_less_or_more_is_refused(template: dict[str, Any]) -> None:
    for path in places(template):
        if not isinstance(path[-1], str):
            continue
        less = copy.deepcopy(template)
        inner = less
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        with pytest.raises(TemplateRefused):
            parse_templates([less])
        inner[path[-1]], inner["more"] = "", None
        with pytest.raises(TemplateRefused):
            parse_templates([less])


@pytest.mark.parametrize(
    "change",
    [
        {"byte_range": [0, 200, 300]},
        {"byte_range": [0, 200, 300, 50, 1]},
        {"byte_range": [0, 200, 300, -50]},
        {"byte_range": [0, 200, 300, 2**64]},
        {"byte_range": [0, 200, 300, "50"]},
        {"byte_range": [0, 200, 300, True]},
        {"byte_range": [0, 200, 300, 50.0]},
        {"byte_range": "0 200 300 50"},
        {"byte_range": {"0": 0}},
        {"approved_octets": "100"},
        {"approved_octets": -1},
        {"approved_octets": None},
        {"document": "="},
        {"document": "ä"},
        {"document": None},
        {"more": 1},
    ],
    ids=str,
)
def test_SAD_09_a_range_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TemplateRefused):
        parse_pdf({**PDF, **change})


@pytest.mark.parametrize("extra", [{}, {"commitment": 1, "policy": None}, {"commitment": None, "policy": "1.2.3"}])
def test_a_pdfs_further_members_are_read_strictly(extra: dict[str, Any]) -> None:
    with pytest.raises(TemplateRefused):
        pdf_template(MeasuredPdf(D1, D2, SHA256), extra)


def named(built: Built) -> tuple[tuple[bytes, ...], bytes, int]:
    """Documents, certificate's digest and time, as others read them in the octets; all else is of the template's."""
    if built.tbs.startswith(b"\x31"):
        documents, certificate, at = _named_in_cms(built.tbs)
        if built.manifest is not None:
            documents = _named_in_manifest(built.manifest, documents)
        return documents, certificate, at
    return _named_in_xades(built) if built.tbs.startswith(b"<ds:SignedInfo ") else _named_in_jws(built.tbs)


def _named_in_cms(tbs: bytes) -> tuple[tuple[bytes, ...], bytes, int]:
    attributes = cms.CMSAttributes.load(tbs, strict=True)
    assert attributes.dump(force=True) == tbs
    found = {each["type"].native: each["values"][0] for each in attributes}
    assert found.keys() <= {
        "content_type", "message_digest", "signing_time", "signing_certificate_v2", "cms_algorithm_protection",
        "commitment_type", "signature_policy_identifier", "mime_type",
    }  # fmt: skip
    assert found["content_type"].native == "data"
    certificate = found["signing_certificate_v2"]["certs"][0]["cert_hash"].native
    at = int(found["signing_time"].native.timestamp())
    return (found["message_digest"].native,), certificate, at


def _named_in_manifest(manifest: bytes, signed: tuple[bytes, ...]) -> tuple[bytes, ...]:
    root: Any = etree.fromstring(manifest)
    assert etree.tostring(root, method="c14n") == manifest
    assert signed == (SIGNER.hashed(manifest),)
    return tuple(b64decode(each) for each in root.xpath("//ds:DigestValue/text()", namespaces=NS))


def _named_in_xades(built: Built) -> tuple[tuple[bytes, ...], bytes, int]:
    info: Any = etree.fromstring(built.tbs)
    properties: Any = etree.fromstring(built.signed_properties or b"")
    assert etree.tostring(info, method="c14n", exclusive=True) == built.tbs
    assert etree.tostring(properties, method="c14n", exclusive=True) == built.signed_properties
    *documents, last = (b64decode(each) for each in info.xpath("//ds:DigestValue/text()", namespaces=NS))
    assert last == SIGNER.hashed(built.signed_properties or b"")
    assert set(info.xpath("//@Algorithm")) <= {
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
        "http://www.w3.org/2000/09/xmldsig#base64",
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
        "http://www.w3.org/2001/04/xmlenc#sha256",
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    }
    (certificate,) = properties.xpath("//xades:CertDigest/ds:DigestValue/text()", namespaces=NS)
    (at,) = properties.xpath("//xades:SigningTime/text()", namespaces=NS)
    return tuple(documents), b64decode(certificate), int(datetime.fromisoformat(at).timestamp())


def _named_in_jws(tbs: bytes) -> tuple[tuple[bytes, ...], bytes, int]:
    encoded, _, payload = tbs.partition(b".")
    header = parse_json_object(decode_base64url(encoded))
    assert header["alg"] == "ES256"
    if payload:
        assert header.keys() <= {"alg", "cty", "iat", "srCms", "x5t#S256"}
        document = SIGNER.hashed(decode_base64url(payload))
        return (document,), decode_base64url(header["x5t#S256"].encode()), header["iat"]
    assert header.keys() <= {"alg", "b64", "crit", "iat", "sigD", "srCms", "x5t#S256"}
    assert (header["b64"], header["crit"]) == (False, ["b64", "sigD"])
    documents = tuple(decode_base64url(each.encode()) for each in header["sigD"]["hashV"])
    return documents, decode_base64url(header["x5t#S256"].encode()), header["iat"]


ORIGINAL = tuple(json.dumps(template).encode() for template in (CMS, XADES, JWS, PAYLOAD, ASIC))
PIECES = (b"<", b"&", b'\\"', b"\\u202e", b"\\ud800", b"../", b"0", b"\0", b"\xff", b",", b'"more":1,')


def test_the_readers_of_the_property_find_what_is_there() -> None:
    payload = hashlib.sha256(b"payload").digest()
    for octets, documents in zip(ORIGINAL, ((D1,), (D1, D2), (D1,), (payload,), (D1,)), strict=True):
        (built,) = built_work(parse_templates([parse_json_object(octets)]), SIGNER).built
        assert named(built) == (documents, SIGNER.certificate_sha256(), AT)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_SAD_09_octets_changed_by_the_web_tier_are_refused_or_leave_what_the_template_fixes(data: Any) -> None:
    octets = bytearray(data.draw(st.sampled_from(ORIGINAL)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(octets) - 1))
        kind = data.draw(st.sampled_from(("flip", "insert", "delete", "replace")))
        if kind == "flip":
            octets[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "delete":
            del octets[at : at + data.draw(st.integers(1, 8))]
        elif kind == "insert":
            octets[at:at] = data.draw(st.sampled_from(PIECES))
        else:
            octets[at : at + 1] = data.draw(st.binary(min_size=1, max_size=4))
    try:
        (template,) = parse_templates([parse_json_object(bytes(octets))])
        (built,) = built_work([template], SIGNER).built
    except PrivySealError:
        return
    # The documents that an independent reader finds are those that have to be authorised: the ledger's question.
    assert named(built) == (template.documents, SIGNER.certificate_sha256(), AT)
