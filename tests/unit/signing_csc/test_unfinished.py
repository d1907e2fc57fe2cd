"""What the module signed and the web tier could not finish: the module is asked before it is given out."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.ports.tsa import TsaUnavailable
from signing.link import codes
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
