"""``signatures/signDoc`` (CSC API 2.0.0.2 11.11): documents in, signatures out, around what the module built.

What can be found wrong is found before anything is spent: the request, and every PDF of it, is read and prepared first.
But no PDF is read, and no credential looked for, before the SAD has been verified and is seen to be for that document:
a stranger's file costs nothing, and its answer tells nothing (DOS-01, OAU-17).
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from contract.sad import Sad
from foundation.clock import epoch
from signing.csc import errors, jobs
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.document_assembly import Assembled, Assembly, Signed, prepare, validation_info
from signing.csc.document_requests import SignDocRequest, levels, parse_sign_doc
from signing.csc.document_signing import Signing, Through
from signing.csc.signatures import Presented, redeemer_of, verified
from signing.csc.streaming import Document
from signing.csc.unfinished import name_of, parts_from_json, parts_to_json
from signing.settings import WebSettings

METHOD: Final = "signatures/signDoc"


def offered(settings: WebSettings) -> bool:
    """Whether SADs can be verified here: a document is not read for whoever made one up."""
    return bool(settings.issuer.sad_keys)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be carried out."""

    request: SignDocRequest
    presented: Presented
    name: bytes
    """Of :func:`signing.csc.unfinished.name_of`."""
    until: int
    """NumericDate: when the SAD expires."""
    signed: Sequence[Signed] | None = None
    """What the module made for it already, where whoever carries it out has that; only the rest is left to be done."""


Keep = Callable[[Sequence[Signed]], bool]
"""Writes down what the module made, before anything else is done with it; whether it lies there now."""


def _nowhere(_signed: Sequence[Signed]) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of it."""

    signatures: Sequence[Assembled]
    named: bool
    """Whether the levels that were reached are."""
    info: Mapping[str, Any]
    """``validationInfo``, where it is wanted."""


def sign_doc(rssp: Rssp, call: Call) -> Answer:
    """``signatures/signDoc``: each document's signature in the request's order, of its kind.

    :raises errors.CscError: with the specification's words.
    """
    asked = _asked(rssp, call)
    if isinstance(asked, Answer):
        return asked
    made = _made(rssp, asked, None, _nowhere)
    # What came, and what it was made into on the way, is not in memory any more once the answer is put into words.
    del asked
    return Answer(_told(made, Document), documents=True)


def _asked(rssp: Rssp, call: Call) -> Asked | Answer:
    """What is to be carried out now, or that it will be later."""
    redeemer = redeemer_of(rssp, call)
    request = parse_sign_doc(call.body, levels(rssp.settings))
    if request.validation_info and rssp.evidence is None:
        raise errors.invalid("returnValidationInfo")
    presented = redeemer.present(rssp, request.sad)
    content = verified(rssp, presented.sad, redeemer)
    _check_approved(request, content)
    if request.later is not None:
        jobs.check_offered(rssp, call.dialect)
        digests = tuple(wish.digest for wish in request.wishes)
        task = jobs.Task(_kept_request(call.body, presented), request.credential_id, digests)
        return jobs.accept(rssp, content, task, request.later)
    # Client and person were counted when it was verified.
    presented = replace(presented, whose=(("credential", content.credential_id),))
    name = name_of(presented.sad, presented.client_id, call.body, request.wishes)
    for item in call.body.get("documents") or ():
        # Decoded by now, and large: its text is not kept beside it.
        del item["document"]
    return Asked(request, presented, name, content.exp)


def _kept_request(body: Mapping[str, Any], presented: Presented) -> dict[str, Any]:
    """As jobs keep it: sealed, until it was carried out."""
    told = {name: value for name, value in body.items() if name != "SAD"}
    shown = {"dpop": presented.dpop, "certificate": presented.certificate}
    return {"method": METHOD, "body": told, "sad": presented.sad, "client_id": presented.client_id, **shown}


def with_signed(kept: Mapping[str, Any], signed: Sequence[Signed]) -> dict[str, Any]:
    """What is left to be done of a request that the module has done its part of, in the form of :func:`asked_later`."""
    return {**kept, "signed": parts_to_json(signed)}


def asked_later(rssp: Rssp, kept: Mapping[str, Any], until: int) -> Asked:
    """The same request, for whoever carries it out.

    :param kept: what was taken in, verified.
    :param until: NumericDate when its SAD expires.
    """
    body, sad, client_id = kept["body"], kept["sad"], kept["client_id"]
    presented = Presented(sad, client_id, kept["dpop"], kept["certificate"], None)
    request = parse_sign_doc(body, levels(rssp.settings))
    signed = parts_from_json(kept["signed"], request.wishes) if "signed" in kept else None
    return Asked(request, presented, name_of(sad, client_id, body, request.wishes), until, signed)


def carry_out(rssp: Rssp, asked: Asked, through: Through, keep: Keep) -> dict[str, Any]:
    """The answer's members, for whoever fetches them.

    :param through: what each call of the module goes through.
    :param keep: see :data:`Keep`.
    :raises errors.CscError: with the specification's words.
    """
    return _told(_made(rssp, asked, through, keep), lambda octets: base64.b64encode(octets).decode())


def _made(rssp: Rssp, asked: Asked, through: Through | None, keep: Keep) -> _Made:
    request, presented, name = asked.request, asked.presented, asked.name
    chain = _chain(rssp, request.credential_id)
    kept = asked.signed is not None
    signed = asked.signed or rssp.unfinished.of(name, request.wishes, epoch(rssp.clock.now()))
    signing = Signing(rssp, presented, request)
    signing = signing if through is None else replace(signing, through=through)
    if signed is None:
        if rssp.evidence is not None:
            rssp.evidence.check(chain)
        rssp.intake.check(request.wishes)
        now = rssp.clock.now()
        prepared = [prepare(wish, chain, now) for wish in request.wishes]
        done = signing.sign(prepared)
        signed = [Signed(each, one) for each, one in zip(prepared, done, strict=True)]
        kept = keep(signed)
    else:
        signing.allow_again()
    try:
        made = Assembly(rssp.stamper, rssp.evidence, chain).assemble(signed)
        info = _validation_info(rssp, request, chain, made)
    except Exception:
        # The SAD is spent, the values are made: whoever asks again gets them finished.
        if not kept:
            rssp.unfinished.keep(name, signed, asked.until)
        raise
    rssp.unfinished.forget(name)
    return _Made(made, any(wish.lower for wish in request.wishes), info)


def _validation_info(
    rssp: Rssp, request: SignDocRequest, chain: tuple[bytes, ...], made: Sequence[Assembled]
) -> dict[str, Any]:
    if not request.validation_info or rssp.evidence is None:
        return {}
    found = validation_info(rssp.evidence, chain, made)
    members = {"ocsp": found.ocsps, "crl": found.crls, "certificates": found.certificates}
    return {
        "validationInfo": {name: [base64.b64encode(each).decode() for each in der] for name, der in members.items()}
    }


def _told(made: _Made, put: Callable[[bytes], object]) -> dict[str, Any]:
    """:param put: what stands for octets in the answer."""
    answer: dict[str, Any] = {}
    levels_reached: dict[str, list[str]] = {}
    for member, of_pdf in (("DocumentWithSignature", True), ("SignatureObject", False)):
        found = [each for each in made.signatures if each.is_pdf is of_pdf]
        if found:
            answer[member] = [put(each.octets) for each in found]
            levels_reached[member] = [each.level for each in found]
    return answer | ({"reachedLevels": levels_reached} if made.named else {}) | dict(made.info)


def _check_approved(request: SignDocRequest, sad: Sad) -> None:
    """What the module will say of it anyway.

    :raises errors.CscError: another credential, or documents that were not approved.
    """
    if sad.credential_id != request.credential_id:
        raise errors.invalid("credentialID")
    if sad.hash_type != "sdr":
        # Of digests of data to be signed: nobody approved a document.
        raise errors.InvalidRequest(errors.DOCUMENTS_NOT_AUTHORIZED)
    if sad.dtbsr and Counter(wish.digest for wish in request.wishes) - Counter(sad.dtbsr):
        raise errors.InvalidHash


def _chain(rssp: Rssp, credential_id: str) -> tuple[bytes, ...]:
    """The certificates of a credential, the signer's first.

    They are linked to it once, whatever becomes of it, so that they are remembered; whether it may sign the module
    decides.  Certificates are no secret, and nobody sees these but whose SAD the module then redeems.
    """
    return rssp.chains.of(credential_id, lambda: _asked_chain(rssp, credential_id))


def _asked_chain(rssp: Rssp, credential_id: str) -> tuple[bytes, ...]:
    try:
        view = rssp.ask(rssp.sam.credential, credential_id)
    except errors.InvalidRequest as error:
        # No SAD is good for a credential that is not there: one that says so is refused as the module would one for
        # somebody else's, so that an answer does not tell which credentials exist.
        raise errors.invalid("SAD") from error
    if not view.certificates:
        raise errors.invalid("SAD")
    return view.certificates
