"""SignedProperties and SignedInfo: the octets are a canonicaliser's, and python-xmlsec verifies them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import xmlsec
from lxml import etree

from signing.sam.algorithms import SHA256
from signing.sam.errors import TemplateRefused
from signing.sam.tbs.common import Built, SignaturePolicy
from signing.sam.tbs.xades import XmlDocument, XmlSignature
from tests.documents import Hand, raw

DS = "http://www.w3.org/2000/09/xmldsig#"
XADES = "http://uri.etsi.org/01903/v1.3.2#"
NS = {"ds": DS, "xades": XADES}
POLICY = SignaturePolicy("1.2.3.4", SHA256, bytes(32))
INVOICE = """<Invoice xmlns="urn:example:invoice" xmlns:cac="urn:example:common" xmlns:unused="urn:example:unused"
 xml:lang="de" xml:space="preserve" xml:base="https://example.org/"
><cac:Amount currency='EUR'>5 &lt; 6 &amp; 7</cac:Amount
><!-- a note --><Note Id="note">Grüße\r\n</Note></Invoice>"""


def assembled(hand: Hand, built: Built, data: str = "") -> str:
    """A ds:Signature around the octets, as they are."""
    assert built.signed_properties is not None
    value = raw(hand, hand.sign(hand.digest(built.tbs)))
    signature_id = built.signed_properties.decode().partition('Id="')[2].partition("-properties")[0]
    return (
        f'<ds:Signature xmlns:ds="{DS}" Id="{signature_id}">{built.tbs.decode()}'
        f"<ds:SignatureValue>{b64encode(value).decode()}</ds:SignatureValue>"
        f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{b64encode(hand.der).decode()}"
        f"</ds:X509Certificate></ds:X509Data></ds:KeyInfo>{data}"
        f'<ds:Object><xades:QualifyingProperties xmlns:xades="{XADES}" Target="#{signature_id}">'
        f"{built.signed_properties.decode()}</xades:QualifyingProperties></ds:Object></ds:Signature>"
    )


def signature_in(root: Any) -> Any:
    """The ds:Signature of a parsed document."""
    return root if root.tag == f"{{{DS}}}Signature" else root.find(f".//{{{DS}}}Signature")


def check_octets(root: Any, built: Built) -> None:
    """What lxml's canonicaliser gives for the two subtrees where they stand is what was built."""
    info = root.find(f".//{{{DS}}}SignedInfo")
    properties = root.find(f".//{{{XADES}}}SignedProperties")
    assert etree.tostring(info, method="c14n", exclusive=True, with_comments=False) == built.tbs
    canonical = etree.tostring(properties, method="c14n", exclusive=True, with_comments=False)
    assert canonical == built.signed_properties


def check_verifies(root: Any, hand: Hand) -> None:
    """:raises xmlsec.Error: python-xmlsec does not verify it."""
    context = xmlsec.SignatureContext()
    xmlsec.tree.add_ids(root, ["Id"])
    context.key = xmlsec.Key.from_memory(hand.der, xmlsec.constants.KeyDataFormatCertDer, None)
    context.verify(signature_in(root))


def enveloped(hand: Hand, document: str, **changes: Any) -> tuple[Any, Built]:
    """The document with its signature within."""
    parsed = etree.fromstring(document.encode())
    digest = hand.digest(etree.tostring(parsed, method="c14n", with_comments=False))
    reference = XmlDocument(digest, "enveloped", "", "text/xml")
    built = XmlSignature("S-1", (reference,), **changes).build(hand.signer)
    head, _, tail = document.rpartition("</")
    return etree.fromstring(f"{head}{assembled(hand, built)}</{tail}".encode()), built


@pytest.mark.parametrize("changes", [{}, {"commitment": "ProofOfApproval", "policy": POLICY}])
def test_an_enveloped_signature_verifies_whatever_is_declared_around_it(
    hand_of_any_kind: Hand, changes: dict[str, Any]
) -> None:
    root, built = enveloped(hand_of_any_kind, INVOICE, **changes)
    check_octets(root, built)
    check_verifies(root, hand_of_any_kind)
    root[0].text = "500"
    with pytest.raises(xmlsec.Error):
        check_verifies(root, hand_of_any_kind)


def test_changed_properties_do_not_verify(alice: Hand) -> None:
    root, _ = enveloped(alice, INVOICE)
    root.find(f".//{{{XADES}}}SigningTime").text = "2020-01-01T00:00:00Z"
    with pytest.raises(xmlsec.Error):
        check_verifies(root, alice)


def test_an_element_of_the_same_document_and_what_another_holds_verify(hand_of_any_kind: Hand) -> None:
    hand = hand_of_any_kind
    note = etree.tostring(etree.fromstring(INVOICE.encode())[2], method="c14n", exclusive=True)
    content = b"any octets \x00\xff"
    references = (
        XmlDocument(hand.digest(content), "base64", "#object", "application/octet-stream"),
        XmlDocument(hand.digest(note), "element", "#note", "text/xml"),
    )
    built = XmlSignature("sig", references).build(hand.signer)
    data = f'<ds:Object Id="object">{b64encode(content).decode()}</ds:Object>'
    head, _, tail = INVOICE.rpartition("</")
    root = etree.fromstring(f"{head}{assembled(hand, built, data)}</{tail}".encode())
    check_octets(root, built)
    check_verifies(root, hand)
    encodings = [each.text for each in root.iterfind(f".//{{{XADES}}}Encoding")]
    assert encodings == [f"{DS}base64"]


def test_detached_files_of_a_container_verify(alice: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a b&c.txt": b"one", "folder/two's.bin": b"\0two"}
    references = []
    for name, octets in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(octets)
        references.append(XmlDocument(alice.digest(octets), "octets", name.replace(" ", "%20"), "image/svg+xml"))
    built = XmlSignature("_a.b-c", tuple(references)).build(alice.signer)
    assert b"a%20b&amp;c.txt" in built.tbs
    root = etree.fromstring(f'<asic:X xmlns:asic="urn:asic">{assembled(alice, built)}</asic:X>'.encode())
    check_octets(root, built)
    (tmp_path / "a%20b&c.txt").write_bytes(b"one")  # libxml2 opens the reference's text
    monkeypatch.chdir(tmp_path)
    check_verifies(root, alice)
    (tmp_path / "folder/two's.bin").write_bytes(b"\0Two")
    with pytest.raises(xmlsec.Error):
        check_verifies(root, alice)


def test_the_certificate_and_every_document_are_named(alice: Hand) -> None:
    references = tuple(XmlDocument(alice.digest(bytes([n])), "octets", f"{n}.txt", "a/b") for n in range(100))
    built = XmlSignature("S", references).build(alice.signer)
    root: Any = etree.fromstring(built.signed_properties or b"")
    info: Any = etree.fromstring(built.tbs)
    (value,) = root.xpath("//xades:SigningCertificateV2//ds:DigestValue/text()", namespaces=NS)
    assert value == b64encode(hashlib.sha256(alice.der).digest()).decode()
    assert root.xpath("//xades:SigningTime/text()", namespaces=NS) == ["2026-05-28T20:26:40Z"]
    objects = root.xpath("//xades:DataObjectFormat/@ObjectReference", namespaces=NS)
    ids = info.xpath("//ds:Reference/@Id", namespaces=NS)
    assert objects == [f"#{each}" for each in ids]
    assert len(ids) == 100


BROKEN: list[dict[str, Any]] = [
    {"uri": "https://example.org/a"},
    {"uri": "file:///etc/passwd"},
    {"uri": "/etc/passwd"},
    {"uri": "//example.org/a"},
    {"uri": "../a"},
    {"uri": "a/../../b"},
    {"uri": "a/%2E%2E/b"},
    {"uri": "%2E./b"},
    {"uri": "a%2F..%2Fb"},
    {"uri": "a%5C..%5Cb"},
    {"uri": "a//b"},
    {"uri": "a/"},
    {"uri": "."},
    {"uri": ""},
    {"uri": "a b"},
    {"uri": "a\tb"},
    {"uri": "a\n"},
    {"uri": "a?b"},
    {"uri": "a#b"},
    {"uri": "#a"},
    {"uri": 'a"b'},
    {"uri": "a<b"},
    {"uri": "a>b"},
    {"uri": "a\\b"},
    {"uri": "a%zz"},
    {"uri": "a%2f"},
    {"uri": "ä"},
    {"uri": "a\u202eb"},
    {"uri": "a" * 256},
    {"form": "enveloped", "uri": "a"},
    {"form": "enveloped", "uri": "#a"},
    {"form": "base64", "uri": "a"},
    {"form": "base64", "uri": ""},
    {"form": "base64", "uri": "#"},
    {"form": "element", "uri": "#xpointer(/)"},
    {"form": "element", "uri": "#a b"},
    {"form": "element", "uri": "#1a"},
    {"form": "element", "uri": "#a\n"},
    {"form": "element", "uri": "#S-1-properties"},
    {"form": "xslt"},
    {"form": "xslt", "uri": "#a"},
    {"form": ""},
    {"mime_type": "text/<b>"},
    {"mime_type": "text/xml\r"},
    {"mime_type": ""},
    {"document": bytes(20)},
    {"document": bytes(64)},
]


@pytest.mark.parametrize("change", BROKEN, ids=str)
def test_SAD_09_a_reference_that_the_template_does_not_take_is_refused(alice: Hand, change: dict[str, Any]) -> None:
    right = {"document": bytes(32), "form": "octets", "uri": "a.txt", "mime_type": "text/plain"}
    XmlSignature("S-1", (XmlDocument(**right),)).build(alice.signer)  # type: ignore[arg-type] # it is right
    with pytest.raises(TemplateRefused):
        XmlSignature("S-1", (XmlDocument(**{**right, **change}),)).build(alice.signer)


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "1"},
        {"id": "a:b"},
        {"id": 'a" Id="b'},
        {"id": "ä"},
        {"id": "a" * 65},
        {"id": "a\n"},
        {"references": ()},
        {"references": (XmlDocument(bytes(32), "octets", "a", "a/b"),) * 2},
        {"references": tuple(XmlDocument(bytes(32), "octets", str(n), "a/b") for n in range(101))},
        {"commitment": "<x/>"},
    ],
)
def test_SAD_09_a_signature_that_the_template_does_not_take_is_refused(change: dict[str, Any]) -> None:
    right = {"id": "S-1", "references": (XmlDocument(bytes(32), "octets", "a", "a/b"),)}
    with pytest.raises(TemplateRefused):
        XmlSignature(**{**right, **change})
