"""The portal: whose documents are whose, what is sealed, and what a browser cannot make it do."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from foundation.clock import epoch
from foundation.jose import generate_signing_key, peek_claims, sign_compact, verify_compact
from portal.purger import purge
from portal.web.parts import of
from portal.web.shown import SHA256, TOKEN_TYPE
from tests.integration.portal_world import CLIENT, PDF, Person, World, world

NAME = "lease-of-alice.pdf"


@pytest.fixture
def running(tmp_path: Path, database_url: str) -> Iterator[World]:
    with world(tmp_path, database_url) as made:
        yield made


@pytest.fixture
def one(tmp_path: Path) -> Iterator[World]:
    """On SQLite alone: what does not depend on the database."""
    with world(tmp_path, f"sqlite:///{tmp_path / 'portal.sqlite'}") as made:
        yield made


@pytest.fixture
def alice(running: World) -> Person:
    made = running.person("alice")
    made.sign_in()
    return made


def signed_in(made: World, subject: str = "alice") -> Person:
    person = made.person(subject)
    person.sign_in()
    return person


def test_many_documents_are_signed_with_one_approval(running: World, alice: Person) -> None:
    contents = {name: PDF + b"%" + name.encode() + b"\n%%EOF\n" for name in ("a.pdf", "b.pdf")}
    ids = [alice.brought(name, content) for name, content in contents.items()]
    page = alice.get(f"/sign?document={ids[0]}&document={ids[1]}")
    assert "PAdES B-T" in page.text, "the best level that is offered, by its name"
    asked = alice.begin(*ids)
    (details,) = json.loads(asked["authorization_details"])
    digests = [hashlib.sha256(content).digest() for content in contents.values()]
    assert details["documentDigests"] == [
        {"hash": base64.b64encode(digest).decode(), "label": name, "hashType": "sdr"}
        for name, digest in zip(contents, digests, strict=True)
    ]
    assert details["locations"] == [running.settings.csc_base]
    assert details["documentLocations"] == [
        {"uri": f"{running.settings.public_url}/shown/{each}.pdf", "method": {"type": "OAuth_20"}} for each in ids
    ]
    arrived = alice.approve(asked)
    assert arrived.status_code == 303, arrived.text
    request = running.server.last("/csc/v2/signatures/signDoc")
    assert request.headers["Authorization"] == "Bearer sad of alice"
    assert {each["conformance_level"] for each in request.json["documents"]} == {"Ades-B-T"}
    page = alice.get(arrived.location)
    assert "Signed: 2" in page.text
    for document_id, content in zip(ids, contents.values(), strict=True):
        found = alice.get(f"/documents/{document_id}/signed.pdf")
        assert found.data == content + b"% signed /ByteRange\n"
        assert "attachment" in found.headers["Content-Disposition"]


def test_the_client_proves_itself_by_its_key_and_sends_no_secret(running: World, alice: Person) -> None:
    form = running.server.last("/as/token").form
    assertion = form["client_assertion"]
    verify_compact(assertion, [running.client_key.verification_key()], ("JWT",), kid_required=False)
    assert peek_claims(assertion)["aud"] == running.issuer
    assert "client_secret" not in form
    assert form["code_verifier"]


def test_OAU_17_another_persons_documents_are_not_there(running: World, alice: Person) -> None:
    document_id = alice.brought(NAME)
    alice.approve(alice.begin(document_id))
    bob = signed_in(running, "bob")
    own = bob.brought("own.pdf")
    assert NAME not in bob.get("/documents").text
    for path in (f"/documents/{document_id}/original.pdf", f"/documents/{document_id}/signed.pdf"):
        assert bob.get(path).status_code == 404
    for ids in ([document_id], [own, document_id]):
        query = "&".join(f"document={each}" for each in ids)
        assert bob.get(f"/sign?{query}").status_code == 404
        pushed = running.server.count("/as/par")
        assert bob.post("/sign", document=ids).status_code == 404
        assert running.server.count("/as/par") == pushed
    assert bob.post(f"/documents/{document_id}/delete").status_code == 404
    assert bob.get(f"/documents/{document_id}/page/1.png").status_code == 404
    assert alice.get(f"/documents/{document_id}/signed.pdf").status_code == 200


def test_nothing_that_a_person_brought_lies_in_the_database_in_clear(running: World, alice: Person) -> None:
    alice.approve(alice.begin(alice.brought(NAME, PDF + b"%a telling text\n%%EOF\n")))
    begun = alice.begin(alice.brought("other.pdf"))
    kept = b""
    with of(running.app).engine.connect() as connection:
        for table in ("portal_sessions", "portal_pending", "portal_documents", "portal_contents"):
            rows = connection.execute(text(f"SELECT * FROM {table}")).all()
            assert rows, table
            kept += b"".join(
                bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                for row in rows for value in row
            )  # fmt: skip
    secrets = [b"alice", b"Alice Example", NAME.encode(), b"%PDF", b"telling", b"service of", begun["state"].encode()]
    assert [each for each in secrets if each in kept] == []


def test_a_deleted_document_is_gone_with_its_signed_form_at_once(running: World, alice: Person) -> None:
    document_id = alice.brought(NAME)
    alice.approve(alice.begin(document_id))
    assert alice.post(f"/documents/{document_id}/delete").status_code == 303
    assert NAME not in alice.get("/documents").text
    assert alice.get(f"/documents/{document_id}/signed.pdf").status_code == 404
    with of(running.app).engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM portal_contents")) == 0


def test_what_has_expired_is_not_found_and_the_purge_removes_it(running: World, alice: Person) -> None:
    keep = running.settings.keeping
    document_id = alice.brought(NAME)
    running.clock.advance(keep.document_seconds - 10)
    alice = signed_in(running)
    assert alice.get(f"/documents/{document_id}/original.pdf").status_code == 200
    running.clock.advance(10)
    assert alice.get(f"/documents/{document_id}/original.pdf").status_code == 404
    assert NAME not in alice.get("/documents").text
    engine = of(running.app).engine
    documents, others = purge(engine, of(running.app).now, keep)
    assert (documents, others) == (1, 1), "the first session was idle for days"
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM portal_contents")) == 0


def test_a_quota_holds_for_each_person_and_names_itself(tmp_path: Path, database_url: str) -> None:
    with world(tmp_path, database_url, documents=2) as made:
        alice, bob = signed_in(made), signed_in(made, "bob")
        alice.brought("1.pdf")
        page = alice.bring(("2.pdf", PDF), ("3.pdf", PDF))
        assert page.status_code == 413
        assert "3.pdf" in page.text
        assert "as many documents here as one person may" in page.text
        assert page.text.count("data-document=") == 2, "what could be kept was kept"
        bob.brought("1.pdf")


def test_files_that_are_no_pdfs_or_too_large_are_refused_by_name_and_the_others_kept(one: World) -> None:
    alice = signed_in(one)
    large = b"%PDF-1.7\n" + b" " * 4096 + b"%%EOF\n"
    page = alice.bring(("good.pdf", PDF), ("script.exe", b"MZ"), ("large.pdf", large))
    assert page.status_code == 413
    assert "This file is not a PDF" in page.text
    assert "A file may have at most" in page.text
    assert page.text.count("data-document=") == 1


def test_a_request_larger_than_all_may_be_is_answered_with_our_page(one: World) -> None:
    alice = signed_in(one)
    page = alice.bring(("large.pdf", b"%PDF-" + b"x" * 400_000))
    assert page.status_code == 413
    assert "That is too much at once" in page.text


def test_a_document_that_is_not_one_to_be_signed_is_refused_with_its_reason(one: World) -> None:
    page = signed_in(one).bring(("secret.pdf", PDF + b"% REFUSE\n%%EOF\n"), ("good.pdf", PDF))
    assert page.status_code == 400
    assert "This PDF is encrypted." in page.text
    assert page.text.count("data-document=") == 1


def test_what_could_deceive_is_told_before_anything_is_signed(one: World) -> None:
    alice = signed_in(one)
    document_id = alice.brought("active.pdf", PDF + b"% ACTIVE\n%%EOF\n")
    for page in (alice.get("/documents"), alice.get(f"/sign?document={document_id}")):
        assert "acts when it is opened" in page.text
        assert "can look different elsewhere" in page.text


def test_the_visible_signature_is_asked_for_where_the_person_wants_it(one: World) -> None:
    alice = signed_in(one)
    place = {"place": "custom", "page": "first", "left": "10", "top": "20", "width": "70", "height": "25"}
    alice.approve(alice.begin(alice.brought(NAME), **place, reason="I agree"))
    (document,) = one.server.last("/csc/v2/signatures/signDoc").json["documents"]
    told = {each["attribute_name"]: base64.b64decode(each["attribute_value"]) for each in document["signed_props"]}
    assert told == {"Page": b"1", "Box": b"28.35 714.33 226.77 785.20", "Reason": b"I agree"}


def test_a_place_that_is_on_no_page_is_refused_before_anybody_is_asked(one: World) -> None:
    alice = signed_in(one)
    document_id, pushed = alice.brought(NAME), one.server.count("/as/par")
    for place in ({"place": "custom", "left": "1"}, {"place": "top-left", "page": "number", "page_number": "3"}):
        page = alice.post("/sign", document=[document_id], **place)
        assert page.status_code == 400
        assert "do not make a place on a page" in page.text
    assert one.server.count("/as/par") == pushed


def fetched(made: World, document_id: str, **changes: Any) -> int:
    """The identity provider comes for a document; the status."""
    key, typ = changes.pop("key", made.token_key), changes.pop("typ", TOKEN_TYPE)
    now = epoch(made.clock.now())
    claims = {"iss": made.issuer, "aud": CLIENT, "iat": now, "exp": now + 60, "jti": "1",
              "digest": hashlib.sha256(PDF).hexdigest(), "hashAlgorithmOID": SHA256, **changes}  # fmt: skip
    token = sign_compact({name: value for name, value in claims.items() if value is not None}, key, typ)
    http = made.app.test_client()
    answer = http.get(f"/shown/{document_id}.pdf", headers={"Authorization": f"Bearer {token}"})
    assert (answer.data == PDF) == (answer.status_code == 200)
    return answer.status_code


def test_the_identity_provider_fetches_the_document_that_it_shows_and_nobody_else_does(one: World) -> None:
    alice = signed_in(one)
    document_id = alice.brought(NAME)
    assert fetched(one, document_id) == 200
    now = epoch(one.clock.now())
    for changes in (
        {"iss": "https://evil.example.org"}, {"aud": "another"}, {"digest": hashlib.sha256(b"").hexdigest()},
        {"digest": None}, {"hashAlgorithmOID": "1.2.3"}, {"exp": now - 60}, {"iat": now + 61}, {"exp": "later"},
        {"typ": "JWT"}, {"key": generate_signing_key()},
    ):  # fmt: skip
        assert fetched(one, document_id, **changes) == 401, changes
    assert fetched(one, "0" * 32) == 401, "whether there is one is not told"
    assert alice.get(f"/shown/{document_id}.pdf").status_code == 401, "its owner downloads it elsewhere"
    one.clock.advance(one.settings.keeping.document_seconds)
    assert fetched(one, document_id) == 401


def test_a_page_is_drawn_for_its_owner_and_only_where_there_is_one(one: World) -> None:
    alice = signed_in(one)
    document_id = alice.brought(NAME)
    picture = alice.get(f"/documents/{document_id}/page/2.png")
    assert (picture.mimetype, picture.data) == ("image/png", b"picture of page 2")
    assert picture.headers["Cache-Control"] == "no-store"
    for number in (0, 3):
        assert alice.get(f"/documents/{document_id}/page/{number}.png").status_code == 404
    assert one.person("nobody").get(f"/documents/{document_id}/page/1.png").status_code == 401


def test_SES_04_a_post_without_this_browsers_form_token_changes_nothing(one: World) -> None:
    alice, mallory = signed_in(one), one.person("mallory")
    document_id = alice.brought(NAME)
    mallory.get("/")
    for token in ("", "0" * 64, mallory.form):
        for path in ("/documents", "/sign", f"/documents/{document_id}/delete", "/sign-in", "/sign-out"):
            page = alice.post(path, csrf_token=token, document=document_id)
            assert page.status_code == 400, path
            assert "This page is out of date" in page.text
        alice.get("/documents")
    assert alice.get(f"/documents/{document_id}/original.pdf").status_code == 200


def test_SES_01_the_cookie_changes_at_sign_in_and_the_old_one_is_worth_nothing(one: World) -> None:
    alice, planted = one.person("alice"), one.person("mallory")
    alice.get("/")
    before = alice.http.get_cookie("privyseal_portal", domain="localhost")
    assert before is not None
    planted.http.set_cookie("privyseal_portal", before.value)
    alice.sign_in()
    after = alice.http.get_cookie("privyseal_portal", domain="localhost")
    assert after is not None
    assert after.value != before.value
    assert (after.http_only, after.same_site, after.path) == (True, "Lax", "/")
    assert planted.get("/documents").status_code == 401


def test_with_https_the_cookie_is_this_hosts_alone(tmp_path: Path) -> None:
    import dataclasses

    from portal.app import create_app

    with world(tmp_path, f"sqlite:///{tmp_path / 'portal.sqlite'}") as made:
        secure = dataclasses.replace(made.settings, public_url="https://portal.localhost")
        answer = create_app(secure, engine=of(made.app).engine).test_client().get("/")
        assert answer.headers["Set-Cookie"].startswith("__Host-privyseal-portal=")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(answer.headers["Set-Cookie"].split("; "))
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "changes",
    [{"state": "another"}, {"iss": "https://evil.example.org"}, {"state": ""}],
    ids=["another state", "another issuer", "no state"],
)
def test_an_answer_that_is_not_to_this_browsers_request_signs_nobody_in(one: World, changes: dict[str, str]) -> None:
    alice = one.person("alice")
    alice.get("/")
    asked = one.pushed(alice.post("/sign-in"))
    one.next_tokens("alice", asked["nonce"])
    page = alice.come_back(**{"state": asked["state"], **changes})
    assert page.status_code == 400
    assert one.server.count("/as/token") == 0, "no code is redeemed"
    assert alice.get("/documents").status_code == 401


def test_an_answer_is_good_once_and_in_the_browser_that_asked(one: World) -> None:
    alice, mallory = one.person("alice"), one.person("mallory")
    alice.get("/")
    mallory.get("/")
    asked = one.pushed(alice.post("/sign-in"))
    one.next_tokens("alice", asked["nonce"])
    assert mallory.come_back(asked["state"]).status_code == 400
    assert alice.come_back(asked["state"]).status_code == 303
    assert alice.come_back(asked["state"]).status_code == 400


def test_an_id_token_for_another_request_signs_nobody_in(one: World) -> None:
    alice = one.person("alice")
    alice.get("/")
    asked = one.pushed(alice.post("/sign-in"))
    one.next_tokens("alice", "the nonce of another request")
    assert alice.come_back(asked["state"]).status_code == 502
    assert alice.get("/documents").status_code == 401


def test_a_signature_that_was_not_approved_leaves_the_document_as_it_is(one: World) -> None:
    alice = signed_in(one)
    asked = alice.begin(alice.brought(NAME))
    page = alice.come_back(asked["state"], code="", error="access_denied")
    assert page.status_code == 403
    assert "The signature was not approved" in page.text
    assert one.server.count("/csc/v2/signatures/signDoc") == 0
    assert "Signed by" not in alice.get("/documents").text


def test_a_refusal_of_the_signing_service_is_told_in_its_words_and_escaped(one: World) -> None:
    alice = signed_in(one)
    one.refusals.append((400, {"error": "invalid_request", "error_description": "<b>broken</b>"}, {}))
    page = alice.approve(alice.begin(alice.brought(NAME)))
    assert page.status_code == 502
    assert "&lt;b&gt;broken" in page.text


def test_a_document_that_is_deleted_while_it_is_signed_is_gone_and_costs_the_others_nothing(one: World) -> None:
    alice, elsewhere = signed_in(one), signed_in(one)
    kept, deleted = alice.brought("kept.pdf"), alice.brought("deleted.pdf")
    signing = one.server.live["/csc/v2/signatures/signDoc"]

    def meanwhile(body: dict[str, Any]) -> Any:
        elsewhere.post(f"/documents/{deleted}/delete")
        return signing(body)

    one.server.live["/csc/v2/signatures/signDoc"] = meanwhile
    assert alice.approve(alice.begin(kept, deleted)).status_code == 303
    assert alice.get(f"/documents/{kept}/signed.pdf").status_code == 200
    assert alice.get(f"/documents/{deleted}/signed.pdf").status_code == 404


def test_a_token_that_is_good_no_longer_leads_to_a_new_sign_in_and_not_to_a_loss(one: World) -> None:
    alice = signed_in(one)
    document_id = alice.brought(NAME)
    one.server.answers["/csc/v2/credentials/list"] = []
    one.server.on("/csc/v2/credentials/list", {"error": "invalid_token"}, 401)
    page = alice.get(f"/sign?document={document_id}")
    assert page.status_code == 401
    assert "Please sign in again" in page.text
    assert 'data-form="sign-in"' in page.text


def test_an_approval_comes_back_to_the_person_who_asked_and_nobody_else(one: World) -> None:
    alice = signed_in(one)
    asked = alice.begin(alice.brought(NAME))
    alice.subject = "bob"
    alice.sign_in()
    assert alice.approve(asked).status_code == 400
    assert one.server.count("/csc/v2/signatures/signDoc") == 0


def test_more_than_one_approval_takes_is_refused_before_anybody_is_asked(one: World) -> None:
    alice = signed_in(one)
    ids = [alice.brought(f"{number}.pdf", PDF + b" " * 20 + b"%%EOF") for number in range(4)]
    pushed = one.server.count("/as/par")
    page = alice.post("/sign", document=ids)
    assert page.status_code == 400
    assert "more documents than can be signed with one approval" in page.text
    assert alice.post("/sign", document=[]).status_code == 400
    assert one.server.count("/as/par") == pushed


def test_every_page_carries_the_headers_and_is_kept_by_no_cache(one: World) -> None:
    alice = signed_in(one)
    document_id = alice.brought(NAME)
    document = f"/documents/{document_id}/original.pdf"
    for path in ("/", "/documents", f"/sign?document={document_id}", "/nowhere", document):
        headers = alice.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert f"form-action 'self' {one.server.url}" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_signing_out_ends_the_session_here_and_hands_the_token_back(one: World) -> None:
    alice = signed_in(one)
    cookie = alice.http.get_cookie("privyseal_portal", domain="localhost")
    assert cookie is not None
    answer = alice.post("/sign-out")
    assert answer.location.startswith(f"{one.issuer}/logout?client_id={CLIENT}")
    assert one.server.last("/as/revoke").form["token"] == "service of alice"
    alice.http.set_cookie("privyseal_portal", cookie.value)
    assert alice.get("/documents").status_code == 401


def test_a_get_sends_nothing_and_changes_nothing(one: World) -> None:
    alice = signed_in(one)
    document_id = alice.brought(NAME)
    before = (one.server.count("/as/par"), one.server.count("/as/token"))
    for path in ("/", "/documents", f"/sign?document={document_id}", "/sign-in", "/sign-out", "/callback?error=x",
                 f"/documents/{document_id}/delete"):  # fmt: skip
        alice.get(path)
    assert (one.server.count("/as/par"), one.server.count("/as/token")) == before
    assert alice.get(f"/documents/{document_id}/original.pdf").status_code == 200


@pytest.mark.parametrize(("language", "word"), [("de", "Anmelden"), ("es", "Iniciar sesión"), ("fr", "Se connecter")])
def test_the_pages_are_in_the_language_that_the_browser_asks_for(one: World, language: str, word: str) -> None:
    page = one.app.test_client().get("/", headers={"Accept-Language": language})
    assert f'lang="{language}"' in page.text
    assert word in page.text
