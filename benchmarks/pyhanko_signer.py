"""The peer of ``documents``: how fast pyHanko signs the same file, warm, with a local P-256 key, one after another.

A process of its own, so that its memory is its own.  Its certificate comes from the stand's authority; for level B-LT
it asks the same authorities for stamps and revocation data as the product does.  Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import keys, pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, SimpleSigner
from pyhanko.sign.timestamps.requests_client import HTTPTimeStamper
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.fetchers.requests_fetchers import RequestsFetcherBackend
from pyhanko_certvalidator.registry import SimpleCertificateStore

from connectors import registry
from connectors.ports.pki import CertificateAuthority, CertificateRequest, SubjectName

_STORE: Any = SimpleCertificateStore
_KEY: Any = keys.PrivateKeyInfo
_STAMPER: Any = HTTPTimeStamper
_BACKEND: Any = RequestsFetcherBackend
"""Partly typed: met here alone."""
RESERVED: int = 32 * 1024
"""Octets in hexadecimal: given, so that pyHanko does not sign twice to find out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Sign for so many seconds and print the rate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pyhanko_signer", description=__doc__)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--ca", required=True, help="address of the development authority")
    parser.add_argument("--ca-token", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--tsa", help="address of a time-stamping authority; with it: level B-LT")
    options = parser.parse_args(argv)
    document = options.file.read_bytes()
    sign = _signing(document, options)
    before = _peak()
    sign()
    count, began, spent = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < options.seconds or count < 3:
        sign()
        count += 1
    spent = time.process_time() - spent
    print(json.dumps({"documents": count, "per_cpu_second": count / spent, "peak": _peak(), "before": before}))
    return 0


def _signing(document: bytes, options: argparse.Namespace) -> Callable[[], None]:
    key = ec.generate_private_key(ec.SECP256R1())
    chain = [asn1_x509.Certificate.load(der) for der in _certified(key, options)]
    (_, _, root), *_ = pem.unarmor(options.root.read_bytes(), multiple=True)
    store = _STORE()
    store.register_multiple(chain)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    signer = SimpleSigner(signing_cert=chain[0], signing_key=_KEY.load(private), cert_registry=store)
    stamper = None if options.tsa is None else _STAMPER(options.tsa)
    anchor = asn1_x509.Certificate.load(root)

    async def sign() -> None:
        context = None
        if stamper is not None:
            context = ValidationContext(
                trust_roots=[anchor], other_certs=chain, allow_fetching=True, fetcher_backend=_BACKEND()
            )
        metadata = PdfSignatureMetadata(
            field_name="Signature1",
            md_algorithm="sha256",
            subfilter=SigSeedSubFilter.PADES,
            embed_validation_info=stamper is not None,
            validation_context=context,
        )
        output = BytesIO()
        await PdfSigner(metadata, signer=signer, timestamper=stamper).async_sign_pdf(
            IncrementalPdfFileWriter(BytesIO(document)), bytes_reserved=RESERVED, output=output
        )

    loop = asyncio.new_event_loop()
    return lambda: loop.run_until_complete(sign())


def _certified(key: ec.EllipticCurvePrivateKey, options: argparse.Namespace) -> tuple[bytes, ...]:
    subject = SubjectName("Alice Example", "Alice", "Example", None, "BE")
    names = [
        x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "BE"),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "Alice Example"),
        x509.NameAttribute(x509.NameOID.GIVEN_NAME, "Alice"),
        x509.NameAttribute(x509.NameOID.SURNAME, "Example"),
    ]
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    settings = {"base_url": options.ca, "token_file": str(options.ca_token)}
    authority: CertificateAuthority = registry.load("pki", "devca", settings, production=False)
    name = f"pyhanko-{time.monotonic_ns()}"
    return authority.issue(CertificateRequest(asked.public_bytes(Encoding.DER), subject, "signer", name)).chain


def _peak() -> int:
    """Octets of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
