"""PDFs that come with ``signatures/signDoc``: what is not to be signed is refused before the SAD is spent."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.documents import pdf
from documents.errors import REASONS, ExaminerUnavailable
from documents.findings import Examination
from foundation.errors import SettingsError
from signing.csc.intake import Intake
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from signing.settings import DocumentsSettings
from tests import hostile
from tests.documents import hand
from tests.unit.signing_csc.conftest import Bench, running
from tests.unit.signing_csc.test_sign_doc import METHOD, sad_over, sent

pytestmark = pytest.mark.loopback
WORDS = "A document cannot be signed in the requested format"
SIGNER = hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256))


def asked(bench: Bench, *documents: bytes, approved: tuple[bytes, ...] | None = None) -> Any:
    wished = [sent(document=base64.b64encode(each).decode(), signed_envelope_property="Revision") for each in documents]
    sad = sad_over(bench, *(documents if approved is None else approved))
    return bench.post(METHOD, {"credentialID": "cred-alice", "documents": wished}, sad)


@pytest.mark.parametrize("case", ["encrypted", "XFA", "hybrid", "bomb of objects", "very deep", "a loop of tables"])
def test_SIG_10_DOS_01_a_document_that_is_not_to_be_signed_costs_no_SAD(bench: Bench, case: str) -> None:
    reason, make = hostile.REFUSED[case]
    answer = asked(bench, hostile.plain(), make())
    assert (answer.status_code, answer.get_json()["error_description"]) == (400, f"{WORDS}: {REASONS[reason]}")
    assert bench.sam.asked_for_documents == []


@pytest.mark.parametrize("case", ["bomb of objects", "very deep"])
def test_DOS_01_the_first_that_is_not_to_be_signed_among_many_is_the_one_that_is_told(bench: Bench, case: str) -> None:
    reason, make = hostile.REFUSED[case]
    good = [pdf(0, each) for each in range(9)]
    later = hostile.REFUSED["encrypted"][1]()
    answer = asked(bench, *good[:5], make(), *good[5:], later)
    assert (answer.status_code, answer.get_json()["error_description"]) == (400, f"{WORDS}: {REASONS[reason]}")
    assert bench.sam.asked_for_documents == []
    assert asked(bench, *good).get_json()["error_description"] == "Invalid parameter SAD"
    assert bench.sam.asked_for_documents == [9]


@pytest.mark.parametrize("attack", ["ISA", "USF without ByteRange", "shadow hide and replace", "octet"])
def test_SIG_02_a_document_that_was_changed_after_somebody_signed_it_is_not_signed(bench: Bench, attack: str) -> None:
    reason, alter = hostile.ATTACKS[attack]
    signed = hostile.signed(hostile.shadow_before(), SIGNER)
    answer = asked(bench, alter(signed))
    assert answer.get_json()["error_description"] == f"{WORDS}: {REASONS[reason]}"
    assert bench.sam.asked_for_documents == []
    # As it was signed, it goes on to the module, which refuses every SAD here.
    assert asked(bench, signed).get_json()["error_description"] == "Invalid parameter SAD"
    assert bench.sam.asked_for_documents == [1]


class Looked:
    """An examiner that sees what it is asked, and may not be there."""

    def __init__(self, there: bool = True) -> None:
        self.seen: list[bytes] = []
        self.there = there

    def examine_all(self, documents: Iterable[bytes]) -> Iterator[Examination]:
        for document in documents:
            self.seen.append(document)
            if not self.there:
                raise ExaminerUnavailable("busy")
            yield Examination((), (), (), 1, "1.7")


@pytest.fixture
def looked(bench: Bench) -> Iterator[Looked]:
    rssp = bench.client.application.extensions["privyseal-rssp"]
    examiner, intake = Looked(), rssp.intake
    object.__setattr__(rssp, "intake", Intake(DocumentsSettings(), examiner))  # type: ignore[arg-type] # played here
    yield examiner
    object.__setattr__(rssp, "intake", intake)


def test_DOS_01_nobody_looks_at_a_document_that_was_not_approved(bench: Bench, looked: Looked) -> None:
    assert asked(bench, hostile.plain(), approved=(b"another",)).status_code == 403
    assert looked.seen == []


def test_a_document_is_looked_at_once_however_often_it_is_signed(bench: Bench, looked: Looked) -> None:
    asked(bench, hostile.plain(), hostile.plain())
    assert looked.seen == [hostile.plain()]


def test_where_nobody_can_look_the_SAD_is_kept_for_later(bench: Bench, looked: Looked) -> None:
    looked.there = False
    answer = asked(bench, hostile.plain())
    assert (answer.status_code, answer.get_json()["error_description"]) == (503, "The service is busy")
    assert answer.headers["Retry-After"]
    assert bench.sam.asked_for_documents == []


def test_an_operator_may_refuse_what_is_found(tmp_path: Path) -> None:
    with running(tmp_path, documents=DocumentsSettings(refuse=("javascript", "embedded_file"))) as bench:
        answer = asked(bench, hostile.FINDINGS["javascript"]())
        assert answer.get_json()["error_description"] == f"{WORDS}: {REASONS['finding_refused']} (javascript)"
        assert asked(bench, hostile.FINDINGS["uri_action"]()).get_json()["error_description"] == "Invalid parameter SAD"


def test_a_finding_that_there_is_not_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="'javascrypt' is no finding"):
        Intake(DocumentsSettings(refuse=("javascrypt",)))


@pytest.mark.parametrize(
    "values",
    [
        {"max_objects": 9},
        {"max_pages": 0},
        {"max_expanded": 1},
        {"max_memory": 1},
        {"max_seconds": 0},
        {"workers": 0},
    ],
)
def test_bounds_out_of_bounds_are_faults_of_the_settings(values: dict[str, int]) -> None:
    assert len(list(DocumentsSettings(**values).faults())) == 1  # type: ignore[arg-type] # the ones with numbers
    assert list(DocumentsSettings().faults()) == []
