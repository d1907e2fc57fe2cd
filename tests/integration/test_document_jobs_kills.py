"""SAD-03: workers of asynchronous ``signDoc`` are killed behind the module; another node finishes what was signed."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from asn1crypto import cms

from contract import sad as sads
from signing.csc.documents import METHOD
from signing.sam.algorithms import SHA256
from tests.fakes.sam import CLIENT, ECDSA_SHA256, digest
from tests.integration.jobs_node import DOCUMENT_POINTS
from tests.integration.killed_jobs import LOST, killed_jobs
from tests.shim import Shim

pytestmark = pytest.mark.hsm


@pytest.mark.parametrize("point", DOCUMENT_POINTS)
def test_SAD_03_what_a_killed_node_had_signed_another_node_finishes_and_nobody_signs_it_again(
    database_url: str, shim: Shim, tmp_path: Path, point: str
) -> None:
    # Three leases later the SAD is good still.
    with killed_jobs(tmp_path, database_url, shim, leases=3) as jobs:
        sad = jobs.site.sad(jobs.site.credential(jobs.client), (digest(1), digest(2)), hash_type="sdr")
        before = len(shim.signatures())
        hashes = [base64.b64encode(each).decode() for each in sad.dtbsr]
        asked = {"hashes": hashes, "hashAlgorithmOID": SHA256, "signature_format": "C", "signAlgo": ECDSA_SHA256}
        body = {"credentialID": sad.credential_id, "documentDigests": [asked]}
        shown = {"sad": sads.encode(sad, jobs.site.idp_key), "client_id": CLIENT, "dpop": None, "certificate": None}
        job = jobs.add(sad, {"method": METHOD, "body": body, **shown})
        jobs.kill(point)
        assert len(shim.signatures()) - before == 2, "both were signed"
        good, content = jobs.finish(job, sad)
        if point == "after_it_is_written_down":
            assert good, content
            signed = [cms.ContentInfo.load(base64.b64decode(each), strict=True) for each in content["SignatureObject"]]
            assert [_message_digest(each) for each in signed] == [digest(1), digest(2)]
        else:
            assert content["error_description"] == LOST
        assert len(shim.signatures()) - before == 2, "and signed once"


def _message_digest(signed: cms.ContentInfo) -> bytes:
    [signer] = signed["content"]["signer_infos"]
    [found] = [each["values"][0].native for each in signer["signed_attrs"] if each["type"].native == "message_digest"]
    assert isinstance(found, bytes)
    return found
