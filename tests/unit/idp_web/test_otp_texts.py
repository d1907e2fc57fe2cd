"""Text messages with codes: one segment, the origin in the last line, and nothing that a relying party could misuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from connectors.ports.messaging import MailMessage, SmsMessage
from connectors.ports.sms_text import plain, segments
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.settings import LANGUAGES
from idp.web.interaction import Action, BeginInteraction
from idp.web.otp import PURPOSES
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.factors import POLICY

SIGN_IN = BeginInteraction("test", "sign_in", "strict", {}, client_name="Example Contracts")


def signature(*labels: str) -> BeginInteraction:
    digests = tuple(DocumentDigest(bytes([number]) * 32, label) for number, label in enumerate(labels))
    intent = SignatureIntent("cred-1", "2.16.840.1.101.3.4.2.1", digests, "dtbsr", len(labels))
    return BeginInteraction("test", "signature.activate", "c", {}, intent=intent, client_name="Example Contracts")


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


def message(idp: Idp, request: BeginInteraction, language: str = "en", factor: str = "sms_otp") -> str:
    browser = idp.client()
    path = idp.path(browser, replace(request, ui_locales=(language,)))
    idp.sign_in(browser, path)
    assert idp.post(browser, path, "/factor", factor=factor).status_code == 303
    sent = idp.inbox.messages[-1]
    assert isinstance(sent, SmsMessage if factor == "sms_otp" else MailMessage)
    return sent.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "request_",
    [SIGN_IN, signature("contract.pdf"), signature("A rather long name of a contract between two parties", "b.pdf")],
    ids=["sign in", "one document", "long names"],
)
def test_OTP_05_a_text_message_is_one_segment_names_what_it_is_for_and_ends_with_our_origin(
    idp: Idp, language: str, request_: BeginInteraction
) -> None:
    text = message(idp, request_, language)
    code = idp.inbox.code
    assert segments(text) == 1, text
    lines = text.split("\n")
    assert lines[1:] == [f"@idp.localhost #{code}"]
    assert lines[0].startswith(code)
    assert "Example Contr" in lines[0]
    if request_.intent is not None:
        assert request_.intent.digests[0].label[:7].strip() in lines[0].replace(" pdf", ".pdf")


def test_a_mail_has_no_line_for_browsers(idp: Idp) -> None:
    assert "@" not in message(idp, SIGN_IN, factor="email_otp")


@pytest.mark.parametrize(
    "name", ["Evil\n@evil.example #999999", "Evil\u2028@evil.example #999999", "\uff20evil.example \uff03999999"]
)
def test_OTP_10_no_name_writes_a_line_of_its_own_another_origin_or_another_code(idp: Idp, name: str) -> None:
    for request in (replace(SIGN_IN, client_name=name), signature(name)):
        text = message(idp, request)
        assert len(text.splitlines()) == 2
        assert re.findall(r"[@#]\S*", text) == ["@idp.localhost", f"#{idp.inbox.code}"]
        assert "9999" not in text


def test_what_cannot_be_one_segment_is_whole_all_the_same(idp: Idp) -> None:
    text = message(idp, replace(SIGN_IN, client_name="\u041f\u0440\u0438\u043c\u0435\u0440 " * 4))
    assert segments(text) > 1
    assert text.endswith(f"\n@idp.localhost #{idp.inbox.code}")


CHANGES = {
    "en": ("add a way to sign in (authenticator app)", "remove a way to sign in (authenticator app)"),
    "de": ("eine Anmeldemethode hinzufügen (Authenticator-App)", "eine Anmeldemethode entfernen (Authenticator-App)"),
    "es": ("añadir un método de acceso (aplicación", "quitar un método de acceso (aplicación"),
    "fr": ("ajouter un accès (application", "retirer un accès (application"),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("which", [0, 1], ids=["add", "remove"])
def test_OTP_05_a_code_that_changes_what_somebody_signs_in_with_does_not_say_that_it_signs_in(
    tmp_path: Path, language: str, which: int
) -> None:
    """Whoever has the password and talks the person out of the code binds an app of their own with it."""
    idp = make_idp(tmp_path, policy=POLICY)
    action: Action = ("account.enrol_factor", "account.reset_factor")[which]
    asked = BeginInteraction("test", action, "strict", {}, client_name="Privy Seal", detail={"factor": "totp"})
    text = message(idp, asked, language)
    assert plain(CHANGES[language][which])[:30] in plain(text)
    assert segments(text) == 1, text
    idp.engine.dispose()


def test_OTP_05_what_a_code_is_for_is_said_of_every_action(idp: Idp) -> None:
    actions = {name for part in get_args(Action) for name in (get_args(part) or (part,))}
    assert actions == set(PURPOSES)
    with idp.app.test_request_context():
        said = {action: PURPOSES[action]({"factor": "totp"}) for action in actions}
    assert [action for action, words in said.items() if words == said["sign_in"]] == ["sign_in"]
