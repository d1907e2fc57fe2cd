"""PDFs that the running product signed, before judges who know nothing of it: poppler, MuPDF, qpdf, OpenSSL."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from signing.ades.validate.document import validate
from signing.ades.validate.policy import Circumstances, ValidationPolicy
from signing.ades.validation_data import ValidationData
from signing.validation.command import EXIT_INDETERMINATE, EXIT_PASSED, main
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


def test_SIG_09_signatures_that_are_seen_of_two_people_are_taken_together(running: Desk, tmp_path: Path) -> None:
    seen = {"Page": "1", "Box": "50 700 300 780", "QR": "https://example.org/"}
    once = running.signed("alice", "Ades-B-LT", seen=seen, certifies=False)
    twice = running.signed("petra", "Ades-B-T", once, seen={**seen, "Box": "50 600 300 680"}, certifies=False)
    assert twice.startswith(once)
    assert judged(running, tmp_path, twice, whole=False) == 2
    report = validate(twice, ValidationPolicy((running.root,)), Circumstances(running.now(), running.told(twice)))
    assert [(each.level, each.verdict.indication) for each in report.signatures] == [
        ("B-LT", "TOTAL_PASSED"),
        ("B-T", "TOTAL_PASSED"),
    ]


def asked(running: Desk, pdf: bytes) -> Any:
    """``POST /validate``, by its confined process and with authorities that answer."""
    answer = running.everything.web.test_client().post("/validate", data=pdf, content_type="application/pdf")
    assert answer.status_code == 200, answer.text
    document = running.everything.web.test_client().get("/validate/openapi.json").get_json()
    schema = {"$ref": "#/components/schemas/Report", "components": document["components"]}
    Draft202012Validator(schema).validate(answer.get_json())
    return answer.get_json()


@pytest.mark.parametrize("level", ["B-B", "B-LTA"])
def test_anybody_may_have_a_signature_validated_and_authorities_are_asked(running: Desk, level: str) -> None:
    report = asked(running, running.signed("alice", f"Ades-{level}"))
    assert report["verdict"] == {"indication": "TOTAL_PASSED"}, json.dumps(report, indent=1)
    assert report["signatures"][0]["level"] == level
    assert "outside" in {each["source"] for each in report["signatures"][0]["revocation"]}


def packed(mebi: int) -> bytes:
    """So many MiB of zeros."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(mebi)) + packer.flush()


def bomb(filters: int) -> bytes:
    """A PDF whose cross-reference stream has 128 MiB when it is unpacked so many times."""
    data = packed(128)
    for _filter in range(1, filters):
        data = zlib.compress(data, 9)
    head, names = b"%PDF-1.7\n", b"/FlateDecode " * filters
    body = b"1 0 obj\n<</Type/XRef/Size 2/W[1 4 2]/Root 1 0 R/Filter[" + names + b"]/Length %d>>\nstream\n" % len(data)
    return head + body + data + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % len(head)


def nested() -> bytes:
    return b"%PDF-1.7\n1 0 obj\n" + b"[" * 400_000 + b"\nendobj\ntrailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n"


def backwards() -> bytes:
    """Its cross-reference table says that the one before is itself."""
    return b"%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer<</Size 1/Prev 9>>\nstartxref\n9\n%%EOF\n"


HOSTILE = {"unpacked": lambda: bomb(1), "unpacked twice": lambda: bomb(2), "nested": nested, "backwards": backwards}


@pytest.mark.parametrize("name", HOSTILE)
def test_DOS_01_a_bomb_costs_one_confined_process_and_the_next_document_is_validated(running: Desk, name: str) -> None:
    answer = running.everything.web.test_client().post(
        "/validate", data=HOSTILE[name](), content_type="application/pdf"
    )
    if answer.status_code == 200:
        assert answer.get_json()["verdict"]["sub_indication"] == "FORMAT_FAILURE"
    else:
        assert (answer.status_code, answer.get_json()["error"]) == (422, "document_too_complex")
    assert asked(running, b"%PDF-1.7")["verdict"]["indication"] == "TOTAL_FAILED"


def test_the_command_asks_authorities_where_it_is_told_to(
    running: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signature of level B-B does not say itself whether its certificates were revoked."""
    path, allowed = tmp_path / "signed.pdf", running.ca.url.removeprefix("http://")
    path.write_bytes(running.signed("alice", "Ades-B-B"))
    command = [str(path), "--trust", str(running.ca.state / "root.crt"), "--json"]
    assert main(command) == EXIT_INDETERMINATE
    assert main([*command, "--fetch"]) == EXIT_INDETERMINATE, "an address inside is not asked unless it was named"
    assert main([*command, "--fetch", "--allow", allowed]) == EXIT_PASSED
    *_, told = map(json.loads, capsys.readouterr().out.splitlines())
    assert {each["source"] for each in told["signatures"][0]["revocation"]} == {"outside"}
