"""Passkeys over the pages: bound, used as a further factor, signed in by, and refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from foundation.jose import encode_base64url
from idp.authn.passkey.challenge import read
from idp.errors import CredentialUnavailable, TrustRefused
from idp.settings import PasskeySettings
from idp.storage import accounts, authenticators, passkeys
from tests.fakes.authenticator import AAGUID, Authenticator, Maker
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.factors import POLICY, enrolment
from tests.unit.idp_web.interactions import cookie, last, plain, signature
from tests.unit.idp_web.passkeys import ORIGIN, Person, asked, asked_by, audited, stored


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=POLICY)
    yield made
    made.engine.dispose()


@pytest.fixture
def alice(idp: Idp) -> Person:
    return Person(idp, idp.client())


def signed_out(person: Person) -> Person:
    return replace(person, browser=person.idp.client())


# Binding


def test_a_passkey_is_bound_and_named(idp: Idp, alice: Person) -> None:
    assert alice.bind("Blue key").location == "/account/"
    (item,) = stored(idp)
    assert item.label == "Blue key"
    assert item.data["flags"] == ["user_verified"]
    assert item.counter == 1
    assert "Blue key" in alice.browser.get("/account/").text
    assert audited(idp)[-1][0] == "authenticator.added"


@pytest.mark.parametrize(
    ("traits", "name"),
    [
        ({"transports": ("usb", "nfc")}, "Security key"),
        ({"transports": ("internal",)}, "Built into a device"),
        ({"transports": ("internal", "hybrid"), "backup_eligible": True}, "Password manager"),
        ({"transports": ()}, ""),
    ],
)
def test_a_passkey_without_a_name_gets_one(idp: Idp, alice: Person, traits: dict[str, Any], name: str) -> None:
    for trait, value in traits.items():
        setattr(alice.device, trait, value)
    assert alice.bind().location == "/account/"
    assert [item.label for item in stored(idp)] == [name]


def test_a_person_has_several_and_no_device_makes_a_second(idp: Idp, alice: Person) -> None:
    alice.hold()
    path = enrolment(idp, alice.browser, "passkey")
    (held,) = asked(alice.browser, path).options["excludeCredentials"]
    assert held["id"] == encode_base64url(alice.device.credentials[0].id)
    alice.device = Authenticator(origin=ORIGIN)
    found = asked(alice.browser, path)
    alice.send(path, "", found, alice.device.create(found.options), label="another")
    assert len(stored(idp)) == 2
    assert stored(idp)[0].data["user_handle"] == stored(idp)[1].data["user_handle"]
    path = idp.path(alice.browser, signature())
    assert len(asked(alice.browser, f"{path}?factor=passkey").options["allowCredentials"]) == 2


def test_a_passkey_of_another_account_is_not_bound_again(idp: Idp, alice: Person) -> None:
    alice.hold()
    idp.add_account("bob")
    bob = Person(idp, idp.client())
    path = bob.browser.get("/account/").location
    idp.sign_in(bob.browser, path, "bob")
    taken = alice.device.credentials[0]
    response = bob.bind(credential_id=taken.id, key=taken.key)
    assert response.status_code == 400
    assert "bound to an account already" in response.text
    assert stored(idp, "account-bob") == []
    assert len(stored(idp)) == 1


@pytest.mark.parametrize(
    "lies",
    [
        {"origin": "http://evil.example"},
        {"type": "webauthn.get"},
        {"challenge": "AAAA"},
    ],
)
def test_a_registration_that_lies_binds_nothing(idp: Idp, alice: Person, lies: dict[str, Any]) -> None:
    response = alice.bind(**lies)
    assert response.status_code == 400
    assert "This passkey was not accepted." in response.text
    assert stored(idp) == []


def test_an_answer_of_another_enrolment_or_after_its_time_binds_nothing(idp: Idp, alice: Person) -> None:
    """SES-07"""
    path = enrolment(idp, alice.browser, "passkey")
    found = asked(alice.browser, path)
    answer = alice.device.create(found.options)
    idp.clock.advance(300)
    assert "That took too long." in alice.send(path, "", found, answer).text
    other = enrolment(idp, alice.browser, "passkey")
    fresh = asked(alice.browser, other)
    assert alice.send(other, "", replace(found, csrf=fresh.csrf), answer).status_code == 400
    assert "Passkeys need JavaScript" in alice.send(other, "", fresh, "").text
    assert stored(idp) == []
    assert alice.send(other, "", fresh, alice.device.create(fresh.options)).location == "/account/"


def test_a_trusted_model_names_its_passkey_and_is_stated_in_the_evidence(tmp_path: Path) -> None:
    maker = Maker()
    file = tmp_path / "models.json"
    file.write_bytes(maker.metadata())
    settings = PasskeySettings(user_verification="required", resident_key="required", trust_file=file)
    made = make_idp(tmp_path, policy=POLICY, passkeys=settings)
    alice = Person(made, made.client())
    alice.device.attestation, alice.device.maker, alice.device.aaguid = "packed", maker, AAGUID
    path = enrolment(made, alice.browser, "passkey")
    options = asked(alice.browser, path).options
    assert (options["attestation"], options["authenticatorSelection"]["residentKey"]) == ("direct", "required")
    alice.device.user_verified = False
    found = asked(alice.browser, path)
    assert "by a PIN" in alice.send(path, "", found, alice.device.create(found.options)).text
    alice.device.user_verified = True
    assert alice.send(path, "", found, alice.device.create(found.options)).status_code == 303
    assert [item.label for item in stored(made)] == ["Example Key 5"]
    stranger = signed_out(alice)
    assert stranger.sign_in(made.path(stranger.browser, plain())).status_code == 302
    approval = last(made).approval
    assert approval is not None
    (item,) = approval.evidence
    assert ("attested" in item.flags, item.attestation) == (True, AAGUID)
    made.engine.dispose()


@pytest.mark.parametrize("content", [None, b"{}"])
def test_a_trust_file_that_cannot_be_used_keeps_the_service_from_starting(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "models.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TrustRefused):
        make_idp(tmp_path, policy=POLICY, passkeys=PasskeySettings(trust_file=file))


def test_where_the_issuer_is_an_address_there_are_no_passkeys(tmp_path: Path) -> None:
    made = make_idp(tmp_path, policy=POLICY, issuer="http://127.0.0.1:8401")
    browser = made.client()
    assert "data-passkey" not in browser.get(made.path(browser, plain())).text
    assert browser.get(enrolment(made, browser, "passkey")).status_code == 400
    made.engine.dispose()


# A further factor


def test_a_passkey_is_asked_for_and_proves_one_transaction(idp: Idp, alice: Person) -> None:
    alice.hold()
    path = idp.path(alice.browser, signature())
    before = cookie(alice.browser)
    assert asked(alice.browser, f"{path}?factor=passkey").options["userVerification"] == "preferred"
    assert alice.prove(path).status_code == 303
    assert cookie(alice.browser) != before, "SES-01"
    assert 'data-form="consent"' in alice.browser.get(path).text
    idp.post(alice.browser, path, "/consent", decision="approve", binding=binding(alice, path))
    approval = last(idp).approval
    assert approval is not None
    (item,) = approval.evidence
    assert item.factor == "passkey"
    assert item.flags == {"phishing_resistant", "transaction_bound", "user_verified"}
    assert item.transaction == approval.txn
    assert item.transports == ("usb",)
    assert approval.acr.endswith("substantial")
    assert ("factor.accepted", "passkey") in [(name, fields.get("factor")) for name, fields in audited(idp)]


def binding(person: Person, path: str) -> str:
    found = re.search(r'name="binding" value="([^"]+)"', person.browser.get(path).text)
    assert found is not None
    return found.group(1)


def test_whether_a_passkey_has_been_copied_is_kept_up_to_date(idp: Idp, alice: Person) -> None:
    alice.hold(backup_eligible=True)
    for copied in (True, False):
        alice.device.backed_up = copied
        assert alice.prove(idp.path(alice.browser, signature())).status_code == 303
        assert stored(idp)[0].data["backed_up"] is copied


def test_SES_06_a_passkey_for_one_transaction_is_none_for_another(idp: Idp, alice: Person) -> None:
    alice.hold()
    one, two = idp.path(alice.browser, signature()), idp.path(alice.browser, signature())
    found = asked(alice.browser, f"{one}?factor=passkey")
    answer = alice.device.get(found.options)
    assert alice.send(two, "/passkey", found, answer).status_code == 403
    assert audited(idp)[-1][1]["cause"] == "challenge"
    assert alice.send(one, "/passkey", found, answer).status_code == 303
    assert 'data-form="consent"' not in alice.browser.get(two).text


def test_OTP_03_an_answer_is_good_once_even_where_nothing_counts(idp: Idp, alice: Person) -> None:
    alice.hold(counts=False)
    path = idp.path(alice.browser, plain(max_age=0))
    found = asked(alice.browser, f"{path}?factor=passkey")
    # A page that is asked for again does not make the first challenge worthless, and neither does it double it.
    answer = alice.device.get(found.options)
    assert alice.send(path, "/passkey", found, answer).status_code in {302, 303}
    with idp.engine.begin() as connection:
        ticket = read(found.ticket, idp.clock.now())
        assert not passkeys.use_up(connection, ticket, idp.clock.now())
        idp.clock.advance(300)
        assert passkeys.purge(connection, idp.clock.now()) == 1


def test_SES_06_another_sessions_answer_is_refused(idp: Idp, alice: Person) -> None:
    alice.hold()
    other = signed_out(alice)
    path = idp.path(other.browser, plain())
    assert other.sign_in(path).status_code == 302
    theirs = idp.path(other.browser, signature())
    found = asked(other.browser, f"{theirs}?factor=passkey")
    answer = alice.device.get(found.options)
    mine = idp.path(alice.browser, signature())
    own = asked(alice.browser, f"{mine}?factor=passkey")
    assert alice.send(mine, "/passkey", replace(found, csrf=own.csrf), answer).status_code == 403
    assert alice.send(theirs, "/passkey", replace(found, csrf=own.csrf), answer).status_code == 400


def test_SES_07_another_persons_passkey_proves_nothing(idp: Idp, alice: Person) -> None:
    alice.hold()
    idp.add_account("bob")
    bob = Person(idp, idp.client(), "bob").hold()
    path = idp.path(alice.browser, signature())
    found = asked(alice.browser, f"{path}?factor=passkey")
    answer = bob.device.get({**found.options, "allowCredentials": []})
    before = len(audited(idp))
    assert alice.send(path, "/passkey", found, answer).status_code == 403
    assert len(audited(idp)) == before


@pytest.mark.parametrize(
    ("cause", "traits", "lies"),
    [
        ("origin", {}, {"origin": "http://evil.example"}),
        ("type", {}, {"type": "webauthn.create"}),
        ("rp_id", {"rp_id": "evil.example"}, {}),
        ("signature", {}, {"signature": b"forged"}),
        ("counter", {"step": 0}, {}),
        ("counter", {"step": -1}, {}),
        ("backup_changed", {"backup_eligible": True}, {}),
        ("user_handle", {}, {"user_handle": b"bob"}),
    ],
)
def test_a_refused_passkey_is_in_the_audit_chain_with_its_cause(
    idp: Idp, alice: Person, cause: str, traits: dict[str, Any], lies: dict[str, Any]
) -> None:
    alice.hold()
    for name, value in traits.items():
        setattr(alice.device, name, value)
    path = idp.path(alice.browser, signature())
    response = alice.prove(path, **lies)
    assert response.status_code == 403
    assert 'role="alert"' in response.text
    name, fields = audited(idp)[-1]
    assert (name, fields["factor"], fields["cause"]) == ("factor.refused", "passkey", cause)
    assert 'data-form="consent"' not in alice.browser.get(path).text


@pytest.mark.parametrize("way", ["step-up", "sign-in"])
def test_the_account_page_says_when_a_passkey_was_last_used(idp: Idp, alice: Person, way: str) -> None:
    alice.hold()
    assert stored(idp)[0].last_used is None
    idp.clock.advance(600)
    if way == "step-up":
        alice.prove(idp.path(alice.browser, signature()))
    else:
        alice = signed_out(alice)
        alice.sign_in(idp.path(alice.browser, plain()))
    assert stored(idp)[0].last_used == idp.clock.now()
    assert "Last used 2 Mar 2026, 10:10 UTC" in re.sub(r"</?time[^>]*>", "", alice.browser.get("/account/").text)


def test_a_copy_is_told_by_the_very_use_and_a_policy_may_want_none(tmp_path: Path) -> None:
    rule = b"    evidence: [{category: possession, per_transaction: true, max_age: 10m}]\n"
    uncopied = b"    evidence: [{factor: passkey, without: backed_up, per_transaction: true}]\n"
    made = make_idp(tmp_path, policy=POLICY.replace(rule, uncopied))
    alice = Person(made, made.client()).hold(backup_eligible=True)
    path = made.path(alice.browser, signature())
    alice.device.backed_up = True
    assert alice.prove(path).status_code == 303
    assert 'data-form="consent"' not in alice.browser.get(path).text, "this use said that there are copies"
    # What is known of it now cannot lead there, so it is not asked for again.
    assert "data-passkey" not in alice.browser.get(made.path(alice.browser, signature())).text
    with made.engine.begin() as connection:
        passkeys.note_backup(connection, made.seals, stored(made)[0], backed_up=False)
    alice.device.backed_up = False
    path = made.path(alice.browser, signature())
    assert alice.prove(path).status_code == 303
    assert 'data-form="consent"' in alice.browser.get(path).text
    made.engine.dispose()


def test_where_only_a_verified_user_counts_verification_is_required(tmp_path: Path) -> None:
    pair = b"      - all_of: [{factor: password}, {factor: passkey}]\n        different_categories: 2\n"
    made = make_idp(tmp_path, policy=POLICY.replace(pair, b""))
    alice = Person(made, made.client()).hold()
    path = made.path(alice.browser, signature())
    assert asked(alice.browser, f"{path}?factor=passkey").options["userVerification"] == "required"
    alice.device.user_verified = False
    response = alice.prove(path)
    assert response.status_code == 403
    assert "by a PIN, a fingerprint or your face" in response.text
    assert audited(made)[-1][1]["cause"] == "user_verification"
    made.engine.dispose()


@pytest.mark.parametrize("answer", ["", "x", "{}", "[" * 60_000])
def test_what_is_no_answer_is_told_and_loses_nothing(idp: Idp, alice: Person, answer: str) -> None:
    alice.hold()
    path = idp.path(alice.browser, signature())
    found = asked(alice.browser, f"{path}?factor=passkey")
    response = alice.send(path, "/passkey", found, answer)
    assert response.status_code == 403
    alert = re.search(r'<p id="notice"[^>]*>([^<]*)', response.text)
    assert alert is not None
    assert ("JavaScript" in alert.group(1)) is (answer == "")
    assert alice.prove(path).status_code == 303


def test_a_credential_that_cannot_be_read_in_the_middle_of_it_is_told(idp: Idp, alice: Person) -> None:
    alice.hold()
    idp.credentials.error = CredentialUnavailable("down")
    path = idp.path(alice.browser, signature())
    assert idp.post(alice.browser, path, "/passkey", answer="x").status_code == 503
    idp.credentials.error = None
    assert alice.prove(path).status_code == 303


def test_a_passkey_that_was_removed_proves_nothing(idp: Idp, alice: Person) -> None:
    alice.hold()
    path = idp.path(alice.browser, signature())
    found = asked(alice.browser, f"{path}?factor=passkey")
    with idp.engine.begin() as connection:
        authenticators.remove(connection, stored(idp)[0].id, idp.clock.now())
    assert alice.send(path, "/passkey", found, alice.device.get(found.options)).status_code == 403


def test_a_passkey_that_verifies_nobody_is_one_factor(idp: Idp, alice: Person) -> None:
    alice.hold(user_verified=False)
    assert stored(idp)[0].data["flags"] == []
    stranger = signed_out(alice)
    path = idp.path(stranger.browser, plain())
    assert stranger.sign_in(path).status_code == 302
    approval = last(idp).approval
    assert approval is not None
    assert approval.acr.endswith("low")
    # With a password it is two; the same passkey is not asked for twice.
    path = idp.path(stranger.browser, plain(client_id="x", essential_acr=(SUBSTANTIAL,)))
    assert 'name="password"' in stranger.browser.get(path).text
    assert idp.sign_in(stranger.browser, path).status_code == 302
    approval = last(idp).approval
    assert approval is not None
    assert approval.acr == SUBSTANTIAL


SUBSTANTIAL = "http://eidas.europa.eu/NotNotified/LoA/substantial"


# Signing in


def test_somebody_signs_in_with_nothing_but_a_passkey(idp: Idp, alice: Person) -> None:
    alice.hold()
    stranger = signed_out(alice)
    path = idp.path(stranger.browser, plain(essential_acr=(SUBSTANTIAL,)))
    page = stranger.browser.get(path)
    assert 'autocomplete="username webauthn"' in page.text
    assert asked_by(page.text).options["allowCredentials"] == []
    before = cookie(stranger.browser)
    assert stranger.sign_in(path).status_code == 302
    assert cookie(stranger.browser) != before, "SES-01"
    approval = last(idp).approval
    assert approval is not None
    assert (approval.account_id, approval.acr) == ("account-alice", SUBSTANTIAL)
    assert [item.factor for item in approval.evidence] == ["passkey"]
    assert "login.succeeded" in [name for name, _fields in audited(idp)]


def test_SES_06_a_passkey_that_signed_somebody_in_for_a_signature_proves_that_signature_alone(
    idp: Idp, alice: Person
) -> None:
    """What the policy takes for this transaction's, the module takes too; another transaction asks for it anew."""
    alice.hold()
    stranger = signed_out(alice)
    path = idp.path(stranger.browser, signature())
    assert stranger.sign_in(path).status_code == 303
    assert 'data-form="consent"' in stranger.browser.get(path).text
    idp.post(stranger.browser, path, "/consent", decision="approve", binding=binding(stranger, path))
    approval = last(idp).approval
    assert approval is not None
    assert [(item.transaction, item.has("transaction_bound")) for item in approval.evidence] == [(approval.txn, True)]
    assert 'data-form="consent"' not in stranger.browser.get(idp.path(stranger.browser, signature())).text


def test_OAU_12_who_would_have_to_sign_in_again_is_login_required_whatever_they_could_sign_in_with(
    idp: Idp, alice: Person
) -> None:
    """OIDC Core 3.1.2.6; somebody of whom only more is asked is told apart."""
    alice.hold()
    idp.clock.advance(60)
    assert idp.begin(alice.browser, plain(prompt=("none",), max_age=30)).location.endswith("?login_required")
    more = plain(prompt=("none",), essential_acr=(SUBSTANTIAL,))
    assert idp.begin(alice.browser, more).location.endswith("?interaction_required")


def test_a_policy_that_no_passkey_satisfies_offers_none(tmp_path: Path) -> None:
    made = make_idp(tmp_path)
    browser = made.client()
    page = browser.get(made.path(browser, plain())).text
    assert "data-passkey" not in page
    assert "webauthn" not in page
    made.engine.dispose()


def test_OTP_11_whoever_is_refused_gets_the_same_answer_for_the_same_work(idp: Idp, alice: Person) -> None:
    alice.hold()
    unknown = Person(idp, idp.client())
    unknown.device.create({"user": {"id": "AAAA"}, "challenge": "AAAA"})
    cases: list[tuple[Authenticator, dict[str, Any]]] = [
        (unknown.device, {}),
        (alice.device, {"signature": b"forged"}),
        (alice.device, {"origin": "http://evil.example"}),
        (alice.device, {"user_handle": None}),
    ]
    answers = []
    browser = idp.client()
    path = idp.path(browser, plain())
    for device, lies in cases:
        person = Person(idp, browser, device=device)
        found = asked(browser, path)
        statements: list[str] = []

        def listen(_connection: Any, _cursor: Any, statement: str, *_rest: Any, seen: list[str] = statements) -> None:
            seen.append(statement.split(maxsplit=1)[0])

        event.listen(idp.engine, "before_cursor_execute", listen)
        response = person.send(path, "/passkey/sign-in", found, device.get(found.options, **lies))
        event.remove(idp.engine, "before_cursor_execute", listen)
        fresh = asked_by(response.text)
        text = response.text.replace(fresh.ticket, "").replace(fresh.options["challenge"], "")
        answers.append((response.status_code, text, sorted(response.headers.keys()), len(statements)))
    assert answers[0][0] == 403
    assert all(answer == answers[0] for answer in answers[1:])
    refusals = [fields["cause"] for name, fields in audited(idp) if name == "login.refused"]
    assert refusals == ["signature", "origin", "user_handle"]


def test_a_disabled_account_is_not_signed_in_to(idp: Idp, alice: Person) -> None:
    alice.hold()
    with idp.engine.begin() as connection:
        accounts.set_status(connection, "account-alice", "disabled")
    stranger = signed_out(alice)
    assert stranger.sign_in(idp.path(stranger.browser, plain())).status_code == 403
    assert audited(idp)[-1][1]["cause"] == "account"


def test_SES_07_nobody_goes_on_with_what_another_person_began(idp: Idp, alice: Person) -> None:
    alice.hold()
    idp.add_account("bob")
    other = signed_out(alice)
    path = idp.path(other.browser, signature())
    found = asked(other.browser, path)
    idp.sign_in(other.browser, path, "bob")
    fresh = replace(found, csrf=idp.csrf(other.browser, path))
    assert other.send(path, "/passkey/sign-in", fresh, alice.device.get(found.options)).status_code == 403


def test_a_challenge_of_signing_in_serves_no_step_up(idp: Idp, alice: Person) -> None:
    alice.hold()
    path = idp.path(alice.browser, plain(prompt=("login",)))
    found = asked(alice.browser, path)
    step = idp.path(alice.browser, signature())
    own = asked(alice.browser, f"{step}?factor=passkey")
    answer = alice.device.get(found.options)
    assert alice.send(step, "/passkey", replace(found, csrf=own.csrf), answer).status_code == 403
    assert alice.send(path, "/passkey/sign-in", found, answer).status_code == 302


def test_DOS_04_looking_at_pages_writes_nothing(idp: Idp, alice: Person) -> None:
    alice.hold()
    path = idp.path(idp.client(), plain())
    browser = alice.browser
    path = idp.path(browser, signature())
    written: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.split(maxsplit=1)[0] in {"INSERT", "UPDATE", "DELETE"}:
            written.append(statement)

    event.listen(idp.engine, "before_cursor_execute", listen)
    for _ in range(3):
        browser.get(f"{path}?factor=passkey")
    event.remove(idp.engine, "before_cursor_execute", listen)
    assert written == []
