"""What makes a signed PDF last: the document security store and document time-stamps (ETSI EN 319 142-1 5.4).

B-LT is B-T with what is needed to validate it in the file; B-LTA is B-LT with a time-stamp over all of that
(6.3).  Either is a revision of its own, so what was signed stays as it was.  An archive is renewed by the same two
steps: what validates the last time-stamp goes in, and a new time-stamp goes over it, while the last one still is good.

There is no VRI dictionary: it is optional (5.4.2.3) and says nothing that the store does not say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, Final

from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from pyhanko.sign.fields import InvisSigSettings, SigFieldSpec, enumerate_sig_fields
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.constants import ESIC_EXTENSION_1
from pyhanko.sign.signers.pdf_byterange import DocumentTimestamp
from pyhanko.sign.validation.dss import DocumentSecurityStore

from signing.ades.pades import PreparedPdf
from signing.ades.revisions import parsing, writer_of
from signing.ades.validation_data import ValidationData

TOKEN_OCTETS: Final = 16 * 1024
"""Of the largest time-stamp token that a PDF is given room for; with its chain it is about 6 KiB."""
HASH_NAME: Final = "sha256"
"""Of what document time-stamps are over; of :mod:`hashlib`."""
_PLACEHOLDER: Any = DocumentTimestamp
"""Untyped: met here alone."""
Stamp = Callable[[bytes], bytes]
"""A SHA-256 digest to the DER TimeStampToken over it (RFC 3161 2.4.2); raises what it likes."""


def with_validation_data(pdf: bytes, data: ValidationData) -> bytes:
    """The file with these in its document security store, beside what is there (5.4.2).

    :returns: the file as it was, where all of it is there already.
    :raises DocumentNotAcceptable: no PDF, damaged or encrypted; or ``data`` cannot be read.
    """
    with parsing():
        writer = writer_of(pdf)
        store = DocumentSecurityStore.supply_dss_in_writer(
            writer,
            None,
            certs=_each(asn1_x509.Certificate, data.certificates),
            ocsps=_each(asn1_ocsp.OCSPResponse, data.ocsps),
            crls=_each(asn1_crl.CertificateList, data.crls),
        )
        if not store.modified:
            return pdf
        writer.register_extension(ESIC_EXTENSION_1)
        out = BytesIO()
        writer.write(out)
        return out.getvalue()


def with_document_timestamp(pdf: bytes, stamp: Stamp) -> bytes:
    """The file with a time-stamp over the whole of it (5.4.3).

    :raises DocumentNotAcceptable: no PDF, damaged or encrypted.
    :raises SignatureTooLarge: the token has no room.
    """
    prepared = _prepared(pdf)
    _, before, after, _ = prepared.byte_range
    view, digest = memoryview(prepared.octets), hashlib.new(HASH_NAME)
    digest.update(view[:before])
    digest.update(view[after:])
    return prepared.filled(stamp(digest.digest()))


def _prepared(pdf: bytes) -> PreparedPdf:
    out = BytesIO()
    with parsing():
        writer = writer_of(pdf)
        writer.register_extension(ESIC_EXTENSION_1)
        name = _free_field_name(writer.prev)
        spec = SigFieldSpec(name, invis_sig_settings=InvisSigSettings(), readable_field_name="Time-stamp")
        steps = PdfCMSEmbedder(new_field_spec=spec).write_cms(field_name=name, writer=writer)
        next(steps)
        steps.send(SigObjSetup(sig_placeholder=_PLACEHOLDER(bytes_reserved=2 * TOKEN_OCTETS)))
        hole, _ = steps.send(SigIOSetup(md_algorithm=HASH_NAME, output=out))
    octets = out.getvalue()
    before, after = hole.reserved_region_start, hole.reserved_region_end
    return PreparedPdf(octets, len(pdf), (0, before, after, len(octets) - after))


def _each(kind: Any, encoded: Iterable[bytes]) -> list[Any]:
    return [kind.load(each, strict=True) for each in encoded]


def _free_field_name(reader: Any) -> str:
    """``Timestamp1``, or the first number that no signature field has."""
    taken = {name for name, _, _ in enumerate_sig_fields(reader)}
    number = 1
    while f"Timestamp{number}" in taken:
        number += 1
    return f"Timestamp{number}"
