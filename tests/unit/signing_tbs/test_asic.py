"""The manifest of a container and the signature over it, as others read and verify them."""

from __future__ import annotations

import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from signing.sam.algorithms import SHA256
from signing.sam.errors import TemplateRefused
from signing.sam.tbs.asic import AsicDocument, AsicSignature
from signing.sam.tbs.common import SignaturePolicy
from tests.documents import AT, Hand, cms_of

NS = {"asic": "http://uri.etsi.org/02918/v1.2.1#", "ds": "http://www.w3.org/2000/09/xmldsig#"}
SIGNATURE = "META-INF/signature001.p7s"


def test_the_manifest_names_signature_and_files_and_openssl_verifies_it(tmp_path: Path, hand_of_any_kind: Hand) -> None:
    hand = hand_of_any_kind
    files = {"a&b/two%20words.txt": b"one", "c.bin": b"\0"}
    references = tuple(AsicDocument(hand.digest(octets), uri, "image/svg+xml") for uri, octets in files.items())
    template = AsicSignature(SIGNATURE, references, "ProofOfApproval", SignaturePolicy("1.2.3", SHA256, bytes(32)))
    assert template.documents == tuple(hand.digest(octets) for octets in files.values())
    built = template.build(hand.signer)
    assert built.manifest is not None
    root: Any = etree.fromstring(built.manifest)
    assert etree.tostring(root, method="c14n") == built.manifest
    assert root.tag == f"{{{NS['asic']}}}ASiCManifest"
    assert root.xpath("asic:SigReference/@URI", namespaces=NS) == [SIGNATURE]
    assert root.xpath("asic:DataObjectReference/@URI", namespaces=NS) == list(files)
    assert root.xpath("asic:DataObjectReference/@MimeType", namespaces=NS) == ["image/svg+xml"] * 2
    digests = root.xpath("asic:DataObjectReference/ds:DigestValue/text()", namespaces=NS)
    assert tuple(map(b64decode, digests)) == template.documents
    found = {each["type"].native: each["values"][0].native for each in cms.CMSAttributes.load(built.tbs)}
    assert found["message_digest"] == hand.digest(built.manifest)
    octets = {
        "signature": cms_of(hand.der, hand.algorithm, built.tbs, hand.sign(hand.digest(built.tbs))),
        "manifest": built.manifest,
        "anchor": hand.certificate.public_bytes(Encoding.PEM),
    }
    for name, content in octets.items():
        (tmp_path / name).write_bytes(content)
    command = "openssl cms -verify -cades -binary -inform DER -in signature -content manifest -CAfile anchor"
    options = f"-partial_chain -purpose any -out out -attime {AT + 60}"
    subprocess.run([*command.split(), *options.split()], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "META-INF/signature002.p7s"},
        {"uri": "meta-inf/manifest.xml"},
        {"uri": "../a"},
        {"uri": "https://example.org/"},
        {"uri": 'a"'},
        {"mime_type": "text"},
        {"document": bytes(31)},
        {"document": bytes(64)},
    ],
    ids=str,
)
def test_SAD_09_a_file_that_the_template_does_not_take_is_refused(alice: Hand, change: dict[str, Any]) -> None:
    right = {"document": bytes(32), "uri": "a", "mime_type": "a/b"}
    with pytest.raises(TemplateRefused):
        AsicSignature(SIGNATURE, (AsicDocument(**{**right, **change}),)).build(alice.signer)


@pytest.mark.parametrize(
    "change",
    [
        {"signature_uri": "signature.p7s"},
        {"signature_uri": "META-INF/manifest.xml"},
        {"signature_uri": "META-INF/../signature.p7s"},
        {"signature_uri": 'META-INF/signature".p7s'},
        {"signature_uri": "META-INF/signature.p7s\n"},
        {"references": ()},
        {"references": (AsicDocument(bytes(32), "a", "a/b"),) * 2},
        {"references": tuple(AsicDocument(bytes(32), str(n), "a/b") for n in range(101))},
        {"commitment": "none"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_SAD_09_a_container_that_the_template_does_not_take_is_refused(change: dict[str, Any]) -> None:
    right: dict[str, Any] = {"signature_uri": SIGNATURE, "references": (AsicDocument(bytes(32), "a", "a/b"),)}
    with pytest.raises(TemplateRefused):
        AsicSignature(**{**right, **change})
