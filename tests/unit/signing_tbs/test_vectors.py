"""The published vectors: each is built as it says, or refused; and the PDF among them is one."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from joserfc.jwk import ECKey
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

from foundation.jose import decode_base64url
from signing.sam.errors import DigestNotAuthorized, SamError, TemplateRefused
from tests.documents import PreparedPdf, cms_of, sign
from tests.vectors.sad.make import PINNED
from tests.vectors.tbs import make

FOLDER = Path(make.__file__).parent
VALID, INVALID, PDFS = (sorted((FOLDER / name).glob("*.json")) for name in ("valid", "invalid", "pdf"))


def load(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def test_the_vectors_are_those_that_the_script_makes() -> None:
    assert {path.stem for path in VALID} == {name for name, *_ in make.valid()}
    assert {path.stem for path in INVALID} == {name for name, *_ in make.invalid()}
    assert {path.stem for path in PDFS} == {name for name, *_ in make.pdfs()}
    assert {path.stem: load(path)["request"] for path in INVALID} == {name: one for name, _, one in make.invalid()}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_is_built_as_it_says(path: Path) -> None:
    vector = load(path)
    assert make.built(vector["request"], make.signers()[vector["signer"]]) == vector["built"]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_SAD_09_an_invalid_vector_is_refused(path: Path) -> None:
    with pytest.raises((TemplateRefused, DigestNotAuthorized)):
        make.built(load(path)["request"], make.signers()["p256"])


@pytest.mark.parametrize("path", PDFS, ids=lambda path: path.stem)
def test_SAD_09_a_pdf_is_measured_as_its_vector_says_or_refused(path: Path) -> None:
    vector = load(path)
    file, signer = decode_base64url(vector["file"].encode()), make.signers()[vector["signer"]]
    if vector["built"] is None:
        with pytest.raises(SamError):
            make.measured(file, vector["request"], signer)
    else:
        assert make.measured(file, vector["request"], signer) == vector["built"]


def test_the_pdf_that_is_right_is_one_that_pyhanko_finds_valid() -> None:
    vector = load(FOLDER / "pdf" / "right.json")
    signer, request = make.signers()[vector["signer"]], vector["request"]
    first, before, after, rest = request["byte_range"]
    pdf = PreparedPdf(
        decode_base64url(vector["file"].encode()), request["approved_octets"], (first, before, after, rest)
    )
    key: Any = ECKey.import_key({**PINNED}).private_key
    certificate = x509.load_der_x509_certificate(signer.certificate)
    assert certificate.public_key() == key.public_key()
    value = sign(key, signer.algorithm, decode_base64url(vector["built"]["digest"].encode()))
    tbs = decode_base64url(vector["built"]["tbs"].encode())
    signed = pdf.filled(cms_of(signer.certificate, signer.algorithm, tbs, value))
    reader: Any = PdfFileReader
    context = ValidationContext(trust_roots=[asn1_x509.Certificate.load(signer.certificate)], allow_fetching=False)
    (embedded,) = reader(BytesIO(signed)).embedded_signatures
    status = asyncio.run(async_validate_pdf_signature(embedded, context))
    assert status.bottom_line
    assert status.coverage is SignatureCoverageLevel.ENTIRE_FILE
