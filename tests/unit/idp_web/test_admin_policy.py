"""The policy's pages: what is in force, what it decides about assumed facts, and a candidate beside it."""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import thread_time
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from idp.cli.policy import root as cli
from idp.cli.policy.situation import situation
from idp.policy.evaluate import evaluate
from idp.policy.load import parse_policy
from idp.settings import PolicySettings
from idp.web.admin import difference, source
from idp.web.admin import explore as explorer
from idp.web.admin.source import Note
from tests.fakes.idp import EMAIL, PHONE, POLICY, Idp, make_idp
from tests.unit.idp_web.admin import ADMINISTRATION, administrator, chain, make_admin_idp

IN_FORCE = (POLICY + ADMINISTRATION).decode()
STRICTER = IN_FORCE.replace("    require: low\n", "    require: substantial\n", 1)

SECONDS = 60
"""Of processor time, on a busy machine and with every line counted; what is measured on an idle one is below 5."""


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_admin_idp(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return administrator(idp, "alice", "policy", "auditors")


def explore(browser: FlaskClient, **question: Any) -> TestResponse:
    return browser.get("/admin/policy/explore", query_string={"action": "signature.activate", **question})


def trial(idp: Idp, browser: FlaskClient, candidate: str, cases: str = "", **fields: Any) -> TestResponse:
    data = {"csrf_token": idp.csrf(browser, "/admin/policy/try"), "candidate": candidate, "cases": cases, **fields}
    return browser.post("/admin/policy/try", data=data, content_type="multipart/form-data")


# In force


def test_the_file_in_force_is_shown_with_its_lines(idp: Idp, browser: FlaskClient) -> None:
    page = browser.get("/admin/policy").text
    assert parse_policy(IN_FORCE.encode(), "x").sha256 in page
    for number, line in enumerate(IN_FORCE.splitlines(), 1):
        assert f'id="L{number}"' in page
        assert line.strip() in page.replace("&#39;", "'")


def test_findings_stand_at_their_lines(tmp_path: Path) -> None:
    claims = b'claims: {eidas-2015-1502: substantial, "nist-800-63b:r4": aal2}'
    policy = POLICY.replace(b"claims: {eidas-2015-1502: substantial}", claims) + ADMINISTRATION
    idp = make_admin_idp(tmp_path, policy)
    page = administrator(idp, "alice", "policy").get("/admin/policy").text
    found = re.search(r'<li id="L(\d+)" class="noted error">.*?<b>(L\d+)</b>', page, re.DOTALL)
    assert found is not None
    assert found[2] in {"L1", "L9"}
    assert re.search(rf'href="#L{found[1]}"', page)
    idp.engine.dispose()


def test_a_file_that_was_edited_meanwhile_is_not_shown_as_the_one_in_force(
    idp: Idp, browser: FlaskClient, tmp_path: Path
) -> None:
    (tmp_path / "unused.yaml").write_text("policy: 1 # another text, <b>edited</b>\n")
    page = browser.get("/admin/policy").text
    assert "The file holds another text now" in page
    assert "another text, " not in page


def edit(idp: Idp, file: Path, text: str) -> None:
    """Write a file, long enough ago for a server that looks at it after a pause."""
    file.write_text(text)
    at = idp.clock.now().timestamp()
    os.utime(file, (at, at))
    idp.clock.advance(60)


def test_what_was_in_force_and_what_was_refused_is_in_the_history(tmp_path: Path) -> None:
    file, cases = tmp_path / "policy.yaml", tmp_path / "policy.test.yaml"
    file.write_text(IN_FORCE)
    settings = PolicySettings(shadow_file=tmp_path / "candidate.yaml")
    (tmp_path / "candidate.yaml").write_text(STRICTER)
    idp = make_idp(tmp_path, policy=None, policy_file=file, policy_settings=settings)
    browser = administrator(idp, "alice", "policy", "auditors")
    assert "Decisions that differ</a>: 0" in browser.get("/admin/").text
    first = parse_policy(IN_FORCE.encode(), "x").sha256
    edit(idp, file, IN_FORCE.replace("max_age: 1h", "max_age: 2h"))
    page = browser.get("/admin/policy").text
    assert "max_age: 2h" in page
    edit(idp, file, "policy: 1\nname: <b>broken</b>\n")
    page = browser.get("/admin/policy").text
    assert "policy_faults" in page
    assert "max_age: 2h" in page, "what was in force stays, and its text is known"
    history = browser.get("/admin/policy/history").text
    assert history.count("Put in force") == 2
    assert "&lt;b&gt;broken" in history
    second = re.search(r'href="(/admin/policy/history/[0-9a-f]{64})"', history)
    assert second is not None
    version = browser.get(second[1]).text
    assert f"What differs from <bdi>tests {first[:8]}</bdi>" in version
    assert "<del>      - {category: possession, max_age: 1h}</del>" in version
    assert "rule &#39;administration&#39;" in version
    assert "They say the same" in browser.get(f"{second[1]}?from={second[1][-64:]}").text
    assert browser.get(f"/admin/policy/history/{'0' * 64}").status_code == 404
    assert not cases.exists()
    idp.engine.dispose()


# Explore


def test_the_explorer_decides_as_the_policy_does_and_points_at_the_lines(browser: FlaskClient) -> None:
    page = explore(browser, username="alice", used=["password"]).text
    assert 'data-outcome="step_up"' in page
    line = next(number for number, text in enumerate(IN_FORCE.splitlines(), 1) if "id: sign\n" in text + "\n")
    assert re.search(rf'data-rule="sign" data-line="{line}"', page)
    assert f'<li id="L{line}" class="noted reason">' in page
    allowed = explore(browser, username="alice", used=["password", "sms_otp"], bound="sms_otp").text
    assert 'data-outcome="allow"' in allowed
    old = explore(browser, username="alice", used=["password", "sms_otp"], bound="sms_otp", age_sms_otp="11").text
    assert 'data-outcome="step_up"' in old
    refused = explore(browser, action="account.enrol_factor").text
    assert 'data-outcome="deny"' in refused
    assert "No rule is about it." in refused


def test_the_explorer_takes_each_kind_of_fact(browser: FlaskClient) -> None:
    page = explore(
        browser,
        action="sign_in",
        client="strict",
        credential="c1",
        scal="1",
        qualifier="eu_eidas_qes",
        network="192.0.2.7",
        at="2026-03-02T09:00",
        groups="staff, legal",
        attributes="department=legal department=tax",
        proofing="high",
        acr_values="http://eidas.europa.eu/NotNotified/LoA/low",
        essential_acr="http://eidas.europa.eu/NotNotified/LoA/substantial",
        max_age="300",
        force="yes",
        used=["password", "passkey"],
        age_password="5",
        flag_passkey=["user_verified", "made_up"],
        has=["sms_otp"],
    )
    assert page.status_code == 200
    command = re.search(r'<pre class="command"[^>]*><code>(.*?)</code>', page.text, re.DOTALL)
    assert command is not None
    for part in (
        "--client strict",
        "--group legal --group staff",
        "--scal 1",
        "--max-age 300",
        "--force",
        "--acr http",
    ):
        assert part in command[1], part
    assert "password,age=300" in command[1]
    assert "passkey,flags=user_verified" in command[1]
    assert "made_up" not in page.text


def test_the_explorer_s_command_asks_about_the_very_same_facts() -> None:
    asked = explorer.Question(
        action="sign_in",
        client="strict",
        credential="c1",
        network="192.0.2.7",
        groups="staff, legal",
        attributes="department=legal department=tax site=bonn",
        acr_values="urn:a urn:b",
        max_age="300",
        used=frozenset({"password", "sms_otp"}),
        bound=frozenset({"sms_otp"}),
        has=frozenset({"email_otp", "totp"}),
        ages={"password": "5"},
    )
    facts = explorer.facts_of(asked, None, datetime(2026, 3, 2, 10, 0, 0, tzinfo=UTC))
    policy = parse_policy(IN_FORCE.encode(), "policy.yaml")

    words = shlex.split(explorer.command(policy, facts))
    stated = situation(cli.parser().parse_args(words[2:]), policy).facts

    ids = {f"argument-{number}": item.authenticator_id for number, item in enumerate(facts.evidence, 1)}
    evidence = tuple(replace(item, authenticator_id=ids[item.authenticator_id]) for item in stated.evidence)
    assert words[:4] == ["privyseal", "policy", "explain", "policy.yaml"]
    assert replace(stated, evidence=evidence) == facts


def test_the_explorer_s_codes_travel_as_real_ones_do() -> None:
    by_sms = STRICTER.replace(
        "          - factor: sms_otp\n", "          - factor: sms_otp\n            channel: sms\n"
    )
    assert by_sms.count("channel: sms") == 1
    policy = parse_policy(by_sms.encode(), "policy.yaml")
    asked = explorer.Question(action="sign_in", proofing="high", used=frozenset({"password", "sms_otp"}))
    now = datetime(2026, 3, 2, 10, 0, 0, tzinfo=UTC)
    assert evaluate(policy, explorer.facts_of(asked, None, now)).outcome == "allow"
    asked = replace(asked, used=frozenset({"password"}), has=frozenset({"sms_otp"}))
    assert evaluate(policy, explorer.facts_of(asked, None, now)).outcome == "step_up"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"username": "nobody"}, "nobody of that user name"),
        ({"at": "yesterday"}, "The time is written as"),
        ({"at": "0001-01-01T00:00", "used": "password", "age_password": "525600"}, "The time is written as"),
        ({"network": "example.org"}, "A network address"),
        ({"max_age": "-1"}, "whole numbers"),
        ({"max_age": "99999999"}, "whole numbers"),
        ({"used": "password", "age_password": "1e9"}, "whole numbers"),
        ({"attributes": "department"}, "name=value"),
        ({"client": "x" * 600}, "too long"),
    ],
)
def test_a_question_with_a_fault_is_answered_with_what_is_wrong(
    browser: FlaskClient, question: dict[str, str], words: str
) -> None:
    answer = explore(browser, **question)
    assert answer.status_code == 400
    assert words in answer.text


def test_looking_somebody_up_is_recorded_and_shows_no_address(idp: Idp, browser: FlaskClient) -> None:
    page = explore(browser, username="alice").text
    assert PHONE not in page
    assert EMAIL not in page
    assert [item["subject"] for item in chain(idp, "admin.viewed")] == [idp.alice]
    explore(browser)
    assert len(chain(idp, "admin.viewed")) == 1


def test_SES_09_what_is_typed_into_the_explorer_is_text(browser: FlaskClient) -> None:
    for name in ("client", "username", "network", "acr_values", "groups", "at", "credential"):
        answer = explore(browser, **{name: '"><script>alert(1)</script>'})
        assert "<script" not in answer.text, name


# Try


def test_a_candidate_is_compared_with_the_policy_in_force_and_not_kept(
    idp: Idp, browser: FlaskClient, tmp_path: Path
) -> None:
    page = trial(idp, browser, STRICTER, action="sign_in", username="alice", used="password").text
    assert 'data-acceptable="yes"' in page
    assert re.findall(r'data-outcome="(\w+)"', page) == ["allow", "step_up"]
    assert "rule &#39;sign-in&#39;" in page
    assert "<del>    require: low</del>" in page
    assert "<ins>    require: substantial</ins>" in page
    assert "privyseal policy approve candidate.yaml --issuer http://idp.localhost:8401" in page
    assert (tmp_path / "unused.yaml").read_text() == IN_FORCE
    assert browser.get("/admin/policy").text.count(parse_policy(IN_FORCE.encode(), "x").sha256) == 1
    (seen,) = [item for item in chain(idp, "admin.viewed") if item["action"] == "admin.policy.try"]
    assert seen["candidate_sha256"] == parse_policy(STRICTER.encode(), "x").sha256


def test_the_form_begins_with_the_policy_in_force_and_its_cases(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(IN_FORCE)
    actions = ("sign_in", "signature.activate", "credential.create", "admin.view", "admin.roles.confirm")
    cases = "policy-test: 1\ncases:\n"
    for action in actions:
        client = "    client: strict\n" if action == "sign_in" else ""
        reasons = {
            "sign_in": "[sign-in, strict-client, 'level:substantial', default]",
            "signature.activate": "[sign, 'level:substantial', default]",
            "credential.create": "[order, 'level:substantial', default]",
            "admin.view": "[administration, 'level:substantial', default]",
            "admin.roles.confirm": "[administration-changes, administration, 'level:substantial', default]",
        }[action]
        cases += (
            f"  - name: nothing does not {action}\n    action: {action}\n{client}"
            f"    expect: {{outcome: deny, refusal: proofing, reasons: {reasons}}}\n"
        )
    (tmp_path / "policy.test.yaml").write_text(cases.replace(", default]", "]"))
    idp = make_idp(tmp_path, policy=None, policy_file=tmp_path / "policy.yaml")
    browser = administrator(idp, "alice", "policy")
    form = browser.get("/admin/policy/try").text
    assert "nothing does not admin.view" in form
    assert "id: administration-changes" in form
    page = browser.get("/admin/policy").text
    assert "5 cases" in page
    assert "policy.yaml" in page
    assert str(tmp_path) not in page, "where a file lies is nobody's business"
    idp.engine.dispose()


def test_recorded_decisions_are_asked_again(idp: Idp, browser: FlaskClient) -> None:
    other = idp.client()
    idp.sign_in(other, other.get("/account/").location)
    page = trial(idp, browser, STRICTER).text
    assert "1 of the latest 2 recorded decisions would come out otherwise" in page
    assert "1 of 1 recorded sign-in would now need step-up" in page


CASES = """\
policy-test: 1
cases:
  - name: a password signs in
    action: sign_in
    person: {enrolled: [password]}
    evidence: [{factor: password}]
    expect: {outcome: allow, reasons: [sign-in, "level:low"]}
"""


def test_the_candidates_cases_are_run(idp: Idp, browser: FlaskClient) -> None:
    page = trial(idp, browser, STRICTER, CASES).text
    assert 'data-acceptable="no"' in page
    assert "1 failed" in page
    assert "outcome: expected allow, got deny" in page
    assert "rule <b>sign</b>" in page, "a rule without a case is named"
    assert "line 1: " in trial(idp, browser, STRICTER, "policy-test: 2\n").text


def test_a_file_may_be_chosen_and_takes_precedence(idp: Idp, browser: FlaskClient) -> None:
    upload = (io.BytesIO(STRICTER.encode()), "../../etc/passwd<b>")
    page = trial(idp, browser, "not a policy", candidate_file=upload).text
    assert 'data-acceptable="yes"' in page
    assert "passwd" not in page


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policy: 1\nname: x\nname: y\n", "name"),
        ("a: &a [1]\nb: *a\n", "anchors are not allowed"),
        ("a: &a [*a, *a]\n", "aliases are not allowed"),
        ("<script>alert(1)</script>: 1\n", "&lt;script&gt;"),
        ("policy: 1\nname: '<img src=x onerror=alert(1)>'\n", "&lt;img src=x"),
        ("\x00\x01\x02", "error"),
        ("{{ 7*7 }}", "{{ 7*7 }}"),
    ],
)
def test_SES_09_a_hostile_candidate_is_refused_and_shown_as_text(
    idp: Idp, browser: FlaskClient, text: str, words: str
) -> None:
    answer = trial(idp, browser, text)
    assert answer.status_code == 200
    assert 'data-acceptable="no"' in answer.text
    assert words in answer.text
    assert "<script" not in answer.text
    assert "<img src=x" not in answer.text


def test_a_yaml_bomb_and_a_file_of_10_megabytes_are_refused_at_once(idp: Idp, browser: FlaskClient) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + at)}: &{chr(98 + at)} [{','.join(['*' + chr(97 + at)] * 9)}]\n" for at in range(9)
    )
    begun = thread_time()
    assert 'data-acceptable="no"' in trial(idp, browser, bomb).text
    large = {"CONTENT_LENGTH": "10000000", "CONTENT_TYPE": "multipart/form-data; boundary=x"}
    assert browser.post("/admin/policy/try", environ_overrides=large).status_code == 413
    # As the whole request may have so many octets, what is a little less than that is parsed.
    deep = "[" * 100_000
    assert 'data-acceptable="no"' in trial(idp, browser, deep).text
    assert thread_time() - begun < SECONDS


def test_nothing_is_no_candidate(idp: Idp, browser: FlaskClient) -> None:
    answer = trial(idp, browser, " \n")
    assert answer.status_code == 400
    assert "Please choose a file" in answer.text


# Lines


def test_lines_are_counted_as_yaml_counts_them() -> None:
    text = "a\r\nb\rc\nd\x85e\u2028f\n"
    assert [(line.number, line.text) for line in source.lines(text, {})] == [
        (1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e"), (6, "f"),
    ]  # fmt: skip


def test_a_note_about_a_line_that_is_not_there_is_about_the_last_one() -> None:
    found = source.lines("a\nb", {9: [Note("error", "x")], 0: [Note("reason", "y")]})
    assert [line.kind for line in found] == ["reason", "error"]


def test_stretches_of_which_nothing_is_said_are_folded() -> None:
    text = "\n".join(f"line {number}" for number in range(1, 41))
    found = source.runs(source.lines(text, {20: [Note("reason", "x")]}), {30})
    assert [(run.lines[0].number, run.lines[-1].number, run.folded) for run in found] == [
        (1, 16, True), (17, 30, False), (31, 40, True),
    ]  # fmt: skip
    assert source.runs(()) == ()


def test_a_difference_shows_what_changed_and_a_little_around_it() -> None:
    before = "\n".join(f"line {number}" for number in range(40))
    after = before.replace("line 20", "line twenty").replace("line 0\n", "")
    found = difference.lines(before, after)
    assert [line.text for line in found if line.kind == "removed"] == ["line 0", "line 20"]
    assert [line.text for line in found if line.kind == "added"] == ["line twenty"]
    assert [line.kind for line in found].count("gap") == 2
    assert max(line.before for line in found) == 24
    assert {line.kind for line in difference.lines(before, before)} == {"gap"}
    assert difference.lines("", "") == ()


def test_a_difference_of_very_long_files_is_made_quickly() -> None:
    before = "\n".join(f"a {number}" for number in range(5000))
    begun = thread_time()
    assert len(difference.lines(before, before.replace("a", "b"))) == 10_000
    assert thread_time() - begun < SECONDS


def test_DOS_06_files_whose_lines_are_all_alike_are_compared_as_wholes() -> None:
    """Looking for the longest stretch that both have would take this pair minutes."""
    before, after = "# x\n" * 1000, "# x\n# y\n" * 500
    found = difference.lines(before, after)
    assert [line.kind for line in found] == ["removed"] * 1000 + ["added"] * 1000
