"""``signatures/signDoc`` (CSC API 2.0.0.2 11.11): documents in, signatures out, around what the module built.

What can be found wrong is found before anything is spent: the request, and every PDF of it, is read and prepared first.
But no PDF is read, and no credential looked for, before the SAD has been verified and is seen to be for that document:
a stranger's file costs nothing, and its answer tells nothing (DOS-01, OAU-17).
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from contract.sad import Sad
from foundation.jose import encode_base64url
from signing.ades import pades
from signing.ades.cms import SignedByModule, room_for, signed_data
from signing.ades.errors import DocumentNotAcceptable
from signing.ades.pades import PreparedPdf, Stated
from signing.csc import errors
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.document_requests import STAMPED, SignDocRequest, Wish, levels, parse_sign_doc
from signing.csc.signatures import Presented, redeem, redeemer_of, verified
from signing.csc.stamper import TimestampRequest
from signing.link.documents import Asker, SignDocumentsRequest, SignedDocument, SignPdfRequest
from signing.settings import WebSettings

_SIGNATURE_OCTETS: Final = 512
"""Of the longest value of a key that is offered."""
_TOKEN_OCTETS: Final = 16 * 1024
"""Of the largest time-stamp token that a PDF has room for."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A wish that can be carried out."""

    wish: Wish
    pdf: PreparedPdf | None = field(default=None, repr=False)


def offered(settings: WebSettings) -> bool:
    """Whether SADs can be verified here: a document is not read for whoever made one up."""
    return bool(settings.issuer.sad_keys)


def sign_doc(rssp: Rssp, call: Call) -> Answer:
    """``signatures/signDoc``: each document's signature in the request's order, of its kind.

    :raises errors.CscError: with the specification's words.
    """
    redeemer = redeemer_of(rssp, call)
    request = parse_sign_doc(call.body, levels(rssp.settings))
    presented = redeemer.present(rssp, request.sad)
    content = verified(rssp, presented.sad, redeemer)
    _check_approved(request, content)
    _check_one_proof(request, content)
    # Client and person were counted when it was verified.
    presented = replace(presented, whose=(("credential", content.credential_id),))
    chain = _chain(rssp, content.credential_id)
    prepared = [_prepare(wish, chain) for wish in request.wishes]
    signed = _Signing(rssp, presented, request).sign(prepared)
    made = [_assemble(rssp, each, done, chain) for each, done in zip(prepared, signed, strict=True)]
    answer: dict[str, Any] = {}
    for member, of_pdf in (("DocumentWithSignature", True), ("SignatureObject", False)):
        found = [base64.b64encode(octets).decode() for each, octets in made if (each.pdf is not None) is of_pdf]
        if found:
            answer[member] = found
    return Answer(answer)


def _check_approved(request: SignDocRequest, sad: Sad) -> None:
    """What the module will say of it anyway.

    :raises errors.CscError: another credential, or documents that were not approved.
    """
    if sad.credential_id != request.credential_id:
        raise errors.invalid("credentialID")
    if sad.dtbsr and Counter(wish.digest for wish in request.wishes) - Counter(sad.dtbsr):
        raise errors.InvalidHash


def _check_one_proof(request: SignDocRequest, sad: Sad) -> None:
    """The module is asked once for each PDF, and once for all else; a request has one proof, which is good once.

    :raises errors.InvalidRequest: the second would be refused, after the first was spent.
    """
    pdfs = sum(wish.form == "P" for wish in request.wishes)
    asked = pdfs + (pdfs < len(request.wishes))
    if asked > 1 and sad.cnf is not None and sad.cnf.method == "jkt":
        raise errors.invalid_of("array", "documents")


def _chain(rssp: Rssp, credential_id: str) -> tuple[bytes, ...]:
    # Certificates are no secret, and nobody sees these but whose SAD the module then redeems.
    try:
        view = rssp.ask(rssp.sam.credential, credential_id)
    except errors.InvalidRequest as error:
        # No SAD is good for a credential that is not there: one that says so is refused as the module would one for
        # somebody else's, so that an answer does not tell which credentials exist.
        raise errors.invalid("SAD") from error
    if not view.certificates:
        raise errors.invalid("SAD")
    return view.certificates


def _prepare(wish: Wish, chain: tuple[bytes, ...]) -> _Prepared:
    if wish.form != "P" or wish.document is None:
        return _Prepared(wish)
    try:
        pdf = pades.prepare(
            wish.document,
            chain[0],
            hash_name=wish.hash_name,
            room=_room(wish, chain),
            stated=Stated(wish.reason, wish.location, wish.contact),
            certify=wish.envelope == "Certification",
        )
    except DocumentNotAcceptable as error:
        raise errors.InvalidRequest(errors.NOT_SIGNABLE) from error
    return _Prepared(wish, pdf)


@dataclass(frozen=True, slots=True)
class _Signing:
    """One request's way through the module."""

    rssp: Rssp
    presented: Presented
    request: SignDocRequest

    def sign(self, prepared: list[_Prepared]) -> list[SignedDocument]:
        """What the module signed, in the order of the wishes."""
        try:
            return self._sign(prepared, self.presented)
        except errors.InvalidRequest as error:
            if error.description == errors.NOT_AUTHORIZED:
                raise errors.InvalidHash from error
            raise

    def _sign(self, prepared: list[_Prepared], presented: Presented) -> list[SignedDocument]:
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


def _room(wish: Wish, chain: tuple[bytes, ...]) -> int:
    token = _TOKEN_OCTETS if wish.level == STAMPED else 0
    return room_for(chain, signature_octets=_SIGNATURE_OCTETS, timestamp_octets=token)


def _assemble(rssp: Rssp, each: _Prepared, signed: SignedDocument, chain: tuple[bytes, ...]) -> tuple[_Prepared, bytes]:
    by_module, stamp = SignedByModule(signed.tbs, signed.value, chain), None
    if each.wish.level == STAMPED:
        # EN 319 122-1 5.3: over the value's octets.
        stamp = rssp.stamper.stamp(TimestampRequest(hashlib.sha256(signed.value).digest(), "sha256", None)).der
    if each.pdf is not None:
        return each, each.pdf.filled(signed_data(by_module, timestamp=stamp))
    attached = each.wish.document if each.wish.envelope == "Attached" else None
    return each, signed_data(by_module, content=attached, timestamp=stamp)
