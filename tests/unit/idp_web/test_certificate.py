"""Signing in and stepping up with a certificate, as a proxy hands it on."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from foundation.certificates.reading import identity as identity_of
from foundation.proxied import PROXY_SECRET
from idp.certificate_settings import AnchorSettings, Attribute, CertificateSettings, EvidenceRule
from idp.storage import accounts, authenticators, notices
from idp.storage.engine import reading
from idp.storage.handovers import handovers
from idp.storage.models import accounts as account_rows
from idp.web.certificates.transport import LISTENER
from tests import pki
from tests.fakes.idp import NOW, Idp, make_idp
from tests.pki import Issued, Leaf
from tests.unit.idp_web.admin import chain
from tests.unit.idp_web.factors import POLICY, approve, enrolment
from tests.unit.idp_web.interactions import last, plain, signature

CERT = "http://cert.idp.localhost:8403"
PROXY = "192.0.2.80"
SECRET = "0123456789abcdef0123456789abcdef"
QCP = "0.4.0.194112.1.2"
ROOT, OTHER = pki.authority("Root"), pki.authority("Other")
YEAR = timedelta(days=365)


def person(**values: Any) -> Issued:
    return ROOT.issue(Leaf(**{"begin": NOW - YEAR, "end": NOW + YEAR, **values}))


def settings(directory: Path, **anchor: Any) -> CertificateSettings:
    directory.mkdir(exist_ok=True)
    (directory / "root.pem").write_bytes(ROOT.pem)
    (directory / "proxy.secret").write_text(SECRET)
    (directory / "proxy.secret").chmod(0o600)
    rules = (EvidenceRule(policies=(QCP,), flags=("attested", "user_verified"), attestation="qscd"),)
    anchors = {"root": AnchorSettings(directory / "root.pem", **{"evidence": rules, **anchor})}
    return CertificateSettings(CERT, anchors, directory / "proxy.secret", revocation="if_available")


def make(directory: Path, **anchor: Any) -> Idp:
    return make_idp(directory, policy=POLICY, trusted_proxies=(PROXY,), certificate=settings(directory, **anchor))


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return idp.client()


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return found.group(1)


def header(issued: Issued) -> str:
    return f":{base64.b64encode(issued.der).decode()}:"


def present(
    idp: Idp, ticket: str, issued: Issued | None, *, peer: str = PROXY, secret: str = SECRET, **more: str
) -> TestResponse:
    """What the certificate's host gets from its proxy, without any cookie of the issuer's host."""
    headers = {} if issued is None else {"Client-Cert": header(issued)}
    headers |= {PROXY_SECRET: secret} if secret else {}
    return idp.app.test_client().post(
        "/certificate", base_url=CERT, data={"certificate_ticket": ticket}, headers={**headers, **more},
        environ_base={"REMOTE_ADDR": peer},
    )  # fmt: skip


def come_back(browser: FlaskClient, shown: TestResponse) -> TestResponse:
    """Submit the form of the page that accepted a certificate."""
    assert shown.status_code == 200, shown.text
    action = re.search(r'data-form="handover" method="post" action="([^"]+)"', shown.text)
    assert action is not None
    assert action.group(1).startswith("http://idp.localhost:8401/")
    fields = {name: field(shown.text, name) for name in ("csrf_token", "handover")}
    return browser.post(action.group(1).removeprefix("http://idp.localhost:8401"), data=fields)


def with_certificate(idp: Idp, browser: FlaskClient, path: str, issued: Issued) -> TestResponse:
    """From an interaction's page to the certificate's host and back."""
    return come_back(browser, present(idp, field(browser.get(path).text, "certificate_ticket"), issued))


def enrol(idp: Idp, browser: FlaskClient, issued: Issued) -> None:
    path = enrolment(idp, browser, "certificate")
    back = with_certificate(idp, browser, path, issued)
    assert (back.status_code, back.location) == (303, "/account/"), back.text


def owned(idp: Idp) -> list[authenticators.Authenticator]:
    with reading(idp.engine) as connection:
        mine = authenticators.of_account(connection, idp.seals, idp.alice)
    return [item for item in mine if item.kind == "certificate" and not item.disabled]


def test_a_certificate_is_enrolled_and_signs_in_and_its_policy_is_told(idp: Idp, browser: FlaskClient) -> None:
    card = person(policies=(QCP,))
    enrol(idp, browser, card)
    (item,) = owned(idp)
    assert (item.lookup, item.label) == (identity_of(card.certificate), "Ana Example")
    stranger = idp.client()
    path = idp.path(stranger, plain())
    assert with_certificate(idp, stranger, path, card).status_code == 302
    approval = last(idp).approval
    assert approval is not None
    (evidence,) = approval.evidence
    assert (evidence.factor, evidence.authenticator_id, evidence.attestation) == ("certificate", item.id, "qscd")
    assert evidence.flags == {"phishing_resistant", "attested", "user_verified"}
    assert approval.account_id == idp.alice


def test_a_certificate_is_a_further_factor(idp: Idp, browser: FlaskClient) -> None:
    card = person()
    enrol(idp, browser, card)
    other = idp.client()
    path = idp.path(other, signature())
    idp.sign_in(other, path)
    assert idp.post(other, path, "/factor", factor="certificate").location == f"{path}?factor=certificate"
    assert with_certificate(idp, other, f"{path}?factor=certificate", card).status_code == 303
    assert 'data-form="consent"' in other.get(path).text
    assert chain(idp, "factor.accepted")[-1]["factor"] == "certificate"
    approve(idp, other, path)
    approval = last(idp).approval
    assert approval is not None
    assert {item.factor for item in approval.evidence} == {"password", "certificate"}


def signed_in(idp: Idp, browser: FlaskClient) -> str:
    """Where somebody who is signed in is asked once more, with a certificate or otherwise."""
    idp.sign_in(browser, idp.path(browser, plain()))
    return idp.path(browser, plain(prompt=("login",)))


def test_the_page_says_what_is_wrong_and_the_audit_chain_why(idp: Idp, browser: FlaskClient) -> None:
    path = signed_in(idp, browser)
    cases = {
        "missing": (None, "presented no certificate"),
        "expired": (person(end=NOW - timedelta(seconds=1)), "has expired"),
        "not_yet_valid": (person(begin=NOW + timedelta(seconds=1)), "not valid yet"),
        "unknown_issuer": (OTHER.issue(Leaf(begin=NOW - YEAR, end=NOW + YEAR)), "does not know the issuer"),
        "usage": (person(uses=("content_commitment",)), "cannot be used here"),
    }
    for cause, (issued, words) in cases.items():
        page = present(idp, field(browser.get(path).text, "certificate_ticket"), issued)
        assert (page.status_code, f'data-cause="{cause}"' in page.text, words in page.text) == (403, True, True)
        assert f'href="http://idp.localhost:8401{path}"' in page.text
    assert [item["cause"] for item in chain(idp, "certificate.refused")] == list(cases)


def test_a_certificate_that_nobody_enrolled_signs_nobody_in(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain())
    answer = with_certificate(idp, browser, path, person())
    assert answer.status_code == 403
    assert "not linked to an account" in answer.text
    assert chain(idp, "certificate.refused") == [], "it concerns nobody here"


def test_DOS_04_strangers_do_not_fill_the_audit_chain_where_certificates_are_presented(
    idp: Idp, browser: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger begins to sign in, and sends what they like with the ticket of that page, as often as they like."""
    card = person(end=NOW + timedelta(hours=1))
    enrol(idp, browser, card)
    stranger = idp.client()
    path = idp.path(stranger, plain())
    ticket = field(stranger.get(path).text, "certificate_ticket")
    made_up = OTHER.issue(Leaf(begin=NOW - YEAR, end=NOW + YEAR))
    assert present(idp, ticket, None).status_code == 403
    assert present(idp, ticket, made_up).status_code == 403
    assert present(idp, ticket, person(), secret="").status_code == 403
    assert idp.post(stranger, path, "/certificate", handover="guessed").status_code == 403
    assert with_certificate(idp, stranger, path, person()).status_code == 403
    assert chain(idp, "certificate.refused") + chain(idp, "certificate.header_ignored") == []
    assert sum("somebody unknown" in item.message for item in caplog.records) == 5
    # A certificate that is somebody's concerns that person, whoever sends it.
    idp.clock.advance(2 * 60 * 60)
    late = idp.client()
    old = present(idp, field(late.get(idp.path(late, plain())).text, "certificate_ticket"), card)
    assert 'data-cause="expired"' in old.text
    (record,) = chain(idp, "certificate.refused")
    assert (record["cause"], record["account_id"]) == ("expired", idp.alice)


def test_SES_07_a_certificate_seen_for_one_session_is_of_no_use_in_another(idp: Idp, browser: FlaskClient) -> None:
    """The attacker's page sends the victim, who has a card, to the certificate's host with the attacker's ticket."""
    card = person()
    enrol(idp, browser, card)
    attacker, victim = idp.client(), idp.client()
    path = idp.path(attacker, plain())
    idp.path(victim, plain())
    shown = present(idp, field(attacker.get(path).text, "certificate_ticket"), card)
    assert come_back(victim, shown).status_code == 400, "the victim's browser has another session"
    # And what the attacker can send without the code does nothing.
    assert idp.post(attacker, path, "/certificate", handover="guessed").status_code == 403
    assert 'data-form="sign-in"' in attacker.get(path).text


def test_SES_07_a_certificate_injected_into_anothers_page_is_refused(idp: Idp, browser: FlaskClient) -> None:
    """The attacker's own accepted certificate, sent with the victim's session and form token."""
    enrol(idp, browser, person())
    attacker, victim = idp.client(), idp.client()
    mine, theirs = idp.path(attacker, plain()), idp.path(victim, plain())
    shown = present(idp, field(attacker.get(mine).text, "certificate_ticket"), person())
    code = field(shown.text, "handover")
    assert idp.post(victim, theirs, "/certificate", handover=code).status_code == 403
    assert idp.post(attacker, mine, "/certificate", handover=code).status_code == 403, "it is spent all the same"


def test_SES_07_a_code_is_good_once_and_for_what_it_was_made_for(idp: Idp, browser: FlaskClient) -> None:
    card = person()
    enrol(idp, browser, card)
    other = idp.client()
    first, second = idp.path(other, plain()), idp.path(other, plain())
    code = field(present(idp, field(other.get(first).text, "certificate_ticket"), card).text, "handover")
    assert idp.post(other, second, "/certificate", handover=code).status_code == 403, "another interaction's"
    assert idp.post(other, first, "/certificate", handover=code).status_code == 403, "and spent by that"
    late = present(idp, field(other.get(first).text, "certificate_ticket"), card)
    idp.clock.advance(120)
    assert come_back(other, late).status_code == 403


def test_SES_07_somebody_elses_certificate_does_not_finish_a_persons_step_up(idp: Idp, browser: FlaskClient) -> None:
    enrol(idp, browser, person())
    idp.add_account("bob")
    bobs = idp.client()
    path = idp.path(bobs, signature())
    idp.sign_in(bobs, path, username="bob")
    card = person()
    with idp.engine.begin() as connection:
        identity = identity_of(card.certificate)
        new = authenticators.NewAuthenticator("bobs", "account-bob", "certificate", lookup=identity)
        authenticators.bind(connection, idp.seals, new, NOW)
    path = idp.path(browser, signature(prompt=("login",)))
    idp.sign_in(browser, path)
    answer = with_certificate(idp, browser, f"{path}?factor=certificate", card)
    assert (answer.status_code, "not one of yours" in answer.text) == (403, True)
    assert chain(idp, "certificate.refused")[-1]["cause"] == "not_yours"


def test_a_ticket_of_somebody_elses_or_an_old_one_leads_nowhere(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain())
    ticket = field(browser.get(path).text, "certificate_ticket")
    for broken in ("", "x.y", ticket[:-2], ticket.replace(".", ""), "a" * 2000, ticket.split(".")[0] + ".AAAA"):
        assert present(idp, broken, person()).status_code == 400
    idp.clock.advance(15 * 60)
    assert present(idp, ticket, person()).status_code == 400


HEADERS: dict[str, dict[str, Any]] = {
    "another address": {"peer": "198.51.100.7"},
    "no secret": {"secret": ""},
    "a wrong secret": {"secret": SECRET[:-1]},
    "two secrets": {"secret": f"{SECRET},{SECRET}"},
}


@pytest.mark.parametrize("case", HEADERS)
def test_SES_10_a_certificate_in_a_header_of_a_strangers_is_ignored_and_audited(
    idp: Idp, browser: FlaskClient, case: str
) -> None:
    ticket = field(browser.get(signed_in(idp, browser)).text, "certificate_ticket")
    page = present(idp, ticket, person(), **HEADERS[case])
    assert (page.status_code, 'data-cause="missing"' in page.text) == (403, True)
    (record,) = chain(idp, "certificate.header_ignored")
    assert record["cause"] == ("address" if case == "another address" else "secret")
    assert SECRET not in str(record)


def test_SES_10_the_issuers_own_host_takes_no_certificate_and_the_certificates_host_nothing_else(
    idp: Idp, browser: FlaskClient
) -> None:
    path = idp.path(browser, plain())
    ticket = field(browser.get(path).text, "certificate_ticket")
    headers = {"Client-Cert": header(person()), PROXY_SECRET: SECRET}
    there = browser.post(
        "/certificate", data={"certificate_ticket": ticket}, headers=headers, environ_base={"REMOTE_ADDR": PROXY}
    )
    assert there.status_code == 404
    for other in ("/", path, "/account/", "/health/ready", "/.well-known/openid-configuration"):
        assert idp.app.test_client().get(other, base_url=CERT).status_code == 404
    assert idp.app.test_client().get("/certificate", base_url=CERT).status_code == 404


def test_headers_that_are_no_certificate_are_refused(idp: Idp, browser: FlaskClient) -> None:
    ticket = field(browser.get(idp.path(browser, plain())).text, "certificate_ticket")
    double = {"Client-Cert": f"{header(person())}, {header(person())}"}
    assert 'data-cause="malformed"' in present(idp, ticket, None, **double).text
    assert 'data-cause="malformed"' in present(idp, ticket, person(), **{"Client-Cert-Chain": "x"}).text


def test_our_own_listener_is_believed_without_a_secret(idp: Idp, browser: FlaskClient) -> None:
    card = person()
    ticket = field(browser.get(idp.path(browser, plain())).text, "certificate_ticket")
    listener = idp.app.test_client()
    spoofed = {"Client-Cert": header(card), PROXY_SECRET: SECRET}
    for der, status in ((card.der, 200), (b"", 403)):
        environ = {LISTENER: der, "REMOTE_ADDR": "198.51.100.7"}
        form = {"certificate_ticket": ticket}
        shown = listener.post("/certificate", data=form, headers=spoofed, environ_overrides=environ)
        assert shown.status_code == status
    assert listener.get("/account/", environ_overrides={LISTENER: b""}).status_code == 404


def test_an_attribute_names_an_account_where_the_operator_says_so(tmp_path: Path) -> None:
    idp = make(tmp_path, match=("upn",))
    browser, upn = idp.client(), person(names=(pki.upn("Alice"),))
    for _ in range(2):
        path = idp.path(browser, plain(prompt=("login",)))
        assert with_certificate(idp, browser, path, upn).status_code == 302
    (item,) = owned(idp)
    assert chain(idp, "authenticator.added")[-1]["authenticator_id"] == item.id
    with reading(idp.engine) as connection:
        told = notices.due(connection, idp.seals, NOW.replace(year=2027), 50)
    # ENR-03: once, over each channel, although nobody began an enrolment.
    channels = sorted((notice.channel, notice.change, notice.factor) for notice in told)
    assert channels == [(channel, "added", "certificate") for channel in ("email_otp", "sms_otp")]
    with idp.engine.begin() as connection:
        authenticators.remove(connection, item.id, NOW)
    path = idp.path(browser, plain(prompt=("login",)))
    assert with_certificate(idp, browser, path, upn).status_code == 403, "a rule brings back nothing that was removed"
    other = person(names=(pki.upn("alice"), pki.upn("bob")))
    idp.add_account("bob")
    answer = with_certificate(idp, browser, path, other)
    assert answer.status_code == 403
    assert chain(idp, "certificate.refused")[-1]["cause"] == "ambiguous"
    idp.engine.dispose()


@pytest.mark.parametrize(
    ("match", "username", "names"),
    [
        ("serial_number", "alice", ()),
        ("email", "alice@example.org", (x509.RFC822Name("Alice@example.org"),)),
        ("upn", "alice@example.org", (pki.upn("ALICE@example.org"),)),
    ],
)
def test_each_kind_of_attribute_names_an_account_and_none_does_for_another_rule(
    tmp_path: Path, match: Attribute, username: str, names: tuple[x509.GeneralName, ...]
) -> None:
    card = person(names=names)
    for rule in ("serial_number", "email", "upn"):
        idp = make(tmp_path / rule, match=(rule,))
        with idp.engine.begin() as connection:
            of_alice = {"username": username, "serial_number": "PNOES-12345678Z"}
            if match != "serial_number":
                of_alice["serial_number"] = "PNOES-87654321X"
            connection.execute(update(account_rows).values(**of_alice))
        browser = idp.client()
        answer = with_certificate(idp, browser, idp.path(browser, plain()), card)
        assert answer.status_code == (302 if rule == match else 403), rule
        idp.engine.dispose()


@pytest.mark.parametrize("status", ["locked", "disabled"])
def test_a_certificate_of_somebody_who_is_kept_out_signs_nobody_in(
    idp: Idp, browser: FlaskClient, status: str
) -> None:
    card = person()
    enrol(idp, browser, card)
    with idp.engine.begin() as connection:
        accounts.set_status(connection, idp.alice, status)
    stranger = idp.client()
    answer = with_certificate(idp, stranger, idp.path(stranger, plain()), card)
    assert answer.status_code == 403
    assert "not linked to an account" in answer.text, "nobody learns whose it is"
    assert idp.finished == [] or last(idp).approval is None
    assert chain(idp, "certificate.refused")[-1]["cause"] == "unknown_account"


def test_a_certificate_that_its_person_removed_signs_nobody_in(idp: Idp, browser: FlaskClient) -> None:
    card = person()
    enrol(idp, browser, card)
    with idp.engine.begin() as connection:
        authenticators.remove(connection, owned(idp)[0].id, NOW)
    stranger = idp.client()
    assert with_certificate(idp, stranger, idp.path(stranger, plain()), card).status_code == 403


@pytest.mark.parametrize(("number", "status"), [("PNOES-12345678Z", 303), ("PNOES-87654321X", 400), (None, 303)])
def test_nobody_binds_a_certificate_that_says_that_it_is_somebody_elses(
    idp: Idp, browser: FlaskClient, number: str | None, status: int
) -> None:
    with idp.engine.begin() as connection:
        connection.execute(update(account_rows).values(serial_number=number))
    path = enrolment(idp, browser, "certificate")
    assert with_certificate(idp, browser, path, person()).status_code == status
    assert len(owned(idp)) == (1 if status == 303 else 0)


def test_by_default_no_attribute_names_anybody(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain())
    assert with_certificate(idp, browser, path, person(names=(pki.upn("alice"),))).status_code == 403


def test_a_hand_over_that_somebody_wrote_into_the_database_is_none(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain())
    shown = present(idp, field(browser.get(path).text, "certificate_ticket"), person())
    card = person()
    enrol(idp, idp.client(), card)
    with idp.engine.begin() as connection:
        row = connection.execute(select(handovers.c.facts)).first()
        assert row is not None
        connection.execute(update(handovers).values(facts={**row.facts, "identity": identity_of(card.certificate)}))
    assert come_back(browser, shown).status_code == 403
