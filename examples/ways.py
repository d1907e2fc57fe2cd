"""Two ways to a signed PDF: hand the document over, or keep it and have the digest of its signed attributes signed.

Whole (the default): the relying party sends the PDF to `signatures/signDoc`, and gets it back signed, with time-stamp
and all that validates it later (PAdES B-LT). The person approves the digest of the document itself, which every program
can compute. Kept: the relying party makes the signature, and sends nothing but a digest to `signatures/signHash`; what
the person approves is a digest of attributes that only the relying party has seen, and the result is PAdES B-B.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import requests

from clients.csc import Scheme
from examples import csc_client, oauth_client, pdf_signing
from examples.csc_client import Credential
from examples.errors import SignatureValueError
from examples.pdf_signing import Verdict

WAYS = ("whole", "kept")
LEVELS = ("Ades-B-B", "Ades-B-T", "Ades-B-LT", "Ades-B-LTA")
DEFAULT_LEVEL = "Ades-B-LT"


class Order(Protocol):
    """A PDF that waits for the person's approval. Holds bytes, text and numbers alone: store it as you like."""

    @property
    def digest(self) -> bytes:
        """What the person approves."""

    @property
    def scheme(self) -> Scheme:
        """Hash function and signature algorithm."""

    @property
    def subject(self) -> str:
        """Of what the digest is, in words for the person."""

    @property
    def level(self) -> str:
        """What comes back, one of `LEVELS`."""

    @property
    def done_by(self) -> str:
        """The method of the CSC API."""

    def details(
        self, credential_id: str, label: str, csc: str, location: Mapping[str, object] | None = None
    ) -> list[dict[str, object]]:
        """`authorization_details` that ask for the approval.

        :param location: where the provider finds the document, to show it (`shown_documents.location`).
        """

    def redeem(self, http: requests.Session, csc: str, sad: str, credential_id: str) -> bytes:
        """Spend the SAD; the signed PDF.

        :raises SignatureValueError: what came back is not this document, signed.
        """


@dataclass(frozen=True, slots=True)
class WholeDocument:
    """The document is handed over."""

    pdf: bytes = field(repr=False)
    scheme: Scheme
    level: str = DEFAULT_LEVEL
    subject: str = "the document"
    done_by: str = "signatures/signDoc"

    @property
    def digest(self) -> bytes:
        """Of the PDF as it is."""
        return hashlib.new(self.scheme.hash_name, self.pdf).digest()

    def details(
        self, credential_id: str, label: str, csc: str, location: Mapping[str, object] | None = None
    ) -> list[dict[str, object]]:
        """See `Order`: the digest is one of a document (`hashType` `sdr`, CSC API 2.2)."""
        documents, locations = [(_text(self.digest), label)], [] if location is None else [location]
        return oauth_client.document_details(credential_id, documents, self.scheme.hash_oid, csc, locations)

    def redeem(self, http: requests.Session, csc: str, sad: str, credential_id: str) -> bytes:
        """See `Order`."""
        signed = csc_client.sign_document(
            http,
            csc,
            sad,
            credential_id=credential_id,
            document=self.pdf,
            level=self.level,
            hash_algorithm_oid=self.scheme.hash_oid,
            sign_algo=self.scheme.sign_algo,
            sign_algo_params=self.scheme.params_base64,
        )
        # A signature is an incremental update: whatever else came back is another document.
        if not signed.startswith(self.pdf) or len(signed) == len(self.pdf):
            message = "What came back is not the document that was handed over, with a signature appended."
            raise SignatureValueError(message)
        return signed


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """The document stays here."""

    prepared: pdf_signing.Prepared
    level: str = LEVELS[0]
    subject: str = "the data to be signed"
    done_by: str = "signatures/signHash"

    @property
    def digest(self) -> bytes:
        """Of the signed attributes."""
        return self.prepared.dtbsr

    @property
    def scheme(self) -> Scheme:
        """See `Order`."""
        return self.prepared.scheme

    def details(
        self, credential_id: str, label: str, csc: str, location: Mapping[str, object] | None = None
    ) -> list[dict[str, object]]:
        """See `Order`: that the digest is one of this document, nobody else could tell, so it is not shown."""
        documents = [(self.prepared.dtbsr_base64, label)]
        return oauth_client.credential_details(credential_id, documents, self.scheme.hash_oid, csc)

    def redeem(self, http: requests.Session, csc: str, sad: str, credential_id: str) -> bytes:
        """See `Order`."""
        values = csc_client.sign_hash(
            http,
            csc,
            sad,
            credential_id=credential_id,
            hashes=[self.prepared.dtbsr_base64],
            hash_algorithm_oid=self.scheme.hash_oid,
            sign_algo=self.scheme.sign_algo,
            sign_algo_params=self.scheme.params_base64,
        )
        return pdf_signing.assemble(self.prepared, values[0])


def prepare(way: str, pdf: bytes, credential: Credential, level: str = DEFAULT_LEVEL) -> Order:
    """Prepare a PDF for the person's approval.

    :param way: one of `WAYS`.
    :param level: one of `LEVELS`, for a document that is handed over.
    :raises PdfNotAcceptableError: it cannot be signed.
    """
    if way == "kept":
        return KeptDocument(pdf_signing.prepare(pdf, credential.certificates, prefer_pss=credential.prefers_pss))
    pdf_signing.check_acceptable(pdf)
    scheme = pdf_signing.choose_scheme(credential.certificates[0], prefer_pss=credential.prefers_pss)
    return WholeDocument(pdf, scheme, level)


def judge(order: Order, signed: bytes, roots: Sequence[bytes], *, revocation: bool) -> Verdict:
    """The verdict on what came back: valid only if it is of the level that was ordered.

    :param roots: DER certificates that are trusted.
    :param revocation: insist on answers about revocation, where the file does not carry them.
    """
    verdict = pdf_signing.verify(signed, roots, fetch_revocation=revocation, hard_fail=revocation)
    wanted = order.level.removeprefix("Ades-")
    if not verdict.bottom_line or verdict.level == wanted:
        return verdict
    return replace(verdict, bottom_line=False, problem=f"The signature is of level {verdict.level}, and not {wanted}.")


def offered(info: Mapping[str, object]) -> Sequence[str]:
    """Levels that the service says it reaches, as its `info` has them."""
    levels = info.get("conformance_levels")
    return [each for each in levels if isinstance(each, str)] if isinstance(levels, list) else []


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
