"""PDFs with a baseline signature, in two halves around the activation module (ETSI EN 319 142-1 clauses 5 and 6.3).

A revision is appended whose signature is empty; the module digests the whole file itself and signs attributes that it
made; then the empty place is filled.  What was there before stays as it was, octet for octet: the module compares it
with the digest that the signer approved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PdfFileWriter
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.general import SigningError as PyHankoSigningError
from pyhanko.sign.signers import ExternalSigner, PdfSignatureMetadata, PdfSigner
from pyhanko_certvalidator.registry import SimpleCertificateStore

from documents.errors import DocumentRefused
from documents.faults import OF_PARSER
from documents.reading import check_numbers, let_go
from foundation.jose import encode_base64url
from signing.ades import plain
from signing.ades.appearance import Facts, Look
from signing.ades.drawing import NOTHING, show
from signing.ades.errors import DocumentNotAcceptable, SignatureTooLarge
from signing.ades.fields import Place, check_seed, find

_HEADER: Final = b"%PDF-"
_HEADER_WITHIN: Final = 1024
"""Octets: where readers look for the header (ISO 32000-2 7.5.2, annex I)."""
_CHUNK: Final = 64 * 1024
_PLACEHOLDER_OCTETS: Final = 256
_LEAST_VERSION: Final = (1, 7)
"""Of PDF, to which pyHanko raises every document that it appends to."""
DEFAULT_PERMISSIONS: Final = 2
_NOWHERE: Final = Place()
_PLAIN: Final = Look()
_STORE: Any = SimpleCertificateStore
_READER: Any = PdfFileReader
_WRITER: Any = PdfFileWriter
"""Partly typed: met here alone."""
_FAULTS: Final = (
    *OF_PARSER,
    DocumentRefused,
    PyHankoSigningError,
)


@dataclass(frozen=True, slots=True)
class Stated:
    """What the signature dictionary says; nobody vouches for it (ISO 32000-2 table 255)."""

    reason: str | None = None
    location: str | None = None
    contact: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedPdf:
    """A PDF whose last revision has an empty signature."""

    octets: bytes = field(repr=False)
    """The whole file, the hole filled with zeros."""
    approved_octets: int
    """Length of the document without that revision."""
    byte_range: tuple[int, int, int, int]

    def claim(self, digest: bytes) -> dict[str, Any]:
        """What the activation module is told of it.

        :param digest: of the document without that revision, as approved.
        """
        return {
            "document": encode_base64url(digest),
            "approved_octets": self.approved_octets,
            "byte_range": list(self.byte_range),
        }

    def __len__(self) -> int:
        """Octets of the whole file."""
        return len(self.octets)

    def chunks(self) -> Iterator[bytes]:
        """The file, in pieces."""
        view = memoryview(self.octets)
        for start in range(0, len(view), _CHUNK):
            yield bytes(view[start : start + _CHUNK])

    def filled(self, signature: bytes) -> bytes:
        """The signed file.

        :param signature: DER ContentInfo.
        :raises SignatureTooLarge: it has no room.
        """
        _, before, after, _ = self.byte_range
        room = after - before - 2
        text = signature.hex().encode()
        if len(text) > room:
            raise SignatureTooLarge("the signature does not fit into the place that was left for it")
        # Between angle brackets, which the byte range leaves out as well (EN 319 142-1 5.3).
        whole = memoryview(self.octets)
        return b"".join((whole[: before + 1], text, b"0" * (room - len(text)), whole[after - 1 :]))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the signature is to be besides its cryptography."""

    stated: Stated = Stated()
    certify: bool = False
    """As a certification signature (ISO 32000-2 12.8.2.2)."""
    permissions: int = DEFAULT_PERMISSIONS
    """Of a certification: 1 nothing, 2 filling in and signing, 3 annotating too may come after it."""
    place: Place = _NOWHERE
    look: Look = _PLAIN
    timestamped: bool = False
    """Whether a signature time-stamp will be in it: a field may demand one."""

    @property
    def is_plain(self) -> bool:
        """Whether it is an approval signature that shows nothing, in whatever field."""
        return not self.certify and self.place == _NOWHERE and not self.look


def prepare(
    document: bytes, certificate: bytes, *, hash_name: str, room: int, at: datetime, wanted: Wanted = Wanted()
) -> PreparedPdf:
    """Append a revision with an empty signature.

    :param certificate: DER, the signer's: its subject may be shown, and fields may demand something of it.
    :param hash_name: of :mod:`hashlib`.
    :param room: octets for the signature.
    :param at: aware; what the signature dictionary says as the time of signing, which nobody vouches for.
    :raises DocumentNotAcceptable: no PDF, damaged, encrypted, or certified against further signatures.
    :raises FieldNotAcceptable: the field or the place cannot be signed in, or not so.
    :raises AppearanceNotAcceptable: what is to be seen cannot be shown there.
    """
    if _HEADER not in document[:_HEADER_WITHIN]:
        raise DocumentNotAcceptable("the document is not a PDF")
    try:
        # Closed, so that the document is free at once, whatever refers to it still.
        with BytesIO(document) as stream:
            reader = _READER(stream)
            with let_go(reader):
                if reader.encrypted:
                    raise DocumentNotAcceptable("the PDF is encrypted")
                check_numbers(reader)
                task = _Task(document, certificate, hash_name, room, at, wanted)
                if wanted.is_plain and (made := _plain(reader, task)):
                    return made
                return _by_library(_Appending.from_reader(reader), task)
    except _FAULTS as error:
        raise DocumentNotAcceptable("the PDF is damaged, or does not take another signature") from error


def digest(document: bytes, hash_name: str) -> bytes:
    """What the signer approves: the digest of the document as it came.

    :param hash_name: of :mod:`hashlib`.
    """
    return hashlib.new(hash_name, document).digest()


class _Appending(IncrementalPdfFileWriter):
    """Writes what is new only, to where it will stand."""

    def _write_header(self, stream: Any) -> None:
        """The document stays where it is."""

    def _update_meta(self) -> None:
        """What is said of the document stays as well: a signature is no new edition, and has a time of its own."""


class _Tail(BytesIO):
    """A file's end: positions count from the file's beginning."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self._start = start

    def tell(self) -> int:
        return super().tell() + self._start

    def seek(self, position: int, whence: int = 0, /) -> int:
        return super().seek(position - self._start if whence == 0 else position, whence) + self._start


@dataclass(frozen=True, slots=True)
class _Task:
    """What :func:`prepare` is asked for."""

    document: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    hash_name: str
    room: int
    at: datetime
    wanted: Wanted


def _plain(reader: PdfFileReader, task: _Task) -> PreparedPdf | None:
    """The plainest revision, written here; None: the document needs another one."""
    document, stated = task.document, task.wanted.stated
    texts = {
        "/M": str(generic.pdf_date(task.at)),
        "/Reason": stated.reason,
        "/Location": stated.location,
        "/ContactInfo": stated.contact,
    }
    objects = plain.Objects(reader, document)
    # First of all, so that the catalogue is read once: its version is asked for now.
    objects.owned(reader.root_ref)
    entries = _of_catalogue(task.certificate, task.hash_name, reader.input_version)
    made = plain.revision(objects, plain.Said(entries, task.room, texts))
    if made is None:
        return None
    octets = document + made.octets
    return PreparedPdf(octets, len(document), (0, made.before, made.after, len(octets) - made.after))


@lru_cache(maxsize=256)
def _of_catalogue(certificate: bytes, hash_name: str, version: tuple[int, int]) -> Mapping[str, bytes]:
    """What pyHanko says in the catalogue for a signature with that certificate's key (ISO 32000-2 7.12).

    :param version: of the document.
    """
    writer, out = _WRITER(), BytesIO()
    # As it would append to a document of that version.
    writer.output_version = max(_LEAST_VERSION, version)
    metadata = PdfSignatureMetadata(md_algorithm=hash_name, subfilter=SigSeedSubFilter.PADES)
    PdfSigner(metadata, signer=_signer(certificate)).register_extensions(writer, md_algorithm=hash_name)
    entries = {}
    if "/Extensions" in writer.root:
        writer.root["/Extensions"].write_to_stream(out)
        entries["/Extensions"] = out.getvalue()
    if writer.output_version > version:
        entries["/Version"] = b"/%d.%d" % writer.output_version
    return entries


def _by_library(writer: IncrementalPdfFileWriter, task: _Task) -> PreparedPdf:
    """Any revision, written by pyHanko."""
    document, wanted, stated = task.document, task.wanted, task.wanted.stated
    found = find(writer, wanted.place)
    metadata = PdfSignatureMetadata(
        field_name=found.name,
        md_algorithm=task.hash_name,
        subfilter=SigSeedSubFilter.PADES,
        reason=stated.reason,
        location=stated.location,
        contact_info=stated.contact,
        certify=wanted.certify,
        docmdp_permissions=MDPPerm(wanted.permissions),
    )
    session = PdfSigner(
        metadata, signer=_signer(task.certificate), stamp_style=NOTHING, new_field_spec=found.spec
    ).init_signing_session(writer, existing_fields_only=found.spec is None)
    session.system_time = task.at
    check_seed(session.sig_field, timestamped=wanted.timestamped)
    facts = Facts(_name_of(task.certificate), task.at, stated.reason, stated.location)
    show(writer, session.sig_field, wanted.look, facts, found.rotation)
    tail = _Tail(len(document))
    hole, _ = session.prepare_tbs_document(None, bytes_reserved=2 * task.room).digest_tbs_document(output=tail)
    octets = document + tail.getbuffer()
    before, after = hole.reserved_region_start, hole.reserved_region_end
    return PreparedPdf(octets, len(document), (0, before, after, len(octets) - after))


@lru_cache(maxsize=16)
def _signer(certificate: bytes) -> ExternalSigner:
    """What pyHanko takes for a signer: it says whose certificate it is, and signs nothing."""
    return ExternalSigner(
        signing_cert=asn1_x509.Certificate.load(certificate),
        cert_registry=_STORE(),
        signature_value=_PLACEHOLDER_OCTETS,
    )


@lru_cache(maxsize=16)
def _name_of(certificate: bytes) -> str:
    """The subject's common name, or what there is."""
    subject = asn1_x509.Certificate.load(certificate).subject
    said = subject.native
    name = said.get("common_name") or said.get("organization_name") or subject.human_friendly
    return name if isinstance(name, str) else str(name[0])
