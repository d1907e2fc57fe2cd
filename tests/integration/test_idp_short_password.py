"""A password from before that is too short to stand alone, through the pages, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditlog.chain import verify
from auditlog.sql import read_entries
from idp.policy.evaluate import evaluate
from idp.policy.load import parse_policy
from idp.policy.records import record_from_json, verdict_of
from idp.storage import decisions
from idp.storage.audit import TABLES
from idp.storage.engine import reading
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.factors import approve
from tests.unit.idp_web.test_short_password import CHANGEABLE, LONG, SHORT, give

SIGN_IN = BeginInteraction("test", "sign_in", "shop", {}, client_name="Shop")


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url, policy=CHANGEABLE)
    made.add_account("bob", phone=None)
    for name in ("alice", "bob"):
        give(made, name, SHORT)
    yield made
    made.engine.dispose()


def test_it_is_told_replaced_and_then_signs_in_and_every_decision_can_be_made_again(idp: Idp) -> None:
    browser = idp.client()
    path = idp.path(browser, SIGN_IN)
    idp.sign_in(browser, path, "bob", SHORT)
    page = browser.get(path)
    assert (page.status_code, "Your password is too short" in page.text) == (403, True)
    form = page.text.partition('data-form="longer"')[2].partition("</form>")[0]
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
    assert set(fields) == {"csrf_token", "factor"}
    begun = browser.post("/account/factors/add", data=fields).location
    new = approve(idp, browser, begun).location
    assert idp.post(browser, new, password=LONG).location == path
    assert idp.sign_in(browser, path, "bob", LONG).location == "http://rp.localhost:8405/callback?ok"
    elsewhere = idp.client()
    former = idp.sign_in(elsewhere, idp.path(elsewhere, SIGN_IN), "bob", SHORT)
    assert (former.status_code, "User name or password is not right" in former.text) == (403, True)
    wrong: list[decisions.Disagreement] = []
    policy = parse_policy(CHANGEABLE, "tests.yaml")
    with reading(idp.engine) as connection:
        found = list(decisions.audited(connection, disagrees=wrong.append))
        entries = list(read_entries(connection, TABLES.entries))
    assert wrong == []
    kept = [record_from_json(value) for value in reversed(found)]
    assert verify(iter(entries)).sequence == len(entries)
    assert [(item.facts.action, item.facts.replaces, item.verdict.outcome) for item in kept] == [
        ("account.enrol_factor", "password", "allow"),
        ("sign_in", None, "allow"),
    ]
    assert [verdict_of(evaluate(policy, item.facts)) for item in kept] == [item.verdict for item in kept]


def test_beside_another_factor_it_signs_in(idp: Idp) -> None:
    browser = idp.client()
    path = idp.path(browser, SIGN_IN)
    idp.sign_in(browser, path, password=SHORT)
    assert "By itself your password would have to be longer" in browser.get(path).text
    assert idp.pass_otp(browser, path).location == "http://rp.localhost:8405/callback?ok"
    approval = idp.finished[-1].approval
    assert approval is not None
    assert [(item.factor, item.min_length) for item in approval.evidence] == [("password", 0), ("sms_otp", None)]
