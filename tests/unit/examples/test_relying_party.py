"""The site: the walk through its pages, and what it refuses; the visitor is Flask's test client."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from examples.oauth_client import Client
from examples.pdf_signing import make_sample_pdf, verify
from examples.person import Browser, Identity, Inbox, Person, Returned
from examples.relying_party.app import COOKIE, MAX_PDF_BYTES, Settings, clean_name, create_app
from examples.relying_party.visits import IDLE_SECONDS, MAX_VISITS, Document, Visit, Visits
from foundation.clock import SystemClock
from tests.fakes.clock import Monotonic
from tests.unit.examples.stub import CLIENT_ID, EMAIL, PASSWORD, PHONE, Stub
from tests.unit.examples.test_pdf_signing import encrypted_sample

pytestmark = pytest.mark.loopback

BASE = "http://rp.localhost:8405"


@pytest.fixture
def way() -> str:
    """How the site has documents signed."""
    return "whole"


@pytest.fixture
def app(stub: Stub, client: Client, tmp_path: Path, way: str) -> Flask:
    return create_app(
        Settings(
            public_url=BASE,
            issuer=stub.issuer,
            csc=stub.csc,
            client=client,
            state=tmp_path / "state",
            roots=(stub.signer.root,),
            check_revocation=False,
            way=way,
            level="Ades-B-B",
            show_documents=True,
        )
    )


def parse(text: str) -> Any:
    return lxml.html.fromstring(text)


class Visitor:
    """A browser at the site, and the person who answers the identity provider."""

    def __init__(self, app: Flask, stub: Stub, client: Client) -> None:
        self.http: FlaskClient = app.test_client()
        identity = Identity("alice", PASSWORD, PHONE, EMAIL)
        self.person = Person(identity, Browser(client.redirect_uri), Inbox(stub.inbox))
        self.page = self.get("/")

    def get(self, path: str) -> TestResponse:
        self.page = self.http.get(path, base_url=BASE, buffered=True)
        return self.page

    def post(self, path: str, **fields: object) -> TestResponse:
        token = parse(self.page.text).xpath('//input[@name="csrf_token"]/@value')[0]
        # Encoded here, because the test client would put a large form into a temporary file and leave it open.
        boundary, body = encode_multipart({"csrf_token": token, **fields})
        kind = f'multipart/form-data; boundary="{boundary}"'
        return self.http.post(path, base_url=BASE, data=body, content_type=kind)

    def hand_in(self, content: bytes, name: str = "lease.pdf") -> TestResponse:
        return self.post("/documents", document=FileStorage(io.BytesIO(content), name))

    def at_provider(self, response: TestResponse, *, approve: bool = True) -> TestResponse:
        """Go where the site sends the browser, and come back."""
        arrival = self.person.walk(response.headers["Location"], approve=approve)
        assert isinstance(arrival, Returned)
        return self.get(arrival.url.removeprefix(BASE))

    def sign_in(self) -> TestResponse:
        self.at_provider(self.get("/sign-in"))
        return self.get("/review")

    def cookie(self) -> str:
        found = self.http.get_cookie(COOKIE, domain="rp.localhost")
        assert found is not None
        return found.value


@pytest.fixture
def visitor(app: Flask, stub: Stub, client: Client) -> Visitor:
    return Visitor(app, stub, client)


@pytest.mark.parametrize("way", ["whole", "kept"])
def test_a_pdf_goes_in_and_comes_out_signed(visitor: Visitor, stub: Stub, way: str) -> None:
    assert visitor.hand_in(make_sample_pdf()).headers["Location"] == "/sign-in"
    review = visitor.sign_in()
    assert "lease.pdf" in review.text
    assert "Signed in as" in review.text
    assert ("Digest of the document" if way == "whole" else "Digest of the data to be signed") in review.text
    shown = parse(review.text).xpath("//@data-digest")
    back = visitor.at_provider(visitor.post("/sign"))
    assert back.headers["Location"] == "/signed"
    assert parse(visitor.get("/signed").text).xpath("//@data-verdict") == ["valid"]
    download = visitor.get("/documents/signed.pdf")
    assert "lease-signed.pdf" in download.headers["Content-Disposition"]
    assert verify(download.data, [stub.signer.root]).bottom_line
    assert [base64.b64decode(each).hex() for each in stub.signed_hashes] == shown


def test_a_subject_identifier_is_not_shown_as_a_name(visitor: Visitor, stub: Stub) -> None:
    stub.screws.id_token_claims = {"name": None}
    visitor.sign_in()
    page = visitor.get("/").text
    assert "Signed in</span>" in page
    assert "5b1e" not in page


def test_the_sample_can_be_signed_without_a_file(visitor: Visitor) -> None:
    assert visitor.post("/documents/sample").headers["Location"] == "/sign-in"
    assert "service-agreement.pdf" in visitor.sign_in().text


def test_the_person_chooses_among_several_credentials(visitor: Visitor, stub: Stub) -> None:
    stub.screws.credentials = ("alice-1", "alice-2")
    visitor.hand_in(make_sample_pdf())
    assert "Key alice-2" in visitor.sign_in().text
    visitor.post("/credential", credential_id="alice-2")
    assert "Key alice-2" in visitor.get("/review").text
    visitor.at_provider(visitor.post("/sign"))
    assert '"credentialID":"alice-2"' in stub.last_push["authorization_details"]


def test_a_credential_that_was_not_offered_cannot_be_chosen(visitor: Visitor, stub: Stub) -> None:
    stub.screws.credentials = ("alice-1", "alice-2")
    visitor.hand_in(make_sample_pdf())
    visitor.sign_in()
    visitor.post("/credential", credential_id="bob-1")
    assert "Which signature" in visitor.get("/review").text


def test_a_person_without_credential_is_told_where_to_get_one(visitor: Visitor, stub: Stub) -> None:
    stub.screws.credentials = ()
    visitor.hand_in(make_sample_pdf())
    assert "no signing credential yet" in visitor.sign_in().text


def test_an_expired_access_token_is_refreshed_unseen(visitor: Visitor, stub: Stub) -> None:
    visitor.hand_in(make_sample_pdf())
    visitor.at_provider(visitor.get("/sign-in"))
    stub.screws.expired_access = True
    assert "Review and sign" in visitor.get("/review").text
    assert stub.refreshes == 1


def test_an_expired_access_token_without_refresh_leads_to_sign_in(visitor: Visitor, stub: Stub) -> None:
    visitor.hand_in(make_sample_pdf())
    visitor.at_provider(visitor.get("/sign-in"))
    stub.screws.expired_access, stub.screws.refuse_refresh = True, True
    assert visitor.get("/review").headers["Location"] == "/sign-in"


def test_what_the_signing_service_demands_is_asked_of_the_provider_and_then_goes_on(
    visitor: Visitor, stub: Stub
) -> None:
    stub.screws.demanded = ("urn:example:high urn:example:higher", "300")
    visitor.hand_in(make_sample_pdf())
    visitor.at_provider(visitor.get("/sign-in"))
    assert "acr_values" not in stub.last_authorize
    assert visitor.get("/review").headers["Location"] == "/sign-in"
    visitor.at_provider(visitor.get("/sign-in"))
    assert stub.last_authorize["acr_values"] == "urn:example:high urn:example:higher"
    assert stub.last_authorize["max_age"] == "300"
    assert "Review and sign" in visitor.get("/review").text
    stub.screws.demanded = None
    visitor.at_provider(visitor.get("/sign-in"))
    assert "acr_values" not in stub.last_authorize, "the next sign-in is an ordinary one"


def test_a_demand_that_the_provider_does_not_meet_is_followed_once_and_then_told(
    visitor: Visitor, stub: Stub
) -> None:
    stub.screws.demanded, stub.screws.demand_again = ("urn:example:high", "300"), True
    visitor.hand_in(make_sample_pdf())
    visitor.at_provider(visitor.get("/sign-in"))
    assert visitor.get("/review").headers["Location"] == "/sign-in"
    visitor.at_provider(visitor.get("/sign-in"))
    page = visitor.get("/review")
    assert page.status_code == 502
    assert "More is required" in page.text


def test_a_person_who_declines_is_told_kindly_and_can_go_back(visitor: Visitor, stub: Stub) -> None:
    visitor.hand_in(make_sample_pdf())
    visitor.sign_in()
    page = visitor.at_provider(visitor.post("/sign"), approve=False)
    assert page.status_code == 400
    assert "The signature was not approved" in page.text
    assert "The signer declined" in page.text
    assert 'href="/review"' in page.text
    assert not stub.signed_hashes


def test_XSS_what_the_provider_says_is_shown_as_text(visitor: Visitor, stub: Stub) -> None:
    visitor.hand_in(make_sample_pdf(), "<img src=x onerror=alert(1)>.pdf")
    review = visitor.sign_in()
    assert "<img src=x" not in review.text
    stub.screws.refuse = ("<b>oops</b>", "<script>alert(1)</script>" + "x" * 1000)
    page = visitor.at_provider(visitor.post("/sign"))
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "x" * 400 not in page.text


def test_an_answer_nobody_asked_for_is_refused(visitor: Visitor, stub: Stub) -> None:
    page = visitor.get(f"/callback?code=abc&state=s&iss={stub.issuer}")
    assert page.status_code == 400
    assert "cannot be trusted" in page.text


def test_an_answer_serves_once(visitor: Visitor) -> None:
    visitor.hand_in(make_sample_pdf())
    arrival = visitor.person.walk(visitor.get("/sign-in").headers["Location"])
    assert isinstance(arrival, Returned)
    path = arrival.url.removeprefix(BASE)
    assert visitor.get(path).status_code == 303
    assert visitor.get(path).status_code == 400


def test_an_answer_taken_to_another_browser_is_refused(
    visitor: Visitor, app: Flask, stub: Stub, client: Client
) -> None:
    arrival = visitor.person.walk(visitor.get("/sign-in").headers["Location"])
    assert isinstance(arrival, Returned)
    other = Visitor(app, stub, client)
    other.get("/sign-in")
    page = other.get(arrival.url.removeprefix(BASE))
    assert page.status_code == 400
    assert "does not belong to a request from this browser" in page.text


def test_an_answer_of_another_issuer_is_refused(visitor: Visitor, stub: Stub) -> None:
    stub.screws.response_iss = "http://evil.localhost"
    page = visitor.at_provider(visitor.get("/sign-in"))
    assert page.status_code == 400
    assert "another identity provider" in page.text


def test_a_value_that_does_not_fit_is_not_handed_out(visitor: Visitor, stub: Stub) -> None:
    stub.screws.wrong_value = True
    visitor.hand_in(make_sample_pdf())
    visitor.sign_in()
    page = visitor.at_provider(visitor.post("/sign"))
    assert page.status_code == 502
    assert "The signature does not fit" in page.text
    assert visitor.get("/documents/signed.pdf").status_code == 404


def test_SES_the_cookie_changes_at_sign_in(visitor: Visitor) -> None:
    before = visitor.cookie()
    visitor.hand_in(make_sample_pdf())
    visitor.sign_in()
    after = visitor.cookie()
    assert after != before
    visitor.http.set_cookie(COOKIE, before, domain="rp.localhost")
    assert "Signed in as" not in visitor.get("/").text


@pytest.mark.parametrize("path", ["/documents", "/documents/sample", "/credential", "/sign", "/sign-out"])
@pytest.mark.parametrize("token", [None, "", "forged"])
def test_CSRF_a_form_without_this_visits_token_does_nothing(visitor: Visitor, path: str, token: str | None) -> None:
    visitor.hand_in(make_sample_pdf())
    data = {} if token is None else {"csrf_token": token}
    page = visitor.http.post(path, base_url=BASE, data=data)
    assert page.status_code == 400
    assert "This page was open for too long" in page.text
    assert "lease.pdf" in visitor.get("/").text


def test_CSRF_a_token_of_another_visit_does_not_serve(visitor: Visitor, app: Flask, stub: Stub, client: Client) -> None:
    other = Visitor(app, stub, client)
    token = parse(other.page.text).xpath('//input[@name="csrf_token"]/@value')[0]
    assert visitor.http.post("/documents/sample", base_url=BASE, data={"csrf_token": token}).status_code == 400


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: b"MZ this is a program", "not a PDF"),
        (lambda: make_sample_pdf()[:900], "damaged"),
        (encrypted_sample, "protected by a password"),
        (lambda: b"", "not a PDF"),
    ],
    ids=["program", "cut off", "encrypted", "empty"],
)
def test_a_file_that_cannot_be_signed_is_refused_at_once(
    visitor: Visitor, make: Callable[[], bytes], words: str
) -> None:
    page = visitor.hand_in(make())
    assert page.status_code == 400
    assert words in parse(page.text).xpath('//*[@role="alert"]')[0].text_content()


def test_no_file_at_all_is_refused(visitor: Visitor) -> None:
    assert "Choose a PDF file first" in visitor.post("/documents").text


@pytest.mark.parametrize("size", [MAX_PDF_BYTES + 1, MAX_PDF_BYTES + 10**6])
def test_a_file_over_20_MB_is_refused_with_words(visitor: Visitor, size: int) -> None:
    page = visitor.hand_in(b"%PDF-1.7\n" + bytes(size))
    assert page.status_code == 413
    assert "larger than 20 MB" in page.text


def test_headers_forbid_inline_code_framing_and_storing(visitor: Visitor, stub: Stub) -> None:
    headers = visitor.get("/").headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert f"form-action 'self' {stub.issuer}" in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    cookie = visitor.http.get_cookie(COOKIE, domain="rp.localhost")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.same_site == "Lax"


def test_pages_carry_no_inline_script_or_style(visitor: Visitor) -> None:
    visitor.hand_in(make_sample_pdf())
    for page in (visitor.get("/"), visitor.sign_in(), visitor.get("/nowhere")):
        document = parse(page.text)
        assert not document.xpath("//style | //*[@style] | //script[not(@src)] | //*[@*[starts-with(name(), 'on')]]")


def test_another_host_name_is_sent_to_the_public_one_or_refused(app: Flask) -> None:
    browser = app.test_client()
    assert browser.get("/", base_url="http://127.0.0.1:8405").headers["Location"] == f"{BASE}/"
    assert browser.get("/", base_url="http://evil.example.org").status_code == 400
    assert browser.post("/documents/sample", base_url="http://127.0.0.1:8405").status_code == 400
    assert browser.get("/healthz", base_url="http://127.0.0.1:8405").text == "ok\n"


def test_signing_out_forgets_tokens_and_document_and_tells_the_provider(
    visitor: Visitor, stub: Stub, tmp_path: Path
) -> None:
    visitor.hand_in(make_sample_pdf())
    visitor.sign_in()
    assert list((tmp_path / "state").rglob("*.pdf"))
    response = visitor.post("/sign-out")
    assert response.headers["Location"].startswith(f"{stub.issuer}/oauth2/logout?")
    assert stub.revoked == ["r1"]
    assert not list((tmp_path / "state").rglob("*.pdf"))
    assert "Signed in as" not in visitor.get("/").text


def test_a_provider_that_is_down_is_named_and_the_document_stays(visitor: Visitor, app: Flask) -> None:
    visitor.hand_in(make_sample_pdf())
    services = app.extensions["example_contracts"]
    object.__setattr__(services.settings, "issuer", "http://idp.localhost:1")
    page = visitor.get("/sign-in")
    assert page.status_code == 503
    assert "A service does not answer" in page.text
    assert "lease.pdf" in page.text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd.pdf", "passwd.pdf"),
        (r"C:\Users\alice\lease.PDF", "lease.pdf"),
        ("invoice\u202efdp.exe.pdf", "invoicefdp.exe.pdf"),
        ("a\r\nb\x00.pdf", "ab.pdf"),
        ("", "document.pdf"),
        ("x" * 500, "x" * 100 + ".pdf"),
    ],
)
def test_a_file_name_is_shown_without_path_tricks_or_length(given: str, shown: str) -> None:
    assert clean_name(given) == shown


def test_an_idle_visit_ends_and_takes_its_document_along(tmp_path: Path) -> None:
    time = Monotonic()
    visits = Visits(tmp_path / "d", time)
    visit = Visit()
    path = visits.new_path()
    visit.document = Document("a.pdf", 1, path)
    cookie = visits.add(visit)
    time.now = IDLE_SECONDS - 1
    assert visits.find(cookie) is visit
    time.now += IDLE_SECONDS
    assert visits.find(cookie) is None
    assert not path.exists()


def test_the_oldest_visit_makes_room(tmp_path: Path) -> None:
    visits = Visits(tmp_path / "d", Monotonic())
    cookies = [visits.add(Visit()) for _ in range(MAX_VISITS + 1)]
    assert visits.find(cookies[0]) is None
    assert visits.find(cookies[-1]) is not None


def test_documents_left_by_an_earlier_run_are_deleted(tmp_path: Path) -> None:
    left = Visits(tmp_path / "d").new_path()
    Visits(tmp_path / "d")
    assert not left.exists()


def fetch_token(stub: Stub, digest: str, **changes: Any) -> str:
    """What the identity provider shows when it comes for a document."""
    header = {"alg": "ES256", "kid": "one", "typ": changes.pop("typ", "document-fetch+jwt")}
    now = int(SystemClock().now().timestamp())
    claims = {"iss": stub.issuer, "aud": CLIENT_ID, "digest": digest, "iat": now, "exp": now + 60, "jti": "x"}
    key = changes.pop("key", stub.key)
    return jwt.encode(header, {**claims, **changes}, key)


def waiting(visitor: Visitor, stub: Stub) -> tuple[str, str]:
    """A document waits for its approval: under which path the provider finds it, and its digest."""
    visitor.hand_in(make_sample_pdf())
    visitor.sign_in()
    visitor.post("/sign")
    (details,) = json.loads(stub.last_push["authorization_details"])
    ((place,), (digest,)) = details["documentLocations"], details["documentDigests"]
    assert place["method"] == {"type": "OAuth_20"}
    return place["uri"].removeprefix(BASE), base64.b64decode(digest["hash"]).hex()


def test_the_provider_gets_the_document_that_it_shows_and_leaves_no_visit_behind(visitor: Visitor, stub: Stub) -> None:
    path, digest = waiting(visitor, stub)
    provider = visitor.http.application.test_client()
    headers = {"Authorization": f"Bearer {fetch_token(stub, digest)}"}
    answer = provider.get(path, base_url=BASE, headers=headers, buffered=True)
    assert answer.status_code == 200
    assert hashlib.sha256(answer.data).hexdigest() == digest
    assert "Set-Cookie" not in answer.headers


OTHER_KEY = ECKey.generate_key("P-256", {"kid": "one"})


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "somebody-else"},
        {"iss": "http://evil.localhost"},
        {"exp": 1_000_000_000},
        {"typ": "JWT"},
        {"digest": "00" * 32},
        {"key": OTHER_KEY},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whoever_else_asks_for_the_document_does_not_get_it(
    visitor: Visitor, stub: Stub, changes: dict[str, Any]
) -> None:
    path, digest = waiting(visitor, stub)
    assert visitor.http.get(path, base_url=BASE).status_code == 401
    token = fetch_token(stub, **{"digest": digest, **changes})
    assert visitor.http.get(path, base_url=BASE, headers={"Authorization": f"Bearer {token}"}).status_code == 401
    headers = {"Authorization": f"Bearer {fetch_token(stub, digest)}"}
    assert visitor.http.get("/shown/unknown.pdf", base_url=BASE, headers=headers).status_code == 404

