"""Prepared documents' way through the activation module: all of a request in one redemption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeVar

from foundation.jose import encode_base64url
from signing.ades.pades import PreparedPdf
from signing.csc import errors
from signing.csc.core import Rssp
from signing.csc.document_assembly import Prepared
from signing.csc.document_requests import SignDocRequest, Wish
from signing.csc.signatures import Presented, redeem
from signing.link.documents import Asker, SignDocumentsRequest, SignedDocument, SignPdfsRequest
from signing.link.frames import CHUNK_OCTETS

T = TypeVar("T")
R = TypeVar("R")


class Through(Protocol):
    """Wraps a call of the module."""

    def __call__(self, call: Callable[[T], R], /) -> Callable[[T], R]:
        """The same call, as it is to be made."""
        ...


def _directly(call: Callable[[T], R], /) -> Callable[[T], R]:
    return call


@dataclass(frozen=True, slots=True)
class Signing:
    """One request's way through the module."""

    rssp: Rssp
    presented: Presented
    request: SignDocRequest
    through: Through = _directly
    """What each call of the module goes through."""

    def sign(self, prepared: list[Prepared]) -> list[SignedDocument]:
        """What the module signed, in the order of the wishes."""
        try:
            return self._sign(prepared, self.presented)
        except errors.InvalidRequest as error:
            if error.description == errors.NOT_AUTHORIZED:
                raise errors.InvalidHash from error
            raise

    def allow_again(self) -> None:
        """Whether what was signed for this request, and was not finished, may be given out still.

        The module verifies it as it would verify a new one: an approval that was taken back since, or a credential
        that was suspended, gives nothing out (SAD-11).

        :raises errors.CscError: it refuses, or does not answer.
        """
        asked = SignDocumentsRequest(self._asker(self.presented), tuple(map(_template, self.request.wishes)))
        redeem(self.rssp, self.presented, self.through(self.rssp.sam.allow_again), asked)

    def _sign(self, prepared: list[Prepared], presented: Presented) -> list[SignedDocument]:
        """One request to the module, whatever the documents are: a proof is good once, and all are signed or none."""
        pdfs = [(place, each.wish, each.pdf) for place, each in enumerate(prepared) if each.pdf is not None]
        plain = [place for place, each in enumerate(prepared) if each.pdf is None]
        templates = tuple(_template(prepared[place].wish) for place in plain)
        asker = self._asker(presented)
        if not pdfs:
            asked = SignDocumentsRequest(asker, templates)
            return list(redeem(self.rssp, presented, self.through(self.rssp.sam.sign_documents), asked))
        request = SignPdfsRequest(asker, tuple(pdf.claim(wish.digest) for _, wish, pdf in pdfs), templates=templates)
        signed = redeem(self.rssp, presented, self.through(self._sign_pdfs), (request, [pdf for _, _, pdf in pdfs]))
        found = dict(zip([*(place for place, _, _ in pdfs), *plain], signed, strict=True))
        return [found[place] for place in range(len(prepared))]

    def _sign_pdfs(self, asked: tuple[SignPdfsRequest, list[PreparedPdf]]) -> tuple[SignedDocument, ...]:
        request, pdfs = asked
        return self.rssp.sam.sign_pdfs(request, pieces(pdfs), sum(len(pdf) for pdf in pdfs))

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


def pieces(pdfs: Sequence[PreparedPdf]) -> Iterator[bytes]:
    """Files one after another, small ones together: the module wakes for each piece."""
    waiting = bytearray()
    for chunk in chain.from_iterable(pdf.chunks() for pdf in pdfs):
        if not waiting and len(chunk) >= CHUNK_OCTETS:
            yield chunk
            continue
        waiting += chunk
        if len(waiting) >= CHUNK_OCTETS:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _template(wish: Wish) -> Mapping[str, Any]:
    return {
        "form": "cms",
        "document": encode_base64url(wish.digest),
        "mime_type": None,
        "description": None,
        "commitment": None,
        "policy": None,
    }
