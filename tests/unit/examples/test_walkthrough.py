"""The whole walk against the stub: steps, policy reasons, files, exit codes; and nothing secret in what is printed."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from examples import csc_pyhanko, oauth_client, person, walkthrough
from examples.http_local import local_session
from examples.oauth_client import Client
from examples.pdf_signing import make_sample_pdf, verify
from tests.unit.examples.certificates import make_signer, pem
from tests.unit.examples.stub import CLIENT_SECRET, EMAIL, ORDER, PASSWORD, Stub

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize(("way", "method"), [("whole", "signatures/signDoc"), ("kept", "signatures/signHash")])
def test_a_pdf_is_signed_from_outside_and_every_step_is_told(
    stub: Stub, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str, method: str
) -> None:
    assert walkthrough.main([*arguments, "--way", way]) == 0
    printed = capsys.readouterr().out
    assert method in printed
    assert any(seen.endswith(method) for seen in stub.seen)
    signed = tmp_path / "out" / "contract-signed.pdf"
    assert str(signed) in printed
    assert verify(signed.read_bytes(), [stub.signer.root]).bottom_line
    assert (
        "policy, before: A signature needs a second factor (rule sign-needs-two, policies/default.yaml:12)" in printed
    )
    assert "pages: choose, otp, consent" in printed
    (signed_in,) = re.findall(r" \d\. Signed in\n((?: {6}.*\n)+)", printed)
    assert "policy, before: Signing in needs a password (rule sign-in, policies/default.yaml:7)" in signed_in
    assert "bottom line  VALID" in printed
    assert printed.startswith(" 1. Discovery")


def test_a_challenge_of_the_signing_service_is_followed_and_told(
    stub: Stub, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stub.screws.demanded = ("urn:example:high urn:example:higher", "300")
    assert walkthrough.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "The signing service asks for more" in printed
    assert "max_age 300 s" in printed
    stub.screws.demand_again = True
    assert walkthrough.main(arguments) == 5
    assert "step_up_required" in capsys.readouterr().err


def test_no_secret_is_printed(stub: Stub, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert walkthrough.main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    code = stub.messages[0]["body"].split("code for 2 documents is ")[1][:6]
    for secret in (CLIENT_SECRET, PASSWORD, code, *stub.access_tokens, stub.last_push["state"]):
        assert secret not in printed


def test_json_is_one_object_with_verdict_and_policy(
    stub: Stub, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert walkthrough.main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is True
    assert result["verdict"]["signer"] == "Alice Example"
    reasons = [reason for step in result["steps"] for reason in step["policy"]]
    assert reasons[0]["file"] == "policies/default.yaml"
    assert stub.signed_hashes


def test_the_code_can_come_by_email(stub: Stub, arguments: list[str]) -> None:
    assert walkthrough.main([*arguments, "--channel", "email", "--email", EMAIL]) == 0
    assert stub.messages[0]["channel"] == "email"


def test_an_old_code_in_the_inbox_is_not_taken_for_the_new_one(stub: Stub, arguments: list[str]) -> None:
    stub.send_code("+15550100", "sms")
    assert walkthrough.main(arguments) == 0


def test_a_pdf_of_ones_own_is_signed_under_its_name(stub: Stub, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "lease.pdf").write_bytes(make_sample_pdf())
    assert walkthrough.main([*arguments, "--pdf", str(tmp_path / "lease.pdf")]) == 0
    assert (tmp_path / "out" / "lease-signed.pdf").exists()
    assert json.loads(stub.last_push["authorization_details"])[0]["documentDigests"][0]["label"] == "lease.pdf"


def test_a_pdf_of_a_lower_level_than_was_ordered_is_not_called_valid(
    stub: Stub, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert walkthrough.main([*arguments[:-2]]) == 8
    assert stub.asked_level == "Ades-B-LT"
    assert "The signature is of level B-B, and not B-LT." in capsys.readouterr().out


def test_a_value_that_is_not_of_the_prepared_document_is_refused_where_it_was_kept(
    stub: Stub, arguments: list[str], tmp_path: Path
) -> None:
    stub.screws.wrong_value = True
    assert walkthrough.main([*arguments, "--way", "kept"]) == 8
    assert not list((tmp_path / "out").glob("*.pdf"))


@pytest.mark.parametrize(
    ("screw", "value", "status"),
    [
        ("refuse", ("access_denied", "The policy says no"), 4),
        ("push_error", "invalid_request", 4),
        ("token_error", "invalid_grant", 4),
        ("response_iss", "http://evil.localhost", 5),
        ("nonce", "another", 5),
        ("redirect_loop", True, 5),
        ("refuse_signing", "Invalid parameter signAlgo", 5),
        ("credentials", (), 5),
        ("wrong_value", True, 8),
    ],
)
def test_each_failure_has_its_exit_code(
    stub: Stub, arguments: list[str], tmp_path: Path, screw: str, value: object, status: int
) -> None:
    setattr(stub.screws, screw, value)
    assert walkthrough.main(arguments) == status
    assert not list((tmp_path / "out").glob("*.pdf"))


def test_a_wrong_password_ends_the_walk_with_the_pages_words(
    stub: Stub, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("wrong")
    assert walkthrough.main(arguments) == 3
    assert "That did not match." in capsys.readouterr().err
    assert not stub.signed_hashes


def test_a_code_that_never_arrives_ends_the_walk(
    stub: Stub, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.screws.silent_inbox = True
    monkeypatch.setattr(person, "INBOX_SECONDS", 0.3)
    assert walkthrough.main(arguments) == 6


def test_a_root_that_did_not_issue_the_certificate_gives_no_valid_verdict(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(pem(make_signer().root))
    assert walkthrough.main([*arguments, "--root", str(other)]) == 8
    assert "NOT VALID" in capsys.readouterr().out


def test_a_provider_that_is_down_is_exit_code_7(arguments: list[str]) -> None:
    assert walkthrough.main([*arguments, "--issuer", "http://idp.localhost:1"]) == 7


def test_a_file_that_is_no_pdf_is_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "note.pdf").write_text("hello")
    assert walkthrough.main([*arguments, "--pdf", str(tmp_path / "note.pdf")]) == 2


def test_the_person_orders_a_credential_and_the_order_is_kept_from_others(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "order.jws"
    assert walkthrough.main([*arguments, "--create-credential-order", str(path)]) == 0
    assert path.read_bytes() == ORDER
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_person_who_declines_signs_nothing(stub: Stub, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    walk = person.Person.walk
    monkeypatch.setattr(person.Person, "walk", lambda self, url, **expected: walk(self, url, approve=False, **expected))
    assert walkthrough.main(arguments) == 4
    assert not stub.signed_hashes


def test_pyhankos_own_client_signs_at_scal2_through_our_authorization(
    stub: Stub, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert csc_pyhanko.main([*arguments[:-2], "--csc-v1", stub.csc_v1]) == 0
    signed = (tmp_path / "out" / "contract-signed.pdf").read_bytes()
    assert verify(signed, [stub.signer.root]).bottom_line
    assert "VALID" in capsys.readouterr().out
    pushed = json.loads(stub.last_push["authorization_details"])[0]["documentDigests"]
    assert [each["hash"] for each in pushed] == stub.signed_hashes
    assert len(stub.signed_hashes) == 1  # one digest, one approval: no dry run reached the person


def test_pyhankos_client_reports_a_refusal_as_ours(stub: Stub, arguments: list[str]) -> None:
    stub.screws.refuse_signing = "SAD expired"
    assert csc_pyhanko.main([*arguments[:-2], "--csc-v1", stub.csc_v1]) == 5


def test_a_base_url_that_is_not_v1_is_refused(arguments: list[str]) -> None:
    assert csc_pyhanko.main([*arguments[:-2], "--csc-v1", "http://sign.localhost/csc/v2"]) == 2


def test_the_browser_keeps_host_names_apart_and_sends_them(stub: Stub, client: Client) -> None:
    browser = person.Browser(client.redirect_uri)
    arrival = browser.open(f"{stub.issuer}/.well-known/openid-configuration")
    assert isinstance(arrival, person.Download)
    local_session().post(f"{stub.csc}/info", json={})
    assert "GET idp.localhost /.well-known/openid-configuration" in stub.seen
    assert "POST sign.localhost /csc/v2/info" in stub.seen


def test_a_page_that_shows_another_digest_is_answered_with_a_refusal(
    stub: Stub, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stub.screws.shown_digest = "00" * 32
    assert walkthrough.main(arguments) == 5
    assert "another digest" in capsys.readouterr().err
    assert not stub.sads
    assert not stub.signed_hashes


def test_a_person_who_is_signed_in_already_only_confirms(stub: Stub, client: Client) -> None:
    identity = person.Identity("alice", PASSWORD, "+15550100", EMAIL)
    who = person.Person(identity, person.Browser(client.redirect_uri), person.Inbox(stub.inbox))
    metadata = oauth_client.discover(local_session(), stub.issuer)
    for expected in (["sign-in"], ["continue"]):
        who.walk(oauth_client.begin_sign_in(metadata, client)[1])
        assert who.pages == expected
