"""``POST /validate`` around its confined process: who may ask what, and who is asked in turn."""

from __future__ import annotations

import json
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from flask.testing import FlaskClient

from connectors.ports.status import RevocationEvidence, StatusUnavailable
from foundation.clock import FixedClock, SystemClock
from foundation.errors import SandboxUnavailable, WorkCrashed, WorkTooLarge, WorkTooLong
from signing.ades.validate.policy import Circumstances, ValidationPolicy
from signing.ades.validation_data import ValidationData
from signing.settings import Rate, ValidationSettings
from signing.validation.errors import TooComplex, ValidationError, ValidatorUnavailable
from signing.validation.exchange import MAX_CHAINS, Result, Task
from signing.validation.validator import MAX_QUESTIONS, Validator, trusted
from signing.validation.views import openapi, validation_blueprint
from tests.documents import blank_pdf
from tests.trust import Trust, signed_pdf

PDF = b"%PDF-1.7 of a kind"
REPORT = {"verdict": {"indication": "TOTAL_PASSED"}}
KEY = ec.generate_private_key(ec.SECP256R1())
SETTINGS = ValidationSettings((Path("roots.pem"),), max_octets=4096, rate=Rate(0.001, 6))


class FakeValidator:
    """Says what it is told to."""

    def __init__(self, failure: ValidationError | None = None) -> None:
        self.failure = failure
        self.seen: list[bytes] = []

    def validate(self, document: bytes) -> Result:
        self.seen.append(document)
        if self.failure is not None:
            raise self.failure
        return Result(REPORT, "document: TOTAL_PASSED", ())


def client(validator: FakeValidator) -> FlaskClient:
    app = Flask(__name__)
    blueprint = validation_blueprint(SETTINGS, validator, "https://sign.example.org")  # type: ignore[arg-type] # a fake
    app.register_blueprint(blueprint)
    return app.test_client()


def test_a_pdf_is_validated_however_it_is_sent_and_told_in_the_form_that_is_preferred() -> None:
    validator = FakeValidator()
    http = client(validator)
    assert http.post("/validate", data=PDF, content_type="application/pdf").get_json() == REPORT
    form = {"document": (BytesIO(PDF), "contract.pdf")}
    text = http.post("/validate", data=form, headers={"Accept": "text/plain"})
    assert (text.mimetype, text.text) == ("text/plain", "document: TOTAL_PASSED\n")
    assert validator.seen == [PDF, PDF]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (PDF, "text/plain", 415),
        (PDF, "application/json", 415),
        (b"", "multipart/form-data; boundary=x", 415),
        (bytes(4097), "application/pdf", 413),
        (bytes(64 * 1024), "application/pdf", 413),
    ],
)
def test_what_is_no_document_or_too_large_reaches_no_process(body: bytes, kind: str, status: int) -> None:
    validator = FakeValidator()
    answer = client(validator).post("/validate", data=body, content_type=kind)
    assert (answer.status_code, answer.get_json()["error"]) == (status, "invalid_request")
    assert validator.seen == []


def test_two_documents_in_one_form_are_refused() -> None:
    form = {"document": [(BytesIO(PDF), "a.pdf"), (BytesIO(PDF), "b.pdf")]}
    assert client(FakeValidator()).post("/validate", data=form).status_code == 415


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (TooComplex("x"), 422, "document_too_complex"),
        (ValidatorUnavailable("x"), 503, "temporarily_unavailable"),
    ],
)
def test_a_document_that_takes_too_much_is_told_from_a_service_that_has_nobody_free(
    failure: ValidationError, status: int, code: str
) -> None:
    answer = client(FakeValidator(failure)).post("/validate", data=PDF, content_type="application/pdf")
    assert (answer.status_code, answer.get_json()["error"]) == (status, code)
    assert ("Retry-After" in answer.headers) is (status == 503)


def test_DOS_05_whoever_asks_too_often_is_refused_before_anything_is_read() -> None:
    validator = FakeValidator()
    http = client(validator)
    told = [http.post("/validate", data=PDF, content_type="application/pdf") for _time in range(7)]
    assert [each.status_code for each in told] == [200] * 6 + [429]
    assert int(told[-1].headers["Retry-After"]) > 0
    assert len(validator.seen) == 6


def test_a_get_validates_nothing_and_the_description_is_of_this_place() -> None:
    http = client(FakeValidator())
    assert http.get("/validate").status_code == 405
    described = http.get("/validate/openapi.json").get_json()
    assert described["servers"] == [{"url": "https://sign.example.org"}]
    assert described == openapi("https://sign.example.org")


def task() -> Task:
    outside = ValidationData((b"c",), (b"o",), (b"l",))
    at = SystemClock().now().replace(microsecond=0)
    return Task(ValidationPolicy((b"a", b"b"), (b"t",), "declared"), Circumstances(at, outside), PDF)


def test_a_task_and_a_result_arrive_as_they_were() -> None:
    assert Task.from_octets(task().to_octets()) == task()
    result = Result(REPORT, "text", ((b"leaf", b"root"),))
    assert Result.from_octets(result.to_octets()) == result
    many = Result(REPORT, "text", ((b"leaf", b"root"),) * 100)
    assert len(Result.from_octets(many.to_octets()).chains) == MAX_CHAINS


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"null",
        b"[" * 100_000,
        json.dumps({"report": {}, "text": "", "chains": []}).encode(),
        json.dumps({"report": {"verdict": {"indication": "FINE"}}, "text": "", "chains": []}).encode(),
        json.dumps({"report": REPORT, "text": 1, "chains": []}).encode(),
        json.dumps({"report": REPORT, "text": "", "chains": [["%"]]}).encode(),
    ],
)
def test_DOS_01_whatever_a_confined_process_says_is_not_believed_for_its_own_sake(octets: bytes) -> None:
    with pytest.raises(TooComplex):
        Result.from_octets(octets)


class FakePool:
    """In the place of confined processes."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.tasks: list[Task] = []

    def run(self, octets: bytes) -> bytes:
        self.tasks.append(Task.from_octets(octets))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Source:
    """Who is asked about certificates."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.asked: list[bytes] = []
        self.at = SystemClock().now()

    def evidence(self, certificate: bytes, issuer: bytes, *, at_least: Any) -> RevocationEvidence:
        self.asked.append(certificate)
        if self.silent:
            raise StatusUnavailable("nobody")
        return RevocationEvidence("crl", b"list", (), self.at, None, "good")


def validator(trust: Trust, pool: FakePool, source: Source | None) -> Validator:
    anchors = (x509.load_der_x509_certificate(trust.root),)
    return Validator(pool.run, trusted(anchors, (), "required"), trust.clock, source)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust(tmp_path_factory.mktemp("trust"), FixedClock(SystemClock().now() - timedelta(hours=1)))


def said(*chains: tuple[bytes, ...]) -> bytes:
    return Result(REPORT, "text", chains).to_octets()


def test_authorities_are_asked_about_each_certificate_once_and_what_they_say_is_used(trust: Trust) -> None:
    chain = trust.signer(KEY)
    pool, source = FakePool(said(chain, chain), said(chain)), Source()
    validator(trust, pool, source).validate(PDF)
    assert source.asked == [chain[0], chain[1]]
    assert [each.circumstances.outside.crls for each in pool.tasks] == [(), (b"list", b"list")]
    # The answers are from after the first round: they would count for nothing in a round of its time.
    assert pool.tasks[1].circumstances.at >= source.at.replace(microsecond=0) > pool.tasks[0].circumstances.at


def test_without_leave_or_without_an_answer_there_is_one_round(trust: Trust) -> None:
    chain = trust.signer(KEY)
    for source in (None, Source(silent=True)):
        pool = FakePool(said(chain))
        validator(trust, pool, source).validate(PDF)
        assert len(pool.tasks) == 1


def test_PKI_01_nobody_is_asked_at_addresses_in_certificates_whose_path_does_not_hold(
    trust: Trust, tmp_path: Path
) -> None:
    """A certificate that names a trusted issuer is not one of its: the address in it may be anything."""
    stranger = Trust(tmp_path, FixedClock(trust.clock.now()))
    forged, chain = stranger.signer(KEY), trust.signer(KEY)
    source = Source()
    chains = [forged, (forged[0], *chain[1:]), (chain[1],), (), (b"none",)]
    validator(trust, FakePool(said(*chains), said()), source).validate(PDF)
    assert set(source.asked) <= {chain[1]}


def test_no_document_has_more_than_so_many_questions_asked(trust: Trust) -> None:
    chains = [trust.signer(KEY) for _number in range(MAX_CHAINS)]
    source = Source()
    validator(trust, FakePool(said(*chains), said()), source).validate(PDF)
    assert len(source.asked) == MAX_QUESTIONS


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (WorkTooLong("x"), TooComplex),
        (WorkTooLarge("x"), TooComplex),
        (WorkCrashed("x"), TooComplex),
        (SandboxUnavailable("x"), ValidatorUnavailable),
    ],
)
def test_DOS_01_a_process_that_a_document_brought_down_is_told(
    trust: Trust, failure: Exception, kind: type[ValidationError]
) -> None:
    with pytest.raises(kind):
        validator(trust, FakePool(failure), None).validate(PDF)


def test_the_process_does_what_the_command_does(trust: Trust) -> None:
    from signing.validation.worker import work

    chain = trust.signer(KEY)
    trust.clock.advance(1)
    pdf = signed_pdf(blank_pdf(), KEY, chain, trust.clock.now())
    asked = Task(ValidationPolicy((trust.root,), revocation="none"), Circumstances(trust.clock.now()), pdf)
    told = Result.from_octets(work(asked.to_octets(), b""))
    assert told.report["verdict"] == {"indication": "TOTAL_PASSED"}
    assert told.text.startswith("document: TOTAL_PASSED")
    assert told.chains == (chain,)
