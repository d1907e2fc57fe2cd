"""SAD-03: workers of asynchronous ``signDoc`` are killed behind the module; another node finishes what was signed."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import cms

from contract import sad as sads
from foundation.clock import SystemClock
from foundation.files import write_secret
from signing.csc.documents import METHOD
from signing.csc.work import SigningWork
from signing.jobs.model import Wanted, milliseconds
from signing.jobs.runner import LEASE, Runner
from signing.link.client import SamClient
from signing.sam.algorithms import SHA256
from tests.fakes.sam import CLIENT, ECDSA_SHA256, digest
from tests.integration.jobs_node import DOCUMENT_POINTS, rssp_in
from tests.integration.sam_site import ROOT
from tests.integration.test_sam_kills import shimmed_site, signs, until
from tests.shim import Shim

pytestmark = pytest.mark.hsm

LOST = "The outcome is not known; the authorization is spent"


class Later:
    """A clock of another node, when the lease of what died is over; the SAD is good still."""

    def now(self) -> datetime:
        return SystemClock().now() + timedelta(milliseconds=3 * LEASE + 1000)


@pytest.mark.parametrize("point", DOCUMENT_POINTS)
def test_SAD_03_what_a_killed_node_had_signed_another_node_finishes_and_nobody_signs_it_again(
    database_url: str, shim: Shim, tmp_path: Path, point: str
) -> None:
    site = shimmed_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}", shim)
    write_secret(tmp_path / "jobs.key", b"k" * 32)
    write_secret(tmp_path / "jobs-url", database_url.encode())
    write_secret(tmp_path / "client-secret", b"s")
    with site.serving(), SamClient(site.socket()) as client:
        until(lambda: signs(client))
        sad = site.sad(site.credential(client), (digest(1), digest(2)), hash_type="sdr")
        before = len(shim.signatures())
        rssp = rssp_in(tmp_path, site.socket(), Later())
        assert rssp.jobs is not None
        store = rssp.jobs.store
        hashes = [base64.b64encode(each).decode() for each in sad.dtbsr]
        asked = {"hashes": hashes, "hashAlgorithmOID": SHA256, "signature_format": "C", "signAlgo": ECDSA_SHA256}
        body = {"credentialID": sad.credential_id, "documentDigests": [asked]}
        shown = {"sad": sads.encode(sad, site.idp_key), "client_id": CLIENT, "dpop": None, "certificate": None}
        request = json.dumps({"method": METHOD, "body": body, **shown}).encode()
        wanted = Wanted(CLIENT, sad.sub, request, sad.exp * 1000, 600_000, once=True)
        job = store.add(wanted, milliseconds(SystemClock().now()))
        died = subprocess.run(
            [sys.executable, "-m", "tests.integration.jobs_node", str(tmp_path), point],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert len(shim.signatures()) - before == 2, "both were signed"
        runner = Runner(store, SigningWork(rssp), lambda _uri, _job: True, Later(), notice_attempts=1)
        while runner.step():
            pass
        outcome = store.fetch(job, CLIENT, sad.sub, milliseconds(Later().now()))
        assert outcome is not None
        content = json.loads(outcome.content)
        if point == "after_it_is_written_down":
            assert outcome.good, content
            signed = [cms.ContentInfo.load(base64.b64decode(each), strict=True) for each in content["SignatureObject"]]
            assert [_message_digest(each) for each in signed] == [digest(1), digest(2)]
        else:
            assert content["error_description"] == LOST
        assert len(shim.signatures()) - before == 2, "and signed once"
        rssp.sam.close()
        store.close()


def _message_digest(signed: cms.ContentInfo) -> bytes:
    [signer] = signed["content"]["signer_infos"]
    [found] = [each["values"][0].native for each in signer["signed_attrs"] if each["type"].native == "message_digest"]
    assert isinstance(found, bytes)
    return found
