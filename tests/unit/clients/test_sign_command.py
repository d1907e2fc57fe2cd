"""`privyseal sign`: what becomes of files, what it says, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from clients.csc import Scheme, UsageError, verify
from clients.csc.sign import cli
from clients.csc.sign.plan import Job, plan, prepare, write
from clients.csc.sign.report import Report
from examples.pdf_signing import verify as verify_pdf
from examples.sample_contract import make_sample_pdf
from tests.sockets import free_port
from tests.unit.clients.scripted import Scripted
from tests.unit.clients.world import World
from tests.unit.examples.certificates import Signer as Key

pytestmark = pytest.mark.loopback
Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def world(server: Scripted, key: Key) -> World:
    return World(server, key)


@pytest.fixture
def run(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, with a browser that comes back; its exit code and its JSON."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("s3cret-of-the-client")

    def call(*arguments: str | Path, answer: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        uri = f"http://127.0.0.1:{free_port()}/callback"
        options = cli.parser().parse_args(
            [
                *("--url", world.server.url, "--client-id", "c", "--client-secret-file", str(secret)),
                *("--redirect-uri", uri, "--json", "--timeout", "20"),
                *map(str, arguments),
            ]
        )

        def browse(_url: str) -> None:
            form = world.server.last("/as/par").form
            came = {"state": form["state"], "iss": f"{world.server.url}/as", **(answer or {"code": "c"})}
            threading.Thread(target=lambda: requests.get(uri, params=came, timeout=5)).start()

        code = cli.run(options, browse, lambda _: "")
        shown = capsys.readouterr()
        assert "s3cret-of-the-client" not in shown.out + shown.err
        return code, json.loads(shown.out)

    return call


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "contract.pdf").write_bytes(make_sample_pdf())
    (folder / "data.bin").write_bytes(b"anything\r\n\0" * 100)
    return [folder / "contract.pdf", folder / "data.bin"]


def test_a_pdf_is_signed_inside_and_another_file_beside(
    run: Run, files: list[Path], key: Key, tmp_path: Path, world: World
) -> None:
    code, answer = run(*files)
    assert code == 0, answer
    assert answer["ok"]
    assert answer["credential"]["signer"] == "Alice Example"
    pdf, cms = (Path(each["results"][0]) for each in answer["signed"])
    assert (pdf.name, cms.name) == ("contract-signed.pdf", "data.bin.p7s")
    verdict = verify_pdf(pdf.read_bytes(), [key.root])
    assert verdict.bottom_line, verdict
    root = tmp_path / "root.pem"
    root.write_bytes(x509.load_der_x509_certificate(key.root).public_bytes(Encoding.PEM))
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(cms), "-content", str(files[1]),
         "-CAfile", str(root), "-purpose", "any", "-out", os.devnull],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (documents,) = world.approved()
    assert [each["label"] for each in documents] == ["contract.pdf", "data.bin"]
    assert not list(tmp_path.rglob("*.part"))


def test_a_raw_value_comes_with_its_certificates(run: Run, files: list[Path], key: Key, tmp_path: Path) -> None:
    code, answer = run(files[1], "--form", "raw", "--out", tmp_path / "new" / "folder")
    assert code == 0, answer
    import hashlib

    value, chain = map(Path, answer["signed"][0]["results"])
    assert (value.name, chain.name) == ("data.bin.sig", "data.bin.sig.pem")
    digest = hashlib.sha256(files[1].read_bytes()).digest()
    verify(key.certificate, Scheme("sha256", "1.2.840.10045.4.3.2"), digest, value.read_bytes())
    assert [each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(chain.read_bytes())] == list(
        key.chain
    )


def test_a_result_that_is_there_is_never_replaced_silently(run: Run, files: list[Path], world: World) -> None:
    there = files[0].with_name("contract-signed.pdf")
    there.write_bytes(b"precious")
    code, answer = run(*files)
    assert (code, answer["error"]["code"]) == (2, "usage")
    assert there.read_bytes() == b"precious"
    assert world.server.asked == []
    code, answer = run(*files, "--skip-existing")
    assert (code, answer["skipped"]) == (0, [str(files[0])])
    assert there.read_bytes() == b"precious"
    assert run(*files, "--overwrite")[0] == 0
    assert there.read_bytes() != b"precious"
    # all done: nobody is asked for anything
    before = len(world.server.asked)
    assert run(*files, "--skip-existing")[0] == 0
    assert len(world.server.asked) == before


def test_a_result_that_appears_meanwhile_is_not_replaced(files: list[Path], key: Key) -> None:
    (job,), _ = plan([files[1]], folder=None, form="raw", overwrite=False, skip_existing=False)
    prepared = prepare(job, key.chain, Scheme("sha256", "1.2.840.10045.4.3.2"))
    job.results[0].write_bytes(b"precious")
    with pytest.raises(UsageError, match="cannot be written"):
        write(job, prepared.finish(b"value"), overwrite=False)
    assert job.results[0].read_bytes() == b"precious"
    assert not list(job.folder.glob(".*.part"))


def test_a_failure_on_the_way_loses_nothing_that_was_signed(run: Run, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    names = [folder / f"{number:03}.txt" for number in range(60)]
    for path in names:
        path.write_text(path.name)
    real = world.sign_with
    left = [30]

    def sign(digest: bytes) -> bytes:
        left[0] -= 1
        return real(digest if left[0] >= 0 else bytes(32))

    world.sign_with = sign
    code, answer = run(*names, "--form", "raw")
    assert code == cli.PARTLY
    assert answer["error"]["code"] == "signature_wrong"
    assert len(answer["signed"]) == 30
    assert len(answer["left"]) == 30
    assert len(list(folder.glob("*.sig"))) == 30
    world.sign_with = real
    code, answer = run(*names, "--form", "raw", "--skip-existing")
    assert (code, len(answer["signed"]), len(answer["skipped"])) == (0, 30, 30)
    assert [len(each) for each in world.approved()] == [60, 30]


def test_a_refusal_and_its_words_are_told(run: Run, files: list[Path]) -> None:
    code, answer = run(*files, answer={"error": "access_denied", "error_description": "The person said no"})
    assert code == 3
    assert answer["error"]["error"] == "access_denied"
    assert answer["left"] == [str(path) for path in files]
    assert not answer["ok"]


def test_what_cannot_be_signed_is_told_before_anybody_is_asked(
    run: Run, files: list[Path], world: World, tmp_path: Path
) -> None:
    broken = tmp_path / "in" / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7 nonsense")
    for arguments in (
        [*files, broken],
        [tmp_path / "nothing.txt"],
        [tmp_path],
        [files[0], files[0]],
        [files[0], tmp_path / "in" / "contract.PDF"],
        [*files, "--ca-file", tmp_path / "nothing"],
        [*files, "--client-key-file", tmp_path / "secret"],
    ):
        code, answer = run(*arguments)
        assert (code, answer["error"]["code"]) == (2, "usage"), arguments
    assert [each.path for each in world.server.asked] == []


def test_a_service_that_is_not_there_and_one_that_refuses(run: Run, files: list[Path], world: World) -> None:
    assert run(*files, "--url", "http://127.0.0.1:9/csc/v2")[0] == 7
    assert run(*files, "--url", "http://sign.example/csc/v2")[0] == 2
    world.refusals = [(400, {"error": "invalid_request", "error_description": "SAD expired"}, {})]
    code, answer = run(*files)
    assert (code, answer["error"]["error_description"]) == (5, "SAD expired")
    assert run(*files, "--credential", "another")[0] == 2


def test_a_file_name_is_shown_without_what_hides_in_it(tmp_path: Path) -> None:
    assert Job(tmp_path / "a\u202eb\n.txt", "raw", tmp_path).label == "a?b?.txt"
    assert len(Job(tmp_path / ("x" * 300), "raw", tmp_path).label) == 255


HOSTILE = "Sign\x1b]0;mine\x07\x1b[2J\x9b31m\r\u202egnp\nsigned: all"


@pytest.mark.parametrize("as_json", [False, True])
def test_DOS_05_what_a_service_says_writes_nothing_else_on_a_terminal(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    screen = StringIO()
    report = Report(as_json, screen=screen)
    report.facts["service"] = {"name": HOSTILE}
    report.say(f"{HOSTILE} (CSC 2.0.0.2)")
    report.finish(5, {"code": "service_refused", "message": HOSTILE})
    answer = capsys.readouterr().out
    assert screen.getvalue().count("\n") == 2
    assert all(character.isprintable() or character == "\n" for character in screen.getvalue() + answer)
    # A program gets it as it was.
    assert not as_json or json.loads(answer)["service"]["name"] == HOSTILE
