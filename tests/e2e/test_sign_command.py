"""`privyseal sign` against the running product: a hundred files, one approval, every result valid."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

from clients.csc.sign import cli
from examples.options import parser
from examples.options import person as make_person
from examples.pdf_signing import load_certificates, verify
from examples.person import Page, Person, Returned
from examples.sample_contract import make_sample_pdf
from launcher.configuration import SIGN_CLIENT
from tests.e2e.conftest import ROOT, Product

FILES = 100
Sign = Callable[..., tuple[int, dict[str, Any]]]


class Approver:
    """A person whose browser the command opens: walks, and comes back to where the command listens."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self.consents = 0
        self.troubles: list[Exception] = []
        self.approve = True

    def open(self, url: str) -> None:
        threading.Thread(target=self._walk, args=(url,)).start()

    def _walk(self, url: str) -> None:
        try:
            arrival = self._person.walk(url, approve=self.approve)
            assert isinstance(arrival, Returned)
            self.consents += self._person.pages.count("consent")
            assert requests.get(arrival.url, timeout=10).status_code == 200
        except Exception as error:
            self.troubles.append(error)


@pytest.fixture
def approver(product: Product) -> Approver:
    ports = product.ports
    arguments = [
        *("--issuer", ports.url("idp"), "--inbox", ports.url("inbox"), "--password-file", str(product.password_file)),
        *("--redirect-uri", f"{ports.url('sign')}/callback", "--channel", "email"),
    ]
    return Approver(make_person(parser("test", "", "").parse_args(arguments)))


@pytest.fixture
def sign(product: Product, approver: Approver, capsys: pytest.CaptureFixture[str]) -> Sign:
    """The command for the demo; its exit code, and its JSON."""

    def call(*arguments: str | Path, url: str = product.csc_base) -> tuple[int, dict[str, Any]]:
        options = cli.parser().parse_args(
            [
                *("--url", url, "--client-id", SIGN_CLIENT, "--json", "--timeout", "60"),
                *("--client-secret-file", str(product.state / "dev" / "sign-secret")),
                *("--redirect-uri", f"{product.ports.url('sign')}/callback"),
                *map(str, arguments),
            ]
        )
        code = cli.run(options, approver.open, lambda _: "")
        shown = capsys.readouterr()
        assert approver.troubles == []
        return code, json.loads(shown.out)

    return call


def test_a_hundred_files_are_signed_with_one_approval(
    product: Product, sign: Sign, approver: Approver, tmp_path: Path
) -> None:
    pdf = make_sample_pdf()
    files = []
    for number in range(FILES):
        path = tmp_path / (f"contract {number:03}.pdf" if number % 2 else f"data {number:03}.txt")
        path.write_bytes(pdf if number % 2 else path.name.encode())
        files.append(path)
    out = tmp_path / "signed"
    code, answer = sign(*files, "--out", out, "--dpop")
    assert code == 0, answer
    assert approver.consents == 1
    assert len(answer["signed"]) == FILES
    assert len(list(out.iterdir())) == FILES
    roots = load_certificates(product.root_certificate.read_bytes())
    for path in sorted(out.glob("*.pdf"))[:: FILES // 10]:
        verdict = verify(path.read_bytes(), roots)
        assert verdict.bottom_line, verdict
    for path in sorted(out.glob("*.p7s"))[:: FILES // 10]:
        done = subprocess.run(
            ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(path),
             "-content", str(tmp_path / path.name.removesuffix(".p7s")),
             "-CAfile", str(product.root_certificate), "-purpose", "any", "-out", str(tmp_path / "content")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (path, done.stderr)
    # and again: what is there is left alone, and nobody is asked
    code, answer = sign(*files, "--out", out, "--skip-existing")
    assert (code, len(answer["skipped"]), approver.consents) == (0, FILES, 1)


def test_version_1_of_the_api_serves_it_too(product: Product, sign: Sign, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("one")
    code, answer = sign(path, url=f"{product.ports.url('web')}/csc/v1")
    assert code == 0, answer
    assert answer["service"]["specs"].startswith("1.0.")


def test_a_person_who_declines_has_nothing_signed(sign: Sign, approver: Approver, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("one")
    assert sign(path, "--credential", "0" * 32)[0] == 2
    approver.approve = False
    code, answer = sign(path)
    assert (code, answer["error"]["error"]) == (3, "access_denied")
    assert [each.name for each in tmp_path.iterdir()] == ["one.txt"]


class AtHome:
    """A person at their own pages, who approves whatever shows the code that they were told."""

    def __init__(self, person: Person, issuer: str) -> None:
        self._person = person
        self._issuer = issuer
        self._threads: list[threading.Thread] = []
        self.troubles: list[Exception] = []
        self.approved = 0

    def told(self, line: str) -> None:
        """What the command prints; a code in it is looked for on the page of approvals."""
        found = re.search(r"shows: (Code \d{6})", line)
        if found:
            self._threads.append(threading.Thread(target=self._approve, args=(found[1],)))
            self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def _approve(self, code: str) -> None:
        try:
            self._decide(code)
        except Exception as error:
            self.troubles.append(error)

    def _decide(self, code: str) -> None:
        browser = self._person._browser
        page = browser.open(f"{self._issuer}/account/approvals")
        assert isinstance(page, Page)
        if page.form("sign-in") is not None:
            self._person._respond(page, approve=True)
            page = browser.open(f"{self._issuer}/account/approvals")
            assert isinstance(page, Page)
        # The latest is listed first; the message that ties it to the command stands there.
        assert code in page.document.text_content()
        link = next(href for href in page.document.xpath("//a/@href") if "/account/approvals/" in href)
        page = browser.open(urljoin(self._issuer, link))
        assert isinstance(page, Page)
        assert code in page.document.text_content()
        arrival = browser.submit(page, page.form("open"), {})
        self._person._before = self._person._inbox.messages(self._person._identity.address)
        for _ in range(6):
            assert isinstance(arrival, Page)
            if not any(arrival.form(name) is not None for name in ("sign-in", "choose", "otp", "consent")):
                break
            arrival = self._person._respond(arrival, approve=True)
        self.approved += 1


def test_a_person_without_a_browser_here_approves_on_their_own_pages(
    product: Product, approver: Approver, tmp_path: Path
) -> None:
    path = tmp_path / "report.txt"
    path.write_text("a report")
    home = AtHome(approver._person, product.ports.url("idp"))
    command = [
        sys.executable, "-m", "launcher", "sign", str(path), "--url", product.csc_base, "--client-id", SIGN_CLIENT,
        "--client-secret-file", str(product.state / "dev" / "sign-secret"), "--login", "alice", "--timeout", "90",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        shown = []
        for line in running.stderr:
            shown.append(line)
            home.told(line)
    home.join()
    assert home.troubles == []
    assert running.returncode == 0, shown
    assert home.approved == 2
    assert (tmp_path / "report.txt.p7s").is_file()


def test_the_command_is_installed_and_tells_what_it_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "sign", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    for code in ("0 ", "2 ", "3 ", "4 ", "5 ", "7 ", "8 ", "9 ", "130"):
        assert f"\n  {code}" in done.stdout
