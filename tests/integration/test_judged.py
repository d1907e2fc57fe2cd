"""PDFs that the running product signed, before judges who know nothing of it: poppler, MuPDF, qpdf, OpenSSL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from signing.ades.validate.document import validate
from signing.ades.validate.policy import Circumstances, ValidationPolicy
from signing.ades.validation_data import ValidationData
from tests.integration.judged_world import KEYS, Desk, desk
from tests.judges import Judges

pytestmark = pytest.mark.hsm


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("judged")) as made:
        yield made


def judged(running: Desk, directory: Path, pdf: bytes, *, whole: bool, pss: bool = False) -> int:
    """By everybody; how many time-stamps there were."""
    judges, at = Judges(directory, running.root), int(running.now().timestamp())
    judges.structure(pdf)
    judges.pdfsig(pdf, whole=whole)
    if not pss:  # MuPDF verifies by OpenSSL's PKCS #7, which knows no RSASSA-PSS.
        judges.mutool(pdf, whole=whole)
    judges.cms(pdf, at)
    return judges.timestamps(pdf, at)


def passed(running: Desk, pdf: bytes, outside: ValidationData | None = None) -> str | None:
    """The level that our own validation finds, everything being good."""
    report = validate(pdf, ValidationPolicy((running.root,)), Circumstances(running.now(), outside or ValidationData()))
    assert report.verdict.indication == "TOTAL_PASSED", report
    (signature,) = report.signatures
    return signature.level


@pytest.mark.parametrize("username", KEYS)
def test_SIG_01_every_key_makes_signatures_that_everybody_takes(running: Desk, tmp_path: Path, username: str) -> None:
    pdf = running.signed(username, "Ades-B-B")
    assert judged(running, tmp_path, pdf, whole=True, pss=KEYS[username] == "pss") == 0
    assert passed(running, pdf, running.told(pdf)) == "B-B"


@pytest.mark.parametrize(("level", "stamps"), [("B-T", 1), ("B-LT", 1), ("B-LTA", 2)])
def test_SIG_01_every_level_is_taken_by_everybody_and_is_what_it_says(
    running: Desk, tmp_path: Path, level: str, stamps: int
) -> None:
    pdf = running.signed("alice", f"Ades-{level}")
    assert judged(running, tmp_path, pdf, whole=level == "B-T") == stamps
    # From B-LT on the file has all that is needed, except what is told of the last time-stamp.
    assert passed(running, pdf, None if level == "B-LT" else running.told(pdf)) == level
