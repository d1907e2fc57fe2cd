"""Documents signed by a serving module on SoftHSM2, as a web tier asks for them; and one that lies gets nothing."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from contract import sad as sads
from contract.sad import Sad
from foundation.jose import encode_base64url
from signing.link import codes
from signing.link.client import SamClient
from signing.link.documents import Asker, SignDocumentsRequest, SignPdfsRequest
from signing.link.errors import LinkRefused
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from tests.documents import blank_pdf, cms_of, hand, prepared_pdf
from tests.fakes.sam import CLIENT, ECDSA_SHA256
from tests.integration.sam_site import Site, make_site

pytestmark = pytest.mark.hsm
ECDSA = SignatureAlgorithm("ecdsa", SHA256)
DOCUMENT = b"What is signed.\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    site.write_config()
    site.init()
    return site


def asker(site: Site, sad: Sad) -> Asker:
    return Asker(sads.encode(sad, site.idp_key), CLIENT, sad.credential_id, None, ECDSA_SHA256)


def cms(digest: bytes) -> dict[str, Any]:
    return {
        "form": "cms",
        "document": encode_base64url(digest),
        "mime_type": "text/plain",
        "description": None,
        "commitment": "ProofOfApproval",
        "policy": None,
    }


def chunks(octets: bytes) -> Iterator[bytes]:
    for start in range(0, len(octets), 10_000):
        yield octets[start : start + 10_000]


def test_SAD_09_documents_are_signed_over_the_link_and_a_lying_web_tier_gets_nothing(
    site: Site, tmp_path: Path
) -> None:
    digest, pdf = hashlib.sha256(DOCUMENT).digest(), blank_pdf()
    pdf_digest = hashlib.sha256(pdf).digest()
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
        sad = site.sad(view, (digest, pdf_digest), hash_type="sdr")
        with pytest.raises(LinkRefused) as refusal:
            client.sign_documents(SignDocumentsRequest(asker(site, sad), (cms(bytes(32)),)))
        assert refusal.value.refusal == codes.HASH_NOT_AUTHORIZED
        with pytest.raises(LinkRefused) as refusal:
            client.sign_documents(SignDocumentsRequest(asker(site, sad), ({**cms(digest), "more": ""},)))
        assert refusal.value.refusal == codes.INVALID_TEMPLATE

        (signed,) = client.sign_documents(SignDocumentsRequest(asker(site, sad), (cms(digest),)))
        prepared = prepared_pdf(pdf, hand(ec.generate_private_key(ec.SECP256R1()), ECDSA))
        asked = SignPdfsRequest(asker(site, sad), (prepared.request(encode_base64url(pdf_digest)),))
        other = blank_pdf("(another)").ljust(len(pdf), b"\n")[: len(pdf)] + prepared.octets[len(pdf) :]
        with pytest.raises(LinkRefused) as refusal:
            client.sign_pdfs(asked, chunks(other), len(other))
        assert refusal.value.refusal == codes.HASH_NOT_AUTHORIZED
        (in_pdf,) = client.sign_pdfs(asked, chunks(prepared.octets), len(prepared.octets))
        with pytest.raises(LinkRefused) as refusal:
            client.sign_pdfs(asked, chunks(prepared.octets), len(prepared.octets))
        assert refusal.value.refusal == codes.SAD_USED

    certificate = view.certificates[0]
    root = site.authority.certificate
    (tmp_path / "signature").write_bytes(cms_of(certificate, ECDSA, signed.tbs, signed.value))
    (tmp_path / "document").write_bytes(DOCUMENT)
    (tmp_path / "root").write_bytes(root.public_bytes(Encoding.PEM))
    command = "openssl cms -verify -cades -binary -inform DER -in signature -content document -CAfile root -purpose any"
    subprocess.run([*command.split(), "-out", "out"], cwd=tmp_path, check=True, capture_output=True)
    reader: Any = PdfFileReader
    file = prepared.filled(cms_of(certificate, ECDSA, in_pdf.tbs, in_pdf.value))
    anchor = asn1_x509.Certificate.load(root.public_bytes(Encoding.DER))
    context = ValidationContext(trust_roots=[anchor], allow_fetching=False)
    (embedded,) = reader(BytesIO(file)).embedded_signatures
    assert asyncio.run(async_validate_pdf_signature(embedded, context)).bottom_line
