"""From a SAD over documents to signatures: what is built is signed, what is spent is the document, lies are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from auditlog.sql import read_entries
from contract.sad import Sad
from signing.link.documents import SignedDocument, documents_from_json
from signing.link.frames import MAX_FRAME_OCTETS
from signing.sam import errors, events
from signing.sam.algorithms import SHA256, SHA384, SHA512, SignatureAlgorithm
from signing.sam.credential import Credential
from signing.sam.tbs.cms import CmsSignature, PdfSignature
from signing.sam.tbs.common import SignaturePolicy, Signer
from signing.sam.tbs.jws import JwsDocument, JwsSignature
from signing.sam.tbs.pdf import MeasuredPdf
from signing.sam.tbs.request import Template, documents_of
from signing.sam.tbs.xades import XmlDocument, XmlSignature
from signing.sam.verify import SignatureRequest
from signing.storage.tables import audit, positions
from tests.fakes.sam import World, digest

D1, D2, D3 = (digest(number) for number in range(1, 4))


def documents_sad(world: World, credential: Credential, digests: tuple[bytes, ...], **changes: Any) -> Sad:
    """A SAD over documents."""
    return world.sad(credential, digests, hash_type="sdr", **changes)


def asked(world: World, sad: Sad, *templates: Template, **changes: Any) -> SignatureRequest:
    """A request for these signatures."""
    return world.request(sad, **{"digests": documents_of(templates), "templates": templates, **changes})


def check(credential: Credential, value: bytes, tbs: bytes) -> None:
    """:raises InvalidSignature: it is none of these octets by the credential's key."""
    key = x509.load_der_x509_certificate(credential.certificates[0]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(value, tbs, ec.ECDSA(hashes.SHA256()))


def chain(world: World, event: str) -> list[dict[str, Any]]:
    """Fields of the records of that event."""
    with world.engine.connect() as connection:
        return [json.loads(entry.fields) for entry in read_entries(connection, audit.entries) if entry.event == event]


def spent(world: World) -> int:
    """Positions that were reserved."""
    with world.engine.connect() as connection:
        return len(connection.execute(select(positions)).all())


def test_each_template_is_built_by_the_module_and_signed(world: World, credential: Credential) -> None:
    templates: tuple[Template, ...] = (
        CmsSignature(D1, "text/plain"),
        XmlSignature("S", (XmlDocument(D2, "octets", "a", "a/b"), XmlDocument(D3, "octets", "b", "a/b"))),
        JwsSignature((JwsDocument(D1, "a", "a/b"),)),
    )
    sad = documents_sad(world, credential, (D1, D1, D2, D3))
    signed = world.activator().sign_documents(asked(world, sad, *templates))
    signer = Signer(credential.certificates[0], SignatureAlgorithm("ecdsa", SHA256), 256, world.now)
    for template, (value, built) in zip(templates, signed, strict=True):
        check(credential, value, built.tbs)
        assert template.build(signer) == built
    assert spent(world) == 4


def test_the_intent_has_the_documents_digests_and_those_that_are_signed(world: World, credential: Credential) -> None:
    sad = documents_sad(world, credential, (D1, D2))
    signed = world.activator().sign_documents(asked(world, sad, CmsSignature(D2), CmsSignature(D1)))
    (intent,) = chain(world, events.SIGNATURE_INTENT)
    assert intent["digests"] == [D2.hex(), D1.hex()]
    assert intent["positions"] == ["1", "0"]
    assert intent["signed_digests"] == [hashlib.sha256(built.tbs).hexdigest() for _, built in signed]


def test_digests_to_be_signed_have_no_others_in_the_intent(world: World, credential: Credential) -> None:
    world.activator().sign(world.request(world.sad(credential)))
    (intent,) = chain(world, events.SIGNATURE_INTENT)
    assert "signed_digests" not in intent


def test_SAD_01_one_document_is_signed_once_in_whatever_format(world: World, credential: Credential) -> None:
    sad = documents_sad(world, credential, (D1,))
    world.activator().sign_documents(asked(world, sad, CmsSignature(D1)))
    for template in (CmsSignature(D1), JwsSignature((JwsDocument(D1, "a", "a/b"),))):
        with pytest.raises(errors.SadSpent):
            world.activator().sign_documents(asked(world, sad, template))


LIES: dict[str, tuple[Callable[[World, Sad], SignatureRequest], type[Exception]]] = {
    "another document": (lambda w, s: asked(w, s, CmsSignature(D3)), errors.DigestNotAuthorized),
    "one bit of it": (
        lambda w, s: asked(w, s, CmsSignature(bytes([D1[0] ^ 1]) + D1[1:])),
        errors.DigestNotAuthorized,
    ),
    "one of them twice": (lambda w, s: asked(w, s, CmsSignature(D1), CmsSignature(D1)), errors.DigestNotAuthorized),
    "another one behind an authorised digest": (
        lambda w, s: asked(w, s, CmsSignature(D3), digests=(D1,)),
        errors.DigestNotAuthorized,
    ),
    "a second document swapped": (
        lambda w, s: asked(w, s, CmsSignature(D1), CmsSignature(D3), digests=(D1, D2)),
        errors.DigestNotAuthorized,
    ),
    "one more than is said": (
        lambda w, s: asked(w, s, CmsSignature(D1), CmsSignature(D2), digests=(D1,)),
        errors.DigestNotAuthorized,
    ),
    "another within one signature": (
        lambda w, s: asked(
            w, s, XmlSignature("S", (XmlDocument(D1, "octets", "a", "a/b"), XmlDocument(D3, "octets", "b", "a/b")))
        ),
        errors.DigestNotAuthorized,
    ),
    "the digests themselves": (lambda w, s: w.request(s), errors.NotPermitted),
    "another hash function": (
        lambda w, s: asked(w, s, CmsSignature(D1), hash_alg=SHA384, sign_algo="1.2.840.10045.4.3.3"),
        errors.DigestNotAuthorized,
    ),
    "a digest of another length": (
        lambda w, s: asked(w, s, CmsSignature(digest(1, 48))),
        errors.DigestLengthInvalid,
    ),
    "a document measured otherwise": (
        lambda w, s: asked(w, s, PdfSignature(MeasuredPdf(D1, digest(1, 48), SHA384))),
        errors.TemplateRefused,
    ),
    "another credential": (
        lambda w, s: asked(w, s, CmsSignature(D1), credential_id="another"),
        errors.WrongCredential,
    ),
}


@pytest.mark.parametrize(("lie", "error"), LIES.values(), ids=LIES)
def test_SAD_04_SAD_09_a_web_tier_that_lies_gets_no_signature(
    world: World,
    credential: Credential,
    lie: Callable[[World, Sad], SignatureRequest],
    error: type[Exception],
) -> None:
    sad = documents_sad(world, credential, (D1, D2))
    before = world.fake.signatures
    with pytest.raises(error):
        world.activator().sign_documents(lie(world, sad))
    assert (world.fake.signatures, spent(world)) == (before, 0)
    assert len(chain(world, events.SIGNATURE_REFUSED)) == 1
    world.activator().sign_documents(asked(world, sad, CmsSignature(D1), CmsSignature(D2)))


def test_SAD_04_digests_to_be_signed_are_not_documents(world: World, credential: Credential) -> None:
    sad = world.sad(credential, (D1,))
    with pytest.raises(errors.NotPermitted):
        world.activator().sign_documents(asked(world, sad, CmsSignature(D1)))
    world.activator().sign(world.request(sad))


def test_the_largest_answer_fits_a_frame() -> None:
    text = "&" * 63 + "/" + "&" * 127
    policy = SignaturePolicy("2" + ".999999999" * 17, SHA512, bytes(64))
    signer = Signer(b"", SignatureAlgorithm("rsa-pss", SHA512, 64), 16384, 2**33)

    def reference(number: int) -> XmlDocument:
        return XmlDocument(bytes(64), "octets", f"{number:03}".ljust(255, "&"), "a" + text[1:64] + "a" + text[65:])

    one = XmlSignature("S" * 64, tuple(map(reference, range(100))), "ProofOfApproval", policy)
    many = [XmlSignature("S" * 64, (reference(0),), "ProofOfApproval", policy)] * 100
    for templates in ([one], many):
        built = [template.build(signer) for template in templates]
        signed = [SignedDocument(bytes(2048), each.tbs, each.signed_properties).to_json() for each in built]
        assert len(json.dumps({"ok": {"signatures": signed}})) < MAX_FRAME_OCTETS
        assert documents_from_json(json.loads(json.dumps({"signatures": signed})))


def test_at_scal1_a_sad_without_digests_is_for_documents_too(world: World) -> None:
    credential = world.credential(profile="scal1")
    sad = documents_sad(world, credential, (), sign_count=2)
    signed = world.activator().sign_documents(asked(world, sad, CmsSignature(D1), CmsSignature(D2)))
    for value, built in signed:
        check(credential, value, built.tbs)
    with pytest.raises(errors.SadSpent):
        world.activator().sign_documents(asked(world, sad, CmsSignature(D1)))


def test_a_pdf_is_read_only_for_a_sad_that_could_serve(world: World, credential: Credential) -> None:
    measured = MeasuredPdf(D1, D2, SHA256)
    read: list[str] = []

    def measure(hash_alg: str) -> tuple[PdfSignature, ...]:
        read.append(hash_alg)
        return (PdfSignature(measured),)

    sad = documents_sad(world, credential, (D1,))
    right = asked(world, sad, digests=(D1,))
    for request, error in (
        (replace(right, client_id="another"), errors.WrongClient),
        (replace(right, digests=(D2,)), errors.DigestNotAuthorized),
        (world.request(world.sad(credential, (D1,))), errors.NotPermitted),
    ):
        with pytest.raises(error):
            world.activator().sign_pdfs(request, measure)
    assert read == []
    ((value, built),) = world.activator().sign_pdfs(right, measure)
    assert read == [SHA256]
    check(credential, value, built.tbs)
    with pytest.raises(errors.SadSpent):
        world.activator().sign_pdfs(right, measure)


def test_many_pdfs_and_other_documents_are_one_redemption(world: World, credential: Credential) -> None:
    sad = documents_sad(world, credential, (D1, D2, D3))
    pdfs = tuple(PdfSignature(MeasuredPdf(each, D1, SHA256)) for each in (D2, D3))
    template = CmsSignature(D1)
    request = asked(world, sad, template, digests=(D2, D3, D1))
    signed = world.activator().sign_pdfs(request, lambda _hash_alg: pdfs)
    assert len(signed) == 3
    for value, built in signed:
        check(credential, value, built.tbs)
    (intent,) = chain(world, events.SIGNATURE_INTENT)
    assert intent["digests"] == [digest.hex() for digest in (D2, D3, D1)]
    with pytest.raises(errors.SadSpent):
        world.activator().sign_pdfs(asked(world, sad, digests=(D2,)), lambda _hash_alg: pdfs[:1])


def test_SAD_09_one_of_many_pdfs_that_is_another_document_spends_nothing(world: World, credential: Credential) -> None:
    sad = documents_sad(world, credential, (D1, D2))
    pdfs = tuple(PdfSignature(MeasuredPdf(each, D1, SHA256)) for each in (D1, D3))
    with pytest.raises(errors.DigestNotAuthorized):
        world.activator().sign_pdfs(asked(world, sad, digests=(D1, D2)), lambda _hash_alg: pdfs)
    assert spent(world) == 0


def test_SAD_09_what_was_announced_decides_nothing_once_the_pdf_was_read(world: World, credential: Credential) -> None:
    sad = documents_sad(world, credential, (D1,))
    with pytest.raises(errors.DigestNotAuthorized):
        world.activator().sign_pdfs(
            asked(world, sad, digests=(D1,)), lambda _hash_alg: (PdfSignature(MeasuredPdf(D2, D3, SHA256)),)
        )
    assert spent(world) == 0


def test_SAD_09_a_pdf_that_does_not_begin_with_the_approved_document_is_on_the_record(
    world: World, credential: Credential
) -> None:
    def measure(_hash_alg: str) -> tuple[PdfSignature, ...]:
        raise errors.DigestNotAuthorized("the file does not begin with the document that was approved")

    with pytest.raises(errors.DigestNotAuthorized):
        world.activator().sign_pdfs(asked(world, documents_sad(world, credential, (D1,)), digests=(D1,)), measure)
    (refused,) = chain(world, events.SIGNATURE_REFUSED)
    assert refused["code"] == "hash_not_authorized"
    assert spent(world) == 0
