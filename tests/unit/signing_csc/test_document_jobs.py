"""``signatures/signDoc`` with ``operationMode`` ``A``: taken in, carried out by a worker, and fetched."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import text

import signing.app
from connectors.ports.tsa import TsaUnavailable
from foundation.clock import epoch
from signing.csc import errors
from signing.csc.core import Rssp
from signing.csc.unfinished import Unfinished
from signing.csc.work import SigningWork
from signing.jobs.errors import JobsUnavailable
from signing.jobs.model import milliseconds
from signing.jobs.runner import LEASE, Runner
from signing.jobs.store import JobStore
from signing.link import codes
from signing.link.documents import SignDocumentsRequest, SignedDocument
from signing.link.errors import LinkError, LinkRefused, LinkUnavailable
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from signing.sam.tbs.cms import CmsSignature
from signing.settings import TimestampSettings
from tests.documents import hand
from tests.fakes.tsa import FakeTsa
from tests.unit.signing_csc.conftest import VIEW, Bench
from tests.unit.signing_csc.test_jobs import READY, poll, settings, work
from tests.unit.signing_csc.test_sign_doc import ECDSA, METHOD, kept, sad_over
from tests.unit.signing_csc.test_sign_hash import refused

pytestmark = pytest.mark.loopback
DOCUMENT = b"document"
TSA = FakeTsa()


HAND = hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))
BUILT = CmsSignature(HAND.digest(DOCUMENT), commitment="ProofOfApproval").build(HAND.signer)
SIGNED = SignedDocument(HAND.sign(HAND.digest(BUILT.tbs)), BUILT.tbs, None)


@dataclass
class Documents:
    """The module's part, played: builds a set of attributes, and fails as it is told."""

    asked: list[SignDocumentsRequest] = field(default_factory=list)
    failure: LinkError | None = None

    def __call__(self, request: SignDocumentsRequest) -> tuple[SignedDocument, ...]:
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        return tuple(SIGNED for _template in request.templates)


def stamped(directory: Path) -> dict[str, Any]:
    return {**settings(directory), "timestamp_authorities": (TimestampSettings("fake"),)}


def little(directory: Path) -> dict[str, Any]:
    return settings(directory, max_octets_of_a_client=1_000_000)


with_jobs = pytest.mark.parametrize("bench", [settings], indirect=True)
with_stamps = pytest.mark.parametrize("bench", [stamped], indirect=True)


@pytest.fixture(autouse=True)
def authority(monkeypatch: pytest.MonkeyPatch) -> FakeTsa:
    TSA.failure = None
    monkeypatch.setattr(signing.app, "load_connector", lambda *_arguments, production: TSA)
    return TSA


@pytest.fixture
def module(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Documents:
    made = Documents()
    bench.sam.views["cred-alice"] = replace(VIEW, certificates=(HAND.der,))
    monkeypatch.setattr(bench.sam, "sign_documents", made)
    return made


def ask(bench: Bench, version: str = "v2", sad: str | None = None, **changes: Any) -> Any:
    body = {
        "credentialID": "cred-alice",
        "documentDigests": [kept()],
        "SAD": sad or sad_over(bench, DOCUMENT),
        "operationMode": "A",
        **changes,
    }
    return bench.post(METHOD, body, bench.service_token(), version)


def taken(bench: Bench, **changes: Any) -> str:
    answer = ask(bench, **changes)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert list(answer.get_json()) == ["responseID"]
    return str(answer.get_json()["responseID"])


@with_jobs
@pytest.mark.parametrize("version", ["v2", "v2_2"])
def test_documents_are_taken_in_signed_by_a_worker_and_fetched_once(
    bench: Bench, module: Documents, version: str
) -> None:
    job = taken(bench, version=version, response_uri=READY)
    assert (module.asked, poll(bench, job).status_code) == ([], 202)
    assert work(bench).uris == [(READY, job)]
    (asked,) = module.asked
    assert (asked.asker.client_id, asked.asker.credential_id) == ("example-contracts", "cred-alice")
    answer = poll(bench, job)
    assert answer.status_code == 200
    assert base64.b64decode(answer.get_json()["SignatureObject"][0])[:1] == b"\x30"
    refused(poll(bench, job), 400, "Invalid parameter requestID")


@with_jobs
@pytest.mark.parametrize(
    ("changes", "status", "error", "description"),
    [
        ({"validity_period": 1}, 400, "invalid_request", "Out of bounds parameter validity_period"),
        ({"response_uri": "https://evil.example/"}, 400, "invalid_request", "Invalid parameter response_uri"),
        ({"operationMode": "S", "validity_period": 5000}, 400, "invalid_request", "Invalid parameter validity_period"),
        ({"documentDigests": [kept(hashes=["A" * 43 + "="])]}, 403, "invalid_hash", errors.InvalidHash().description),
        ({"credentialID": "cred-bob"}, 400, "invalid_request", "Invalid parameter credentialID"),
    ],
)
def test_what_is_not_taken_in(
    bench: Bench, module: Documents, changes: dict[str, Any], status: int, error: str, description: str
) -> None:
    refused(ask(bench, **changes), status, description, error)
    assert work(bench).uris == []
    assert module.asked == []


def test_without_jobs_nothing_is_signed_later(bench: Bench) -> None:
    refused(ask(bench), 400, "Invalid parameter operationMode")


@with_jobs
def test_OAU_17_documents_of_a_job_are_its_own_clients_and_persons(bench: Bench, module: Documents) -> None:
    job = taken(bench)
    work(bench)
    strangers: tuple[dict[str, Any], ...] = ({"sub": "bob"}, {"client_id": "another"})
    for stranger in strangers:
        refused(poll(bench, job, bench.service_token(**stranger)), 400, "Invalid parameter requestID")
    assert poll(bench, job).status_code == 200


@with_jobs
def test_neither_documents_nor_signatures_nor_the_sad_lie_in_the_database_in_clear(
    bench: Bench, module: Documents, tmp_path: Path
) -> None:
    sad = sad_over(bench, DOCUMENT)
    sent = base64.b64encode(DOCUMENT).decode()
    document = {"document": sent, "signature_format": "C", "signAlgo": ECDSA}
    body = {"credentialID": "cred-alice", "documents": [document], "SAD": sad, "operationMode": "A"}
    job = bench.post(METHOD, body, bench.service_token()).get_json()["responseID"]

    def lies() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("jobs.sqlite*"))

    needles = (sent.encode(), sad.encode(), hashlib.sha256(DOCUMENT).hexdigest().encode(), b"cred-alice")
    assert not any(needle in lies() for needle in needles)
    work(bench)
    signature = poll(bench, job).get_json()["SignatureObject"][0].encode()
    assert not any(needle in lies() for needle in (*needles, signature))


@with_jobs
@pytest.mark.parametrize(
    ("failure", "again", "outcome"),
    [
        (LinkRefused(codes.BUSY), True, 200),
        (LinkRefused(codes.DEVICE_UNAVAILABLE), True, 200),
        (LinkUnavailable("gone"), True, 200),
        (LinkRefused(codes.EXPIRED_SAD), False, 400),
        (LinkRefused(codes.INDETERMINATE), False, 503),
    ],
)
def test_SAD_03_what_passes_is_tried_again_and_what_is_spent_is_told(
    bench: Bench, module: Documents, failure: LinkError, again: bool, outcome: int
) -> None:
    job = taken(bench)
    module.failure = failure
    work(bench)
    module.failure = None
    assert poll(bench, job).status_code == (202 if again else outcome)
    bench.clock.advance(1)
    work(bench)
    assert len(module.asked) == (2 if again else 1)
    if again:
        assert poll(bench, job).status_code == outcome


@with_jobs
def test_SAD_03_what_an_attempt_of_ours_has_spent_is_not_known(bench: Bench, module: Documents) -> None:
    job = taken(bench)
    module.failure = LinkUnavailable("gone")
    work(bench)
    bench.clock.advance(1)
    module.failure = LinkRefused(codes.SAD_USED)
    work(bench)
    refused(poll(bench, job), 503, errors.INDETERMINATE, "temporarily_unavailable")


@with_stamps
def test_a_stamp_that_is_not_to_be_had_is_asked_for_again_and_nothing_is_signed_twice(
    bench: Bench, module: Documents, authority: FakeTsa
) -> None:
    job = taken(bench, documentDigests=[kept(conformance_level="Ades-B-T")])
    authority.failure = TsaUnavailable("gone")
    work(bench)
    assert poll(bench, job).status_code == 202
    authority.failure = None
    bench.clock.advance(1)
    work(bench)
    assert len(module.asked) == 1, "what was signed is kept"
    answer = poll(bench, job)
    assert answer.status_code == 200
    assert b"token of" in base64.b64decode(answer.get_json()["SignatureObject"][0])


def another_process(bench: Bench) -> Rssp:
    """On the same database, with nothing of this one's memory."""
    rssp: Rssp = bench.client.application.extensions["privyseal-rssp"]
    return replace(rssp, unfinished=Unfinished())


def carried_out(bench: Bench, rssp: Rssp) -> None:
    assert rssp.jobs is not None
    runner = Runner(rssp.jobs.store, SigningWork(rssp), lambda _uri, _job: True, bench.clock, notice_attempts=1)
    while runner.step():
        pass


class Killed(BaseException):
    """This process ends, whatever it was about to do."""


@with_stamps
@pytest.mark.parametrize("end", [TsaUnavailable("gone"), Killed()], ids=["no_stamp", "killed"])
@pytest.mark.parametrize("approved", [(DOCUMENT,), (DOCUMENT, DOCUMENT)], ids=["once", "more_often"])
def test_SAD_03_what_one_process_had_signed_another_one_finishes(
    bench: Bench, module: Documents, authority: FakeTsa, end: BaseException, approved: tuple[bytes, ...]
) -> None:
    sad = sad_over(bench, *approved)
    job = taken(bench, documentDigests=[kept(conformance_level="Ades-B-T")], sad=sad)
    authority.failure = end
    with suppress(Killed):
        carried_out(bench, another_process(bench))
    assert poll(bench, job).status_code == 202
    authority.failure = None
    bench.clock.advance(3 * LEASE // 1000 + 1)
    carried_out(bench, another_process(bench))
    assert len(module.asked) == 1, "it was signed once"
    assert len(bench.sam.asked_again) == 1, "the module was asked whether it may be given out (SAD-11)"
    assert b"token of" in base64.b64decode(poll(bench, job).get_json()["SignatureObject"][0])


@with_stamps
def test_SAD_11_what_another_process_had_signed_is_given_out_only_where_it_would_be_signed_now(
    bench: Bench, module: Documents, authority: FakeTsa
) -> None:
    job = taken(bench, documentDigests=[kept(conformance_level="Ades-B-T")])
    authority.failure = TsaUnavailable("gone")
    carried_out(bench, another_process(bench))
    authority.failure = None
    bench.sam.refused_again = LinkRefused(codes.SAD_REVOKED)
    bench.clock.advance(1)
    carried_out(bench, another_process(bench))
    refused(poll(bench, job), 400, "Invalid parameter SAD")


@with_stamps
def test_SAD_03_what_was_signed_and_never_finished_is_told_as_spent(
    bench: Bench, module: Documents, authority: FakeTsa
) -> None:
    job = taken(bench, documentDigests=[kept(conformance_level="Ades-B-T")])
    authority.failure = TsaUnavailable("gone")
    carried_out(bench, another_process(bench))
    bench.clock.advance(400)
    carried_out(bench, another_process(bench))
    token = bench.service_token(exp=epoch(bench.clock.now()) + 60)
    refused(poll(bench, job, token), 503, errors.INDETERMINATE, "temporarily_unavailable")


@with_stamps
def test_what_cannot_be_written_down_is_finished_all_the_same(
    bench: Bench, module: Documents, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unwritten(_store: JobStore, _claimed: object, _request: bytes) -> bool:
        raise JobsUnavailable("gone")

    job = taken(bench, documentDigests=[kept(conformance_level="Ades-B-T")])
    monkeypatch.setattr(JobStore, "remember", unwritten)
    carried_out(bench, another_process(bench))
    assert poll(bench, job).status_code == 200
    assert "not written down" in caplog.text


@pytest.mark.parametrize("bench", [little], indirect=True)
def test_DOS_04_a_clients_documents_take_so_much_room_and_no_more(bench: Bench, module: Documents) -> None:
    large = b"x" * 400_000
    document = {"document": base64.b64encode(large).decode(), "signature_format": "C", "signAlgo": ECDSA}
    body = {"credentialID": "cred-alice", "documents": [document], "operationMode": "A"}
    answers = [
        bench.post(METHOD, {**body, "SAD": sad_over(bench, large, jti=str(number))}, bench.service_token())
        for number in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["Retry-After"]
    work(bench)
    assert poll(bench, answers[0].get_json()["responseID"]).status_code == 200
    again = {**body, "SAD": sad_over(bench, large, jti="3")}
    assert bench.post(METHOD, again, bench.service_token()).status_code == 200


@with_jobs
def test_a_worker_has_documents_for_longer_than_digests(
    bench: Bench, module: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken(bench)
    rssp = bench.client.application.extensions["privyseal-rssp"]
    due: list[int] = []

    def looked(_request: object) -> tuple[SignedDocument, ...]:
        with rssp.jobs.store._engine.connect() as connection:
            due.append(connection.execute(text("SELECT due_at FROM jobs")).scalar_one())
        return (SIGNED,)

    monkeypatch.setattr(bench.sam, "sign_documents", looked)
    Runner(rssp.jobs.store, SigningWork(rssp), lambda _uri, _job: True, bench.clock, notice_attempts=1).step()
    assert due == [milliseconds(bench.clock.now()) + 3 * LEASE]
