"""DOS-04: no table that somebody else can fill grows without an end.

Each table of the database is named here with what bounds it, so that a new one is not forgotten.
"""

from __future__ import annotations

import json
import string

import pytest
from sqlalchemy import func, select, update

from auditlog.sql import read_entries
from idp.storage import activations, engine, grants, hotp_devices, models, passkeys, sessions  # noqa: F401  # all tables
from idp.storage.audit import TABLES
from idp.storage.engine import reading
from idp.storage.interactions import MAX_OPEN
from idp.storage.models import interactions, metadata
from tests.fakes.idp import NOW, Idp
from tests.unit.idp_web.interactions import plain, signature

OPERATORS = "whoever runs the service fills it, one row a deed"
CLIENT = "a client that authenticated itself fills it; purged with every token, pushed requests counted for each client"
PERSON = "a person who proved something fills it; so many a person are kept, the others go when their time is over"
RECORD = "is a record of what was done by somebody who is known, and kept on purpose"
OUTBOX = "holds what waits to be delivered, of deeds that were done"
CLIENT_AND_PERSON = "a person at an approval has a client's documents fetched; capped for each and in all, gone with it"
STRANGERS = "anybody's browser fills it: capped in all, for each person who signs in as well, and purged"
ALPHABET = string.ascii_letters + string.digits + "-_"

BOUNDED_BY = {
    "account_history": RECORD,
    "accounts": OPERATORS,
    "activations": OPERATORS,
    "admin_proposals": PERSON,
    "admin_roles": OPERATORS,
    "audit_checkpoints": RECORD,
    "audit_entries": RECORD,
    "audit_head": RECORD,
    "authenticators": PERSON,
    "backchannel_requests": CLIENT,
    "binding_codes": PERSON,
    "certificate_handovers": PERSON,
    "decisions": RECORD,
    "device_failures": PERSON,
    "device_visits": PERSON,
    "enrolments": PERSON,
    "event_outbox": OUTBOX,
    "hotp_devices": OPERATORS,
    "interactions": STRANGERS,
    "logout_notices": OUTBOX,
    "message_counts": PERSON,
    "message_stops": OPERATORS,
    "notices": OUTBOX,
    "oidc_access_tokens": CLIENT,
    "oidc_assertions": CLIENT,
    "oidc_clients": OPERATORS,
    "oidc_codes": CLIENT,
    "oidc_dpop_proofs": CLIENT,
    "oidc_grants": CLIENT,
    "oidc_pushed_requests": CLIENT,
    "oidc_refresh_tokens": CLIENT,
    "otp_challenges": PERSON,
    "otp_messages": PERSON,
    "passkey_answers": PERSON,
    "policy_differences": RECORD,
    "policy_history": RECORD,
    "policy_states": RECORD,
    "policy_versions": RECORD,
    "recovery_codes": PERSON,
    "reset_proposals": PERSON,
    "schema_version": OPERATORS,
    "sessions": STRANGERS,
    "shown_documents": CLIENT_AND_PERSON,
    "token_keys": OPERATORS,
    "wrong_codes": PERSON,
}


def count(idp: Idp, table: str) -> int:
    with idp.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(metadata.tables[table])).scalar_one()


def test_DOS_04_of_every_table_somebody_has_said_what_bounds_it(idp: Idp) -> None:
    assert set(BOUNDED_BY) == set(metadata.tables)


def test_DOS_04_strangers_without_cookies_fill_no_table_beyond_its_cap(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_ANONYMOUS", 10)
    alice = idp.client()
    idp.sign_in(alice, idp.path(alice, plain()))
    mine = idp.path(alice, signature())
    before = {name: count(idp, name) for name in metadata.tables}
    for _ in range(120):
        idp.begin(idp.client(), plain())
        idp.clock.advance(1)
    # One newcomer of sixteen looks, so some more may be there; never as many as came.
    strangers = count(idp, "sessions") - before["sessions"]
    assert strangers <= 10 + 60
    assert count(idp, "interactions") - before["interactions"] <= strangers + 1
    grown = {name for name in before if count(idp, name) > before[name]}
    assert grown <= {"sessions", "interactions"}
    assert alice.get(mine).status_code == 200, "whoever is signed in is never pushed out"
    with idp.engine.begin() as connection:
        sessions.evict(connection)
        nobody = select(func.count()).where(models.sessions.c.account_id.is_(None))
        assert connection.execute(nobody).scalar_one() == 10
        assert sessions.evict(connection) == 0


def test_DOS_04_one_person_keeps_so_many_sessions_and_what_was_granted_in_the_others_ends(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_OF_ACCOUNT", 5)
    monkeypatch.setattr("idp.web.browser._PICKED", frozenset(ALPHABET))
    idp.add_account("bob")
    bob, used, left = idp.client(), idp.client(), idp.client()
    for browser, name in ((bob, "bob"), (left, "alice"), (used, "alice")):
        idp.sign_in(browser, idp.path(browser, plain()), name)
        approval = idp.finished[-1].approval
        assert approval is not None
        with idp.engine.begin() as connection:
            grants.begin(
                connection, idp.seals, f"grant-{len(idp.finished)}", client_id=approval.client_id,
                subject=approval.account_id, now=NOW, seconds=86400, approval=approval,
            )  # fmt: skip
    for _ in range(12):
        idp.clock.advance(60)
        assert used.get("/account/").status_code == 200
        browser = idp.client()
        idp.sign_in(browser, idp.path(browser, plain()))
        idp.post(browser, "/account/", "sign-out")
    kept = select(func.count()).where(models.sessions.c.account_id == idp.alice)
    with idp.engine.connect() as connection:
        assert connection.execute(kept).scalar_one() <= 5 + 1
    # Those that have ended go first.
    assert [browser.get("/account/").status_code for browser in (used, left, bob)] == [200, 200, 200]
    for _ in range(5):
        idp.clock.advance(60)
        assert used.get("/account/").status_code == 200
        browser = idp.client()
        idp.sign_in(browser, idp.path(browser, plain()))
    assert [browser.get("/account/").status_code for browser in (used, left, bob)] == [200, 303, 200]
    with reading(idp.engine) as connection:
        entries = [entry for entry in read_entries(connection, TABLES.entries) if entry.event == "session.ended"]
        held = [grants.find(connection, idp.seals, f"grant-{number}") for number in (1, 2, 3)]
    assert {json.loads(entry.fields)["cause"] for entry in entries} == {"signed_out", "too_many"}
    assert [None if grant is None else grant.revoked for grant in held] == [False, True, False]


def test_DOS_04_one_browser_keeps_so_many_interactions_open_and_all_go_when_their_time_is_over(idp: Idp) -> None:
    browser = idp.client()
    for _ in range(MAX_OPEN + 15):
        idp.begin(browser, plain())
    assert count(idp, "interactions") == MAX_OPEN
    with idp.engine.begin() as connection:
        connection.execute(update(interactions).values(created_at=0))
    idp.clock.advance(2 * 60 * 60)
    idp.begin(idp.client(), plain())
    assert (count(idp, "sessions"), count(idp, "interactions")) == (1, 1)
