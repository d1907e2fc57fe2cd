"""Two worker processes of the real server: the file is edited while they answer, and no answer is of two policies."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from sqlalchemy import text

from foundation.files import write_secret
from idp.cli.administration import main
from idp.storage.engine import open_engine, reading
from tests.fakes.idp import EMAIL, PASSWORD
from tests.integration.granian import granian
from tests.sockets import free_port

WORKERS = 2
THREADS = 4
PATIENCE = 20

CONFIG = """\
mode = "development"
issuer = "http://127.0.0.1:{port}"
database_url = "sqlite:///{directory}/idp.sqlite"
key_dir = "keys"
policy_file = "policy.yaml"
[signing]
csc_base = "http://sign.localhost:8402/csc/v2"
sam_id = "urn:sam"
[messaging.mail]
connector = "smtp"
[messaging.mail.settings]
host = "127.0.0.1"
sender = "no-reply@example.org"
"""
POLICY = """\
policy: 1
name: live
levels:
  - name: strong
    acr: urn:example:strong
    any_of:
      - all_of: [{{factor: password}}, {{factor: email_otp}}]
rules:
  - {{id: {word}-a, action: [sign_in, account.enrol_factor], require: strong, because: Sentence {word}.}}
  - {{id: {word}-b, action: sign_in, require: strong, because: Sentence {word} too.}}
"""
CASES = """\
policy-test: 1
cases:
  - name: a password is not enough
    action: sign_in
    evidence: [password]
    person: {{enrolled: [password, email_otp]}}
    expect: {{outcome: step_up, reasons: [{word}-a, {word}-b, "level:strong"]}}
"""


@dataclass
class Live:
    """The server, and a person who has to step up."""

    directory: Path
    page: str
    cookies: dict[str, str]
    answers: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    """Status, and the words of all policies that the page quotes."""
    stop: threading.Event = field(default_factory=threading.Event)

    def write(self, word: str) -> None:
        """Another policy with its cases, as an editor would save them."""
        for name, data in (("policy.test.yaml", CASES), ("policy.yaml", POLICY)):
            (self.directory / "new").write_text(data.format(word=word))
            (self.directory / "new").rename(self.directory / name)

    def ask(self) -> tuple[int, frozenset[str]]:
        """One request, on a connection of its own."""
        answer = requests.get(self.page, cookies=self.cookies, timeout=PATIENCE)
        quoted = re.findall(r'data-rule="([a-z]+)-[ab]"', answer.text) + re.findall(r"Sentence ([a-z]+)", answer.text)
        assert len(quoted) >= 4 or answer.status_code != 200, answer.text
        return answer.status_code, frozenset(quoted)

    def keep_asking(self) -> None:
        """Until it is over."""
        while not self.stop.is_set():
            self.answers.append(self.ask())

    def until_all_answer(self, word: str) -> None:
        """Both workers decide by the policy: so many answers in a row come from both."""
        deadline = time.monotonic() + PATIENCE
        row = 0
        while row < 10 * WORKERS:
            assert time.monotonic() < deadline, f"not all workers decide by {word}"
            row = row + 1 if self.ask()[1] == {word} else 0

    def chain(self) -> list[str]:
        """The events about policies."""
        engine = open_engine(f"sqlite:///{self.directory / 'idp.sqlite'}")
        query = text("select event from audit_entries where event like 'policy.%' order by sequence")
        with reading(engine) as connection:
            found = list(connection.execute(query).scalars())
        engine.dispose()
        return found


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    port = free_port()
    made = Live(tmp_path, "", {})
    made.write("one")
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path, port=port))
    write_secret(tmp_path / "password", PASSWORD.encode())
    config = ("--config", str(tmp_path / "idp.toml"))
    assert main(("init", *config)) == 0
    person = ("--username", "alice", "--name", "Alice Example", "--email", EMAIL)
    assert main(("account", "create", *person, "--password-file", str(tmp_path / "password"), *config)) == 0
    with granian("idp", port, tmp_path / "idp.toml", log=tmp_path / "log", workers=WORKERS):
        made.page, made.cookies = _sign_in(f"http://127.0.0.1:{port}")
        yield made


def _sign_in(origin: str) -> tuple[str, dict[str, str]]:
    with requests.Session() as browser:
        page = browser.get(f"{origin}/account/", timeout=PATIENCE)
        form = re.search(r'<form data-form="sign-in"[^>]*action="([^"]+)"', page.text)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert form is not None
        assert token is not None
        data = {"csrf_token": token[1], "username": "alice", "password": PASSWORD}
        answer = browser.post(urljoin(origin, form[1]), data=data, timeout=PATIENCE)
        assert 'data-form="choose"' in answer.text, answer.text
        return answer.url, {cookie.name: cookie.value or "" for cookie in browser.cookies}


def test_all_workers_decide_by_an_edited_file_within_seconds_and_no_answer_fails_or_is_of_two_policies(
    live: Live,
) -> None:
    threads = [threading.Thread(target=live.keep_asking) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        live.write("two")
        live.until_all_answer("two")
        (live.directory / "policy.yaml").write_text("policy: 1\nname: broken\nlevels: [\n")
        _warned(live)
        live.until_all_answer("two")
        live.write("three")
        live.until_all_answer("three")
    finally:
        live.stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(live.answers) >= 100
    assert {status for status, _ in live.answers} == {200}
    assert {len(words) for _, words in live.answers} == {1}, "an answer is by one policy"
    assert {word for _, words in live.answers for word in words} == {"one", "two", "three"}
    found = live.chain()
    # Between the two renames of one edit, a worker may find the new cases beside the old policy.
    assert found.count("policy.in_force") == 3
    assert "policy.refused" in found


def _warned(live: Live) -> None:
    deadline = time.monotonic() + PATIENCE
    url = urljoin(live.page, "/health/ready")
    while requests.get(url, timeout=PATIENCE).json() != {"status": "degraded", "warnings": ["policy_faults"]}:
        assert time.monotonic() < deadline, "health does not warn"
        time.sleep(0.05)
