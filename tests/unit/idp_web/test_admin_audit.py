"""What auditors read: the chain, decisions with their reasons, an export; never a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from auditlog.chain import Entry, verify
from idp.storage import trail
from idp.storage.engine import reading
from idp.web.services import of
from tests.fakes.idp import EMAIL, PASSWORD, PHONE, Idp
from tests.unit.idp_web.admin import administrator, chain, make_admin_idp


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_admin_idp(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return administrator(idp, "alice", "auditors")


def test_records_are_found_by_event_and_by_what_they_name(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob")
    other = idp.client()
    idp.sign_in(other, other.get("/account/").location, "bob")
    assert "login.succeeded" in browser.get("/admin/audit").text
    only = browser.get("/admin/audit?event=login.").text
    assert re.search(r'<span class="at"><time [^>]*>[^<]*</time> UTC</span>', only), "one item of the record's line"
    assert "otp.sent</strong>" not in only
    assert only.count("login.succeeded</strong>") == 2
    assert browser.get("/admin/audit?text=account-bob&event=login.").text.count("login.succeeded</strong>") == 1
    for text in ("%", "account%bob", "acc_unt-bob", '"', "\\", "' or 1=1 --", "\x00"):
        assert "login.succeeded</strong>" not in browser.get("/admin/audit", query_string={"text": text}).text, text


def test_records_come_in_pages(idp: Idp, browser: FlaskClient) -> None:
    for number in range(61):
        with idp.engine.begin() as connection:
            of(idp.app).audit.record(connection, "keys.rotated", kid=f"key-{number}")
    first = browser.get("/admin/audit?event=keys.").text
    more = re.search(r'href="(/admin/audit\?[^"]*before=\d+[^"]*)"', first)
    assert more is not None
    second = browser.get(more[1].replace("&amp;", "&")).text
    assert (first.count("keys.rotated</strong>"), second.count("keys.rotated</strong>")) == (50, 11)
    assert "key-60" in first
    assert "key-0<" in second
    assert browser.get("/admin/audit?before=-1&text=").status_code == 200
    assert browser.get("/admin/audit?before=9999999999999999999999").status_code == 200


def test_a_decision_is_shown_with_its_reasons_at_their_lines(idp: Idp, browser: FlaskClient) -> None:
    (approved,) = chain(idp, "transaction.approved")
    page = browser.get(f"/admin/audit/decisions/{approved['decision_id']}").text
    assert "data-reason" in page
    assert "Level &#39;substantial&#39;" in page
    assert chain(idp, "admin.viewed")[-1]["decision_id"] == approved["decision_id"]
    assert browser.get("/admin/audit/decisions/none").status_code == 404


def test_what_is_exported_is_the_chain(idp: Idp, browser: FlaskClient) -> None:
    answer = browser.get("/admin/audit/export")
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    entries = [Entry(**json.loads(line)) for line in answer.text.splitlines()]
    assert verify(entries).sequence == len(entries)
    assert chain(idp, "admin.viewed")[-1]["action"] == "admin.audit.export"
    assert browser.get(f"/admin/audit/export?after={entries[1].sequence}").text.count("\n") == len(entries) - 1


def test_ADM_02_no_page_of_an_auditor_has_a_secret_or_an_address(idp: Idp, browser: FlaskClient) -> None:
    (approved,) = chain(idp, "transaction.approved")
    for path in ("/admin/audit", "/admin/audit/export", f"/admin/audit/decisions/{approved['decision_id']}", "/admin/"):
        text = browser.get(path).text
        for secret in (PASSWORD, PHONE, EMAIL, idp.inbox.code):
            assert secret not in text, path


def test_a_page_of_the_chain_is_bounded(idp: Idp, browser: FlaskClient) -> None:
    with reading(idp.engine) as connection:
        assert len(trail.page(connection, limit=2)) == 2
        assert [item.sequence for item in trail.export(connection, 0, 1)] == [1]
