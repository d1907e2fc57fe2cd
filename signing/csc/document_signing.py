"""Prepared documents' way through the activation module: what it is asked, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foundation.jose import encode_base64url
from signing.ades.pades import PreparedPdf
from signing.csc import errors
from signing.csc.core import Rssp
from signing.csc.document_assembly import Prepared
from signing.csc.document_requests import SignDocRequest, Wish
from signing.csc.signatures import Presented, redeem
from signing.link.documents import Asker, SignDocumentsRequest, SignedDocument, SignPdfRequest


@dataclass(frozen=True, slots=True)
class Signing:
    """One request's way through the module."""

    rssp: Rssp
    presented: Presented
    request: SignDocRequest

    def sign(self, prepared: list[Prepared]) -> list[SignedDocument]:
        """What the module signed, in the order of the wishes."""
        try:
            return self._sign(prepared, self.presented)
        except errors.InvalidRequest as error:
            if error.description == errors.NOT_AUTHORIZED:
                raise errors.InvalidHash from error
            raise

    def _sign(self, prepared: list[Prepared], presented: Presented) -> list[SignedDocument]:
        sam, found = self.rssp.sam, {}
        plain = [(place, each) for place, each in enumerate(prepared) if each.pdf is None]
        if plain:
            asked = SignDocumentsRequest(self._asker(presented), tuple(_template(each.wish) for _, each in plain))
            signed = redeem(self.rssp, presented, sam.sign_documents, asked)
            found = {place: one for (place, _), one in zip(plain, signed, strict=True)}
        for place, each in enumerate(prepared):
            if each.pdf is not None:
                found[place] = redeem(self.rssp, presented, self._sign_pdf, (presented, each.wish, each.pdf))
        return [found[place] for place in range(len(prepared))]

    def _sign_pdf(self, asked: tuple[Presented, Wish, PreparedPdf]) -> SignedDocument:
        presented, wish, pdf = asked
        request = SignPdfRequest(self._asker(presented), pdf.claim(wish.digest))
        return self.rssp.sam.sign_pdf(request, pdf.chunks(), len(pdf.octets))

    def _asker(self, presented: Presented) -> Asker:
        request = self.request
        return Asker(
            sad=presented.sad,
            client_id=presented.client_id,
            credential_id=request.credential_id,
            hash_alg=request.hash_algorithm,
            sign_algo=request.sign_algorithm,
            sign_algo_params=request.sign_algorithm_parameters,
            dpop=presented.dpop,
            certificate=presented.certificate,
        )


def _template(wish: Wish) -> Mapping[str, Any]:
    return {
        "form": "cms",
        "document": encode_base64url(wish.digest),
        "mime_type": None,
        "description": None,
        "commitment": None,
        "policy": None,
    }
