"""Settings, health, errors, languages and the reader of credentials."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import render_template_string, session
from requests.adapters import BaseAdapter

from foundation.egress import Egress
from foundation.errors import PrivySealError, SettingsError
from foundation.files import write_secret
from foundation.settings import from_table
from idp.app import create_app, open_database
from idp.errors import CredentialUnavailable, CredentialUnusable, NotInitialised
from idp.policy.load import parse_policy
from idp.settings import ConnectorSettings, IdpSettings, MessagingSettings
from idp.storage.engine import open_engine
from idp.web import credential_info, language, wording
from idp.web.credential_info import CscCredentialReader
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.interactions import plain


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


PRODUCTION: dict[str, Any] = {
    "mode": "production",
    "issuer": "https://idp.example.org",
    "database_url_file": "database.url",
    "key_dir": "keys",
    "policy_file": "policy.yaml",
    "signing": {"csc_base": "https://sign.example.org/csc/v2", "sam_id": "urn:sam"},
}


def settings(**changes: Any) -> IdpSettings:
    table = {name: value for name, value in {**PRODUCTION, **changes}.items() if value is not None}
    return from_table(IdpSettings, table, base=Path("/etc/privyseal"))


def test_production_settings_are_accepted_and_paths_are_the_files_neighbours() -> None:
    made = settings()
    assert made.production
    assert made.secure_cookies
    assert made.key_dir == Path("/etc/privyseal/keys")
    assert made.signing.events_url == "https://sign.example.org/events"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "http://idp.example.org"}, "issuer must be https"),
        ({"signing": {"csc_base": "http://sign.example.org/csc/v2", "sam_id": "x"}}, "csc_base must be https"),
        ({"signing": {**PRODUCTION["signing"], "events_endpoint": "http://s.example.org/events"}}, "endpoint must be"),
        ({"signing": {**PRODUCTION["signing"], "events_endpoint": "https://sign.example.org"}}, "URL with a path"),
        ({"database_url_file": None, "database_url": "sqlite:///x"}, "database_url_file"),
        ({"database_url_file": None, "database_url": "postgresql://u:secret@h/d"}, "database_url_file"),
        ({"database_url_file": None, "database_url": "postgresql:///d?user=u&password=secret"}, "database_url_file"),
        ({"database_url_file": None, "database_url": "postgresql://u@h/d"}, "database_url_file"),
        ({"database_url": "sqlite:///x"}, "exactly one"),
        ({"database_url_file": None}, "exactly one"),
        ({"issuer": "https://idp.example.org/"}, "issuer is an origin"),
        ({"issuer": "https://idp.example.org/path"}, "issuer is an origin"),
        ({"languages": ["en", "xx"]}, "'xx'"),
        ({"languages": []}, "at least one"),
        ({"messaging": {"sms": {"connector": "x", "settings": {"base_url": "http://127.0.0.1:1"}}}}, "messaging.sms"),
        ({"messaging": {"sms": {"connector": "x", "settings": {"base_url": "HTTP://x.example"}}}}, "messaging.sms"),
        ({"otp": {"lifetime_seconds": 601}}, "lifetime_seconds"),
        ({"otp": {"max_wrong_ever": 101}}, "max_wrong_ever"),
        ({"password": {"iterations": 1}}, "7168 and 5"),
        ({"session": {"idle_seconds": 10}}, "idle_seconds"),
        ({"tokens": {"sad_seconds": 301}}, "sad_seconds"),
        ({"unknown": 1}, "unknown"),
        ({"session": {"interaction_seconds": 3601}}, "interaction_seconds"),
        ({"password": {"concurrent": 0}}, "concurrent"),
        ({"password": {"min_length": 7}}, "min_length"),
        ({"password": {"iterations": 4}}, "7168 and 5, 9216 and 4"),
        ({"password": {"memory_kib": 17920, "iterations": 2}}, "19456 and 2"),
        ({"password": {"memory_kib": 47103, "iterations": 1}}, "47104 and 1"),
        ({"otp": {"max_wrong": 11}}, "max_wrong"),
        ({"otp": {"cool_down_seconds": 0}}, "cool_down_seconds"),
        ({"tokens": {"code_seconds": 601}}, "code_seconds"),
        ({"tokens": {"access_token_seconds": 3601}}, "access_token_seconds"),
        ({"tokens": {"refresh_token_seconds": 59}}, "refresh_token_seconds"),
        ({"signing": {"csc_base": "https://sign.example.org", "sam_id": "x"}}, "csc_base is a URL with a path"),
        ({"signing": {"csc_base": "https://s.example.org/v2", "sam_id": "x", "profiles": []}}, "signing.profiles"),
    ],
)
def test_settings_that_must_not_be_used_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(**changes)
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


def test_SUP_05_production_refuses_sqlite_in_the_urls_file_too(tmp_path: Path) -> None:
    write_secret(tmp_path / "url", b"sqlite:///idp.sqlite")
    with pytest.raises(SettingsError, match="SQLite"):
        open_database(settings(database_url_file=str(tmp_path / "url")))


def test_AUD_11_the_text_of_a_database_error_does_not_quote_what_was_written(tmp_path: Path) -> None:
    for engine in (open_engine(f"sqlite:///{tmp_path / 'x.sqlite'}"), open_engine("postgresql://127.0.0.1/x")):
        assert engine.hide_parameters
        engine.dispose()


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        settings(issuer="http://idp.example.org", languages=[], otp={"lifetime_seconds": 601})
    assert len(refused.value.faults) == 3


def test_connectors_are_those_that_the_settings_name_and_no_other(tmp_path: Path) -> None:
    idp = make_idp(tmp_path)
    mail = ConnectorSettings("smtp", {"host": "smtp.example.org", "sender": "no-reply@example.org"})
    made = replace(idp.settings, messaging=MessagingSettings(mail=mail))
    policy = idp.app.extensions["privyseal"].policy
    services = create_app(made, engine=idp.engine, policy=policy).extensions["privyseal"]
    assert services.messaging.sms is None
    assert type(services.messaging.mail).__name__ == "SmtpMailer"
    unknown = replace(made, messaging=MessagingSettings(sms=ConnectorSettings("pigeon")))
    with pytest.raises(PrivySealError, match="known: http_sms, smpp, smtp, twilio"):
        create_app(unknown, engine=idp.engine, policy=policy)
    idp.engine.dispose()


def test_a_server_whose_database_was_not_set_up_does_not_start(tmp_path: Path) -> None:
    made = settings(
        mode="development", database_url_file=None, database_url=f"sqlite:///{tmp_path / 'empty.sqlite'}"
    )
    with pytest.raises(NotInitialised):
        create_app(made)


def test_health_tells_a_supervisor_and_nobody_else(idp: Idp) -> None:
    browser = idp.client()
    assert browser.get("/health/live").json == {"status": "ok"}
    assert browser.get("/health/ready").json == {"status": "ok"}


def test_without_a_key_a_server_is_alive_but_not_ready(idp: Idp) -> None:
    browser = idp.client()
    (idp.settings.key_dir / "activation.pem").unlink()
    answer = browser.get("/health/ready")
    assert (answer.status_code, answer.json) == (503, {"status": "unavailable"})
    assert browser.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/no/such/page", 404),
        ("get", "/interaction/nothing", 400),
        ("get", "/interaction/nothing/password", 405),
        ("put", "/account/", 405),
    ],
)
def test_errors_are_pages_that_tell_nothing_of_the_inside(idp: Idp, method: str, path: str, status: int) -> None:
    answer = getattr(idp.client(), method)(path)
    assert answer.status_code == status
    assert "<h1>" in answer.text
    for word in ("Traceback", "werkzeug", "idp.", "sqlite"):
        assert word not in answer.text


def test_a_failure_of_the_database_is_a_page_and_not_a_trace(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    idp.app.testing = False
    monkeypatch.setattr("idp.storage.interactions.create", lambda *_args, **_named: 1 / 0)
    answer = idp.client().get("/account/")
    assert answer.status_code == 500
    assert "Something went wrong" in answer.text
    assert "division" not in answer.text


@pytest.mark.parametrize(
    ("header", "ui_locales", "language", "words"),
    [
        ("en", (), "en", "User name"),
        ("es-ES,es;q=0.9", (), "es", "Nombre de usuario"),
        ("de-AT", (), "de", "Benutzername"),
        ("fr", (), "fr", "Nom d’utilisateur"),
        ("fr", ("pt", "de"), "de", "Benutzername"),
        ("pt", (), "en", "User name"),
        ("", (), "en", "User name"),
    ],
)
def test_pages_are_in_the_language_that_was_asked_for(
    idp: Idp, header: str, ui_locales: tuple[str, ...], language: str, words: str
) -> None:
    browser = idp.client()
    path = idp.path(browser, BeginInteraction("test", "sign_in", "c", {}, ui_locales=ui_locales))
    page = browser.get(path, headers={"Accept-Language": header}).text
    assert f'<html lang="{language}">' in page
    assert words in page


# The reader of credentials


class Answers(BaseAdapter):
    """Answers requests without a network."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__()
        self._status = status
        self._body = body
        self.requests: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_args: Any, **_named: Any) -> requests.Response:
        self.requests.append(request)
        if isinstance(self._body, Exception):
            raise self._body
        response = requests.Response()
        response.status_code = self._status
        response.raw = io.BytesIO(self._body if isinstance(self._body, bytes) else json.dumps(self._body).encode())
        return response

    def close(self) -> None:
        """Nothing is open."""


ANSWER: dict[str, Any] = {
    "key": {"status": "enabled", "algo": ["1.2.840.10045.4.3.2"], "len": 256},
    "cert": {
        "status": "valid",
        "subjectDN": "CN=Alice Example,C=ES",
        "issuerDN": "CN=CA",
        "validFrom": "20260101000000Z",
        "validTo": "20270101000000Z",
    },
    "SCAL": "2",
    "signatureQualifier": "eu_eidas_aes",
}


def reader(status: int, body: Any) -> tuple[CscCredentialReader, Answers]:
    base = "https://sign.example.org/csc/v2"
    made = CscCredentialReader(Egress(), base, 5, lambda account, client: f"{account}.{client}")
    answers = Answers(status, body)
    made._session.mount("https://", answers)
    return made, answers


def test_a_credential_is_read_with_a_token_for_its_owner() -> None:
    made, answers = reader(200, ANSWER)
    view = made.read("account", "client", "cred-1")
    assert (view.credential_id, view.subject) == ("cred-1", "CN=Alice Example,C=ES")
    assert (view.scal, view.status) == ("2", "enabled")
    (sent,) = answers.requests
    assert sent.url == "https://sign.example.org/csc/v2/credentials/info"
    assert sent.headers["Authorization"] == "Bearer account.client"
    assert json.loads(sent.body or b"")["credentialID"] == "cred-1"


def reader_that_counts(*statuses: int) -> tuple[CscCredentialReader, list[str], Answers]:
    """A reader that meets these statuses in turn, and the tokens that it asked for."""
    made: list[str] = []

    def token_for(account: str, client: str) -> str:
        made.append(f"{account}.{client}.{len(made)}")
        return made[-1]

    class InTurn(Answers):
        def send(self, request: requests.PreparedRequest, *_args: Any, **_named: Any) -> requests.Response:
            self._status = statuses[min(len(self.requests), len(statuses) - 1)]
            return super().send(request)

    found = CscCredentialReader(Egress(), "https://sign.example.org/csc/v2", 5, token_for)
    answers = InTurn(200, ANSWER)
    found._session.mount("https://", answers)
    return found, made, answers


def test_reloading_a_page_whose_credential_cannot_be_read_makes_no_more_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, tokens, answers = reader_that_counts(500)
    now = 1000.0
    monkeypatch.setattr("idp.web.credential_info.time.monotonic", lambda: now)
    for _ in range(5):
        with pytest.raises(CredentialUnavailable):
            made.read("account", "client", "cred-1")
    assert (tokens, len(answers.requests)) == (["account.client.0"], 5)
    for account, client in (("other", "client"), ("account", "other")):
        with pytest.raises(CredentialUnavailable):
            made.read(account, client, "cred-1")
    assert tokens[1:] == ["other.client.1", "account.other.2"], "a token is one person's, for one client"
    now += credential_info.HOLD_SECONDS
    with pytest.raises(CredentialUnavailable):
        made.read("account", "client", "cred-1")
    assert len(tokens) == 4
    assert len(made._tokens._held) == 1, "what is over is not kept"


def test_a_token_that_is_not_taken_any_more_is_replaced_once_and_not_used_again() -> None:
    made, tokens, answers = reader_that_counts(200, 401, 200, 401, 401, 200)
    for _ in range(2):
        assert made.read("account", "client", "cred-1").status == "enabled"
    assert [item.headers["Authorization"][-1] for item in answers.requests] == ["0", "0", "1"]
    with pytest.raises(CredentialUnavailable):
        made.read("account", "client", "cred-1")
    assert made.read("account", "client", "cred-1").status == "enabled"
    assert len(tokens) == 4


@pytest.mark.parametrize(
    ("part", "status"),
    [({"key": {"status": "disabled"}}, "disabled"), ({"cert": {**ANSWER["cert"], "status": "revoked"}}, "revoked")],
)
def test_a_disabled_key_or_a_revoked_certificate_is_not_enabled(part: dict[str, Any], status: str) -> None:
    made, _ = reader(200, {**ANSWER, **part})
    assert made.read("a", "c", "cred-1").status == status


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "invalid_request"}, CredentialUnusable),
        (404, b"", CredentialUnusable),
        (401, b"", CredentialUnavailable),
        (302, b"", CredentialUnavailable),
        (500, b"", CredentialUnavailable),
        (200, b"not json", CredentialUnavailable),
        (200, json.dumps(ANSWER)[:-1].encode() + b', "SCAL": "1"}', CredentialUnavailable),
        (200, [], CredentialUnavailable),
        (200, {**ANSWER, "cert": {}}, CredentialUnavailable),
        (200, {**ANSWER, "cert": {**ANSWER["cert"], "subjectDN": "a\nb"}}, CredentialUnavailable),
        (200, {**ANSWER, "key": None}, CredentialUnavailable),
        (200, b"x" * 300_000, CredentialUnavailable),
        (0, requests.ConnectionError("down"), CredentialUnavailable),
    ],
)
def test_an_answer_that_cannot_be_used_is_no_credential(status: int, body: Any, error: type[Exception]) -> None:
    made, _ = reader(status, body)
    with pytest.raises(error):
        made.read("account", "client", "cred-1")


def test_a_signing_service_on_an_address_that_was_not_allowed_is_not_asked() -> None:
    made = CscCredentialReader(Egress(), "http://127.0.0.1:1/csc/v2", 5, lambda _a, _c: "token")
    with pytest.raises(CredentialUnavailable):
        made.read("account", "client", "cred-1")


# Words


def test_digests_are_grouped_and_nothing_is_lost() -> None:
    digest = bytes(range(48))
    groups = wording.grouped(digest)
    assert {len(group) for group in groups} == {4}
    assert "".join(groups) == digest.hex()


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("C=ES,O=Example,CN=Alice Example", "Alice Example"),
        ("CN=Example\\, Alice,C=ES", "Example, Alice"),
        ("O=Example", "O=Example"),
        ("", ""),
    ],
)
def test_the_common_name_is_found(subject: str, name: str) -> None:
    assert wording.common_name(subject) == name


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [(1, "1 second", "1 Sekunde"), (120, "120 seconds", "120 Sekunden"), (121, "3 minutes", "3 Minuten")],
)
def test_a_pause_is_said_in_what_people_count_it_in_and_never_shorter(
    idp: Idp, seconds: int, english: str, german: str
) -> None:
    with idp.app.test_request_context("/", headers={"Accept-Language": "en"}):
        assert wording.duration(seconds) == english
    with idp.app.test_request_context("/", headers={"Accept-Language": "de"}):
        assert wording.duration(seconds) == german


@pytest.mark.parametrize(
    ("tag", "written"), [("en", "5 Mar 2026"), ("es", "5 mar 2026"), ("de", "5. März 2026"), ("fr", "5 mars 2026")]
)
def test_a_date_is_written_as_the_language_has_it(idp: Idp, tag: str, written: str) -> None:
    at = datetime(2026, 3, 5, 7, 30, tzinfo=UTC)
    with idp.app.test_request_context("/", headers={"Accept-Language": tag}):
        assert language.day(at) == written
        assert language.moment(at) == f"{written}, 07:30"
        assert language.exact(at) == f"{written}, 07:30:00"
        assert idp.app.jinja_env.from_string("{{ at|moment }}").render(at=at) == (
            f'<time datetime="2026-03-05T07:30:00+00:00">{written}, 07:30</time>'
        )


def test_times_and_devices_that_are_not_known_are_left_out() -> None:
    assert wording.validity("20260101000000Z") is not None
    assert wording.validity("tomorrow") is None
    assert wording.device_name("curl/8") == ""
    assert wording.device_name("Mozilla/5.0 (X11; Linux x86_64) Chrome/1 Safari/1") == "Chrome · Linux"
    assert wording.hash_name("1.2.3") == "1.2.3"


def test_a_session_ends_when_no_level_bears_the_pause_any_more(tmp_path: Path) -> None:
    from tests.fakes.idp import POLICY

    policy = POLICY.replace(b"    session_limit: 1h\n", b"    idle_limit: 5m\n")
    idp = make_idp(tmp_path, policy=policy)
    assert idp.app.extensions["privyseal"].settings.session == idp.settings.session, "the other level bears any pause"
    policy = policy.replace(b"    proofing: low\n", b"    proofing: low\n    idle_limit: 10m\n")
    made = create_app(idp.settings, engine=idp.engine, policy=parse_policy(policy, "tests.yaml"))
    assert made.extensions["privyseal"].settings.session == replace(idp.settings.session, idle_seconds=600)
    idp.engine.dispose()


def test_a_pause_takes_the_level_away_that_does_not_bear_it_and_leaves_the_other(tmp_path: Path) -> None:
    from tests.fakes.idp import POLICY

    idp = make_idp(tmp_path, policy=POLICY.replace(b"    session_limit: 1h\n", b"    idle_limit: 5m\n"))
    browser, strict = idp.client(), plain(client_id="strict")
    path = idp.path(browser, strict)
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    idp.clock.advance(299)
    assert idp.begin(browser, strict).status_code == 302, "it goes straight through"
    idp.clock.advance(300)
    assert idp.begin(browser, plain()).status_code == 302
    assert idp.finished[-1].approval is not None
    assert idp.finished[-1].approval.loa == "low"
    # Nor does the activity just now bring it back.
    path = idp.path(browser, strict)
    assert "Please type your password again" in browser.get(path).text
    idp.sign_in(browser, path)
    assert "One more step" in browser.get(path).text
    idp.pass_otp(browser, path)
    assert idp.finished[-1].approval is not None
    assert idp.finished[-1].approval.loa == "substantial"
    idp.engine.dispose()


def test_nothing_is_kept_in_flasks_own_session_and_no_cookie_of_it_is_set(idp: Idp) -> None:
    with idp.app.test_request_context("/", headers={"Cookie": "session=eyJhIjoxfQ.x.y"}):
        assert not session
        with pytest.raises(RuntimeError, match="session is unavailable"):
            session["account"] = "alice"
    answer = idp.app.test_client().get("/.well-known/openid-configuration")
    assert "Set-Cookie" not in answer.headers
    assert "Vary" not in answer.headers


def test_texts_follow_every_choice_of_the_language_within_one_request(idp: Idp) -> None:
    text = "This way is not available here."
    with idp.app.test_request_context("/", headers={"Accept-Language": "en"}):
        assert language.gettext(text) == text
        with language.in_language("de"):
            german = language.gettext(text)
            with language.in_language("fr"):
                french = language.gettext(text)
            assert language.gettext(text) == german
            assert render_template_string("{{ _(text) }}", text=text) == german
        assert language.gettext(text) == text
        language.prefer(("de",))
        assert language.gettext(text) == german
        language.prefer(())
        language.remember("fr")
        assert language.gettext(text) == french
    assert len({text, german, french}) == 3


def test_where_our_files_are_is_remembered_for_each_path_that_the_application_is_served_below(idp: Idp) -> None:
    page = "{{ url_for('static', filename='style.css') }} {{ url_for('home') }}"
    for root in ("", "/below", ""):
        with idp.app.test_request_context("/", environ_overrides={"SCRIPT_NAME": root}):
            assert render_template_string(page) == f"{root}/static/style.css {root}/"


def test_macros_that_are_made_once_speak_each_pages_language(idp: Idp) -> None:
    page = '{% from "_parts.html" import check_address %}{{ check_address() }}'
    seen = []
    for wanted in ("de", "en", "de"):
        with idp.app.test_request_context("/", headers={"Accept-Language": wanted}):
            seen.append(render_template_string(page))
    assert seen[0] == seen[2] != seen[1]


def test_SES_05_the_headers_are_on_answers_that_no_view_made(idp: Idp) -> None:
    idp.app.testing = False
    for path in ("/no/such/page", "/static/none.css", "/static/style.css", "/interaction/%00"):
        with idp.client().get(path) as response:
            found = response.headers
        assert found["X-Frame-Options"] == "DENY"
        assert found.getlist("Cache-Control") == [
            "public, max-age=3600" if path.startswith("/static/") else "no-store"
        ]
        assert len(found.getlist("Content-Security-Policy")) == 1
