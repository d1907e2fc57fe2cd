"""``privyseal ades extend`` with real authorities over HTTP, and archives judged by a clock that is years ahead."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.pdf_utils.reader import PdfFileReader

from devservices import tsa
from devservices.ca import Issuance
from devservices.names import person_from_mapping
from devservices.tsa import open_authority
from documents.errors import REASONS
from documents.examiner import ExaminerSettings
from foundation.clock import SystemClock
from signing.ades import extending
from signing.ades.pades import Wanted
from signing.extension import command
from signing.extension.errors import FileChanged, FileUnusable
from signing.extension.files import Found, found, read, replace
from tests import hostile
from tests.documents import blank_pdf
from tests.integration.devservices import ALICE, csr_for, running_ca, served
from tests.trust import PLAIN, signed_pdf

_READER: Any = PdfFileReader
KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass
class Place:
    """A folder for PDFs, and the settings with which they are lifted."""

    folder: Path
    config: Path
    root: Path
    chain: tuple[bytes, ...]

    def sign(self, name: str, wanted: Wanted = PLAIN) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(signed_pdf(blank_pdf(f"({name})"), KEY, self.chain, SystemClock().now(), wanted=wanted))
        return path

    def run(self, *arguments: object) -> int:
        return command.main(["extend", *map(str, arguments), "--config", str(self.config)])


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("authorities")
    with ExitStack() as stack:
        ca = stack.enter_context(running_ca(directory / "ca"))
        unit = stack.enter_context(served(tsa.build(directory / "tsa", ca.state)))
        root = ca.state / "root.crt"
        config = directory / "extend.toml"
        config.write_text(
            f"""mode = "development"
[status]
connector = "http"
trust_anchors = ["{root}"]
settings.egress_allow = ["{ca.url.removeprefix("http://")}"]
[[timestamp_authorities]]
connector = "rfc3161"
[timestamp_authorities.settings]
url = "{unit}/tsa"
trust_anchors = ["{root}"]
egress_allow = ["{unit.removeprefix("http://")}"]
"""
        )
        authority = open_authority(ca.state, SystemClock())
        chain = authority.issue(Issuance(csr_for(ALICE, KEY), person_from_mapping(ALICE), "the-signer"))
        yield Place(directory, config, root, chain)


@pytest.fixture
def place(services: Place, tmp_path: Path) -> Place:
    return Place(tmp_path / "archive", services.config, services.root, services.chain)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_folder_is_lifted_and_what_cannot_be_is_named_and_left(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = place.sign("one.pdf"), place.sign("below/two.PDF")
    two.chmod(0o640)
    broken, unsigned = place.folder / "broken.pdf", place.folder / "unsigned.pdf"
    changed = bytearray(one.read_bytes())
    changed[changed.index(b"(one.pdf)") + 1] ^= 1
    broken.write_bytes(changed)
    unsigned.write_bytes(blank_pdf())
    (place.folder / "text.txt").write_text("no PDF")
    (place.folder / "link.pdf").symlink_to(one)
    before = one.read_bytes()
    assert place.run(place.folder, "--level", "B-LTA", "--json") == 1
    told = {Path(each["file"]).name: each for each in lines(capsys)}
    assert {name: each["result"] for name, each in told.items()} == {
        "one.pdf": "extended", "two.PDF": "extended", "broken.pdf": "failed", "unsigned.pdf": "unsigned",
    }  # fmt: skip
    assert (told["one.pdf"]["before"], told["one.pdf"]["after"]) == ("B-B", "B-LTA")
    assert told["broken.pdf"]["error"] == "document_refused"
    assert "does not fit what it covers" in told["broken.pdf"]["reason"]
    assert one.read_bytes().startswith(before)
    assert stat.S_IMODE(two.stat().st_mode) == 0o640
    assert broken.read_bytes() == bytes(changed)
    assert sorted(path.name for path in place.folder.iterdir()) == sorted(
        ["one.pdf", "below", "broken.pdf", "unsigned.pdf", "text.txt", "link.pdf"]
    )
    # Again: there is nothing to do; and a file that is named has to have a signature.
    assert place.run(one, "--level", "B-LT") == 0
    assert "B-LTA already" in capsys.readouterr().out
    assert place.run(unsigned, "--level", "B-T") == 1
    assert "no signature" in capsys.readouterr().err


def test_DOS_01_what_is_refused_in_confinement_is_never_read_outside_and_the_others_are_lifted(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = place.sign("0.pdf"), place.sign("z.pdf")
    cases = ("very deep", "encrypted", "hybrid", "XFA", "bomb of objects", "cut off", "a loop of tables", "revisions")
    octets = {case: hostile.REFUSED[case][1]() for case in cases}
    for case in cases:
        (place.folder / f"{case}.pdf").write_bytes(octets[case])
    # Signed at its end, and then something that its signature does not permit.
    changed = place.folder / "changed.pdf"
    changed.write_bytes(
        hostile.saved_incrementally(signed_pdf(hostile.plain(), KEY, place.chain, SystemClock().now()))
    )
    read: list[bytes] = []
    lift = extending.extended

    def observed(pdf: bytes, *rest: Any, **options: Any) -> extending.Extended:
        read.append(pdf)
        return lift(pdf, *rest, **options)

    monkeypatch.setattr(extending, "extended", observed)
    sound = [first.read_bytes(), last.read_bytes()]
    assert place.run(place.folder, "--level", "B-T", "--json") == 1
    told = {Path(each["file"]).stem: each for each in lines(capsys)}
    assert {case: (told[case]["error"], told[case]["reason"]) for case in cases} == {
        case: ("document_refused", REASONS[hostile.REFUSED[case][0]]) for case in cases
    }
    assert told["changed"]["reason"] == REASONS["changed_after_signature"]
    assert [told[name]["result"] for name in ("0", "z")] == ["extended", "extended"]
    assert read == sound
    assert all((place.folder / f"{case}.pdf").read_bytes() == octets[case] for case in cases)


def test_DOS_01_where_nobody_can_look_at_a_file_it_is_left(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.sign("one.pdf")
    before = path.read_bytes()
    monkeypatch.setattr(command, "_EXAMINATION", ExaminerSettings(workers=0, wait_seconds=0.01))
    assert place.run(path, "--level", "B-T", "--json") == 1
    assert lines(capsys)[0]["error"] == "examiner_unavailable"
    assert path.read_bytes() == before


def test_a_file_that_is_certified_against_further_signatures_is_stamped_all_the_same(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place.sign("one.pdf", Wanted(certify=True, permissions=1))
    assert place.run(path, "--level", "B-LTA") == 0
    assert "B-B -> B-LTA" in capsys.readouterr().out
    broken = bytearray(path.read_bytes())
    broken[broken.index(b"(one.pdf)") + 1] ^= 1
    path.write_bytes(broken)
    assert place.run(path, "--renew") == 1
    assert REASONS["signature_broken"] in capsys.readouterr().err


@pytest.mark.parametrize("level", ["B-T", "B-LT"])
def test_a_file_is_lifted_step_by_step(place: Place, capsys: pytest.CaptureFixture[str], level: str) -> None:
    path = place.sign("one.pdf")
    assert place.run(path, "--level", level) == 0
    assert f"B-B -> {level}" in capsys.readouterr().out
    assert place.run(path, "--level", "B-LTA") == 0
    assert f"{level} -> B-LTA" in capsys.readouterr().out
    assert place.run(path, "--renew") == 0
    assert "B-LTA -> B-LTA" in capsys.readouterr().out


def test_where_nobody_stamps_a_file_is_left_as_it_was(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.sign("one.pdf")
    before = path.read_bytes()
    config = place.folder / "down.toml"
    config.write_text(place.config.read_text().replace("/tsa", "/nowhere"))
    assert command.main(["extend", str(path), "--level", "B-T", "--json", "--config", str(config)]) == 1
    (told,) = lines(capsys)
    assert told["error"] == "no_stamp"
    config.write_text(place.config.read_text().replace("settings.egress_allow", "# "))
    assert command.main(["extend", str(path), "--level", "B-LT", "--json", "--config", str(config)]) == 1
    assert lines(capsys)[0]["error"] == "not_extendable"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.pdf", "--level", "B-T"), "no such file"),
        ((".", "--level", "B-B"), "invalid choice"),
        ((".",), "--level or --renew"),
        ((".", "--level", "B-T", "--renew"), "archives"),
    ],
)
def test_a_command_that_cannot_be_carried_out_does_nothing(
    place: Place, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    try:
        code = place.run(*arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    assert words in capsys.readouterr().err


def test_settings_that_cannot_be_used_are_named_together(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.folder.mkdir()
    config = place.folder / "extend.toml"
    config.write_text('mode = "production"\ntimestamp_authorities = []\n[status]\nconnector = "http"\n')
    assert command.main(["extend", str(place.folder), "--renew", "--config", str(config)]) == 2
    told = capsys.readouterr().err
    assert "trust_anchors" in told
    config.write_text(place.config.read_text().replace(str(place.root), str(config)))
    assert command.main(["extend", str(place.folder), "--renew", "--config", str(config)]) == 2


def test_a_file_that_somebody_else_writes_is_left_to_them(tmp_path: Path) -> None:
    path = tmp_path / "one.pdf"
    path.write_bytes(b"first")
    content = read(path)
    path.write_bytes(b"theirs")
    with pytest.raises(FileChanged):
        replace(path, content, b"ours")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileUnusable):
        read(tmp_path / "nothing.pdf")
    (tmp_path / "link.pdf").symlink_to(path)
    replace(tmp_path / "link.pdf", read(tmp_path / "link.pdf"), b"ours")
    assert (tmp_path / "link.pdf").is_symlink()
    assert path.read_bytes() == b"ours"
    assert found([tmp_path, path]) == [Found(path, named=False)]
