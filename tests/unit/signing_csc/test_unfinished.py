"""What the module signed and the web tier could not finish: the module is asked before it is given out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.ports.tsa import TsaUnavailable
from foundation.jose import encode_base64url
from signing.ades.pades import PreparedPdf
from signing.csc.document_assembly import Prepared, Signed
from signing.csc.document_requests import Wish
from signing.csc.unfinished import parts_from_json, parts_to_json
from signing.link import codes
from signing.link.documents import SignedDocument
from signing.link.errors import LinkError, LinkRefused, LinkUnavailable
from tests.fakes.tsa import FakeTsa
from tests.unit.signing_csc.conftest import Bench
from tests.unit.signing_csc.test_document_jobs import DOCUMENT, Documents, authority, module, with_stamps
from tests.unit.signing_csc.test_sign_doc import METHOD, kept, sad_over
from tests.unit.signing_csc.test_sign_hash import refused

__all__ = ["authority", "module"]
pytestmark = pytest.mark.loopback


def asked(bench: Bench, sad: str, level: str) -> Any:
    items = [kept(conformance_level=level)]
    body = {"credentialID": "cred-alice", "documentDigests": items, "SAD": sad}
    return bench.post(METHOD, body, bench.service_token())


@with_stamps
@pytest.mark.parametrize(
    ("refusal", "status", "description", "error"),
    [
        (LinkRefused(codes.SAD_REVOKED), 400, "Invalid parameter SAD", "invalid_request"),
        (LinkRefused(codes.CREDENTIAL_DISABLED), 400, None, "invalid_request"),
        (LinkUnavailable("gone"), 503, None, "temporarily_unavailable"),
    ],
)
def test_SAD_11_what_was_not_finished_is_given_out_only_where_it_would_be_signed_now(
    bench: Bench,
    module: Documents,
    authority: FakeTsa,
    refusal: LinkError,
    status: int,
    description: str | None,
    error: str,
) -> None:
    sad = sad_over(bench, DOCUMENT)
    authority.failure = TsaUnavailable("gone")
    assert asked(bench, sad, "Ades-B-T").status_code == 503
    authority.failure = None
    bench.sam.refused_again = refusal
    for level in ("Ades-B-T", "Ades-B-B"):
        answer = asked(bench, sad, level)
        assert (answer.status_code, answer.get_json()["error"]) == (status, error)
        if description is not None:
            refused(answer, status, description, error)
    bench.sam.refused_again = None
    assert asked(bench, sad, "Ades-B-B").status_code == 200
    assert len(module.asked) == 1
    assert [len(each.templates) for each in bench.sam.asked_again] == [1, 1, 1]


def test_what_is_written_down_of_a_job_is_read_back_and_carries_no_document() -> None:
    whole, tail = b"%PDF-1.7 as it was approved", b" and its last revision"
    of_pdf, plain = (Wish(form, "x", "Ades-B-T", b"d" * 32, "sha256", whole) for form in "PC")
    prepared = PreparedPdf(whole + tail, len(whole), (0, 30, 40, 9))
    signed = [
        Signed(Prepared(of_pdf, prepared), SignedDocument(b"value", b"tbs", None)),
        Signed(Prepared(plain), SignedDocument(b"another", b"attributes", b"properties", b"manifest")),
    ]
    written = json.loads(json.dumps(parts_to_json(signed)))
    assert parts_from_json(written, (of_pdf, plain)) == signed
    assert encode_base64url(whole) not in json.dumps(written)
    with pytest.raises(ValueError, match="zip"):
        parts_from_json(written, (of_pdf,))
