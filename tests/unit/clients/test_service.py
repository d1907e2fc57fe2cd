"""The client's calls, in each version of the API, and what it makes of answers."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from clients.csc import (
    AnswerTooLargeError,
    AuthObject,
    Bearer,
    BusyError,
    ClientError,
    Credential,
    Document,
    Handle,
    NotOfferedError,
    NotUsableError,
    ProtocolError,
    Sad,
    ServiceRefusedError,
    SignatureWrongError,
    StepUpRequiredError,
    TimedOutError,
    Timeouts,
    TokenRefusedError,
    Transport,
    UnreachableError,
    UsageError,
    discover,
    document_details,
    levels,
    scheme_for,
    verify,
)
from clients.csc.credential import parse_credential
from tests.unit.clients.conftest import SERVICE_TOKEN, credential_answer, found, info, never, service
from tests.unit.clients.scripted import Scripted
from tests.unit.examples.certificates import Signer

pytestmark = pytest.mark.loopback
DIGEST = hashlib.sha256(b"a document").digest()
DIGEST_BASE64 = base64.b64encode(DIGEST).decode()


def credential(key: Signer, /, **changes: Any) -> Credential:
    return parse_credential("c1", credential_answer(key, **changes))


@pytest.mark.parametrize(
    ("specs", "path", "hashes", "details"),
    [
        ("1.0.4.0", "v1", "hash", "credential"),
        ("2.0.0.2", "v2", "hashes", "credential"),
        ("2.2.0.0", "v2", "hashes", "https://cloudsignatureconsortium.org/2025/credential"),
    ],
)
def test_a_version_is_known_by_specs(
    server: Scripted, transport: Transport, specs: str, path: str, hashes: str, details: str
) -> None:
    described = found(server, transport, specs)
    assert (described.base, described.names.hashes) == (f"{server.url}/csc/{path}", hashes)
    assert described.names.details == details
    assert described.has("signatures/signHash")
    assert not described.has("signatures/timestamp")


def test_a_host_alone_is_asked_for_version_2_and_then_1(server: Scripted, transport: Transport) -> None:
    server.on("/csc/v1/info", info("1.0.4.0"))
    assert discover(transport, server.url).base == f"{server.url}/csc/v1"
    server.on("/csc/v2/info", info())
    assert discover(transport, f"{server.url}/").base == f"{server.url}/csc/v2"


def test_what_is_no_service_is_told(server: Scripted, transport: Transport) -> None:
    with pytest.raises(ProtocolError, match="no signing service"):
        discover(transport, server.url)
    server.on("/csc/v2/info", info("3.0.0.0"))
    with pytest.raises(ProtocolError, match="version of the API"):
        discover(transport, f"{server.url}/csc/v2")


@pytest.mark.parametrize(
    "address",
    ["http://sign.example/csc/v2", "ftp://127.0.0.1/csc/v2", "https://u:p@sign.example/csc/v2", "sign.example", "https://[",
     "https://sign.example/csc/v2#x"],
)  # fmt: skip
def test_tokens_go_over_tls_only_except_on_this_machine(transport: Transport, address: str) -> None:
    with pytest.raises(UsageError):
        discover(transport, address)


def test_version_2_signs_with_the_sad_as_token(server: Scripted, transport: Transport, key: Signer) -> None:
    made = service(server, transport)
    server.on("/csc/v2/signatures/signHash", {"signatures": [base64.b64encode(key.sign_digest(DIGEST)).decode()]})
    mine = credential(key)
    scheme = scheme_for(mine.certificates[0], mine.algorithms)
    (value,) = made.sign_hash(Bearer(SERVICE_TOKEN), Sad("the-sad", is_token=True), mine, [DIGEST], scheme)
    verify(mine.certificates[0], scheme, DIGEST, value)
    asked = server.last("/csc/v2/signatures/signHash")
    assert asked.headers["Authorization"] == "Bearer the-sad"
    assert asked.json == {
        "credentialID": "c1",
        "hashes": [DIGEST_BASE64],
        "hashAlgorithmOID": "2.16.840.1.101.3.4.2.1",
        "signAlgo": "1.2.840.10045.4.3.2",
    }
    with pytest.raises(SignatureWrongError):
        verify(mine.certificates[0], scheme, hashlib.sha256(b"another").digest(), value)


def test_version_1_signs_with_its_own_names_beside_a_service_token(
    server: Scripted, transport: Transport, key: Signer, bearer: Bearer
) -> None:
    made = service(server, transport, "1.0.4.0")
    server.on("/csc/v1/signatures/signHash", {"signatures": [base64.b64encode(b"value").decode()]})
    mine = credential(key)
    scheme = scheme_for(mine.certificates[0], mine.algorithms)
    assert made.sign_hash(bearer, Sad("the-sad", is_token=True), mine, [DIGEST], scheme) == [b"value"]
    asked = server.last("/csc/v1/signatures/signHash")
    assert asked.headers["Authorization"] == f"Bearer {SERVICE_TOKEN}"
    assert (asked.json["SAD"], asked.json["hash"]) == ("the-sad", [DIGEST_BASE64])
    assert asked.json["hashAlgo"] == "2.16.840.1.101.3.4.2.1"


def test_version_1_is_listed_page_by_page(server: Scripted, transport: Transport, bearer: Bearer) -> None:
    made = service(server, transport, "1.0.4.0")
    server.on("/csc/v1/credentials/list", {"credentialIDs": ["a", "b"], "nextPageToken": "p2"})
    server.on("/csc/v1/credentials/list", {"credentialIDs": ["c"]})
    assert made.list_credentials(bearer) == ["a", "b", "c"]
    assert server.last("/csc/v1/credentials/list").json == {"pageToken": "p2"}


def test_explicit_authorisation_answers_the_objects_of_version_2(
    server: Scripted, transport: Transport, key: Signer, bearer: Bearer
) -> None:
    made = service(server, transport)
    objects = [
        {"type": "Password", "id": "PW", "format": "A", "label": "Password"},
        {"type": "PasswordOOB", "id": "SMS", "format": "N", "label": "Text message", "description": "six digits"},
    ]
    mine = credential(key, auth={"mode": "explicit", "expression": "PW AND SMS", "objects": objects}, SCAL="1")
    assert (mine.mode, mine.expression) == ("explicit", "PW AND SMS")
    assert mine.objects[0] == AuthObject("PW", "Password", "Password", "", digits_only=False, generator=None)
    assert [each.sent for each in mine.objects] == [False, True]
    server.on("/csc/v2/credentials/getChallenge", None, 204)
    assert made.send_challenge(bearer, mine, "SMS") is None
    server.on("/csc/v2/credentials/authorize", {"SAD": "s", "expiresIn": 60})
    answers = {"PW": "secret", "SMS": "123456"}
    sad = made.authorize(bearer, mine, [DIGEST], "sha256", answers=answers)
    assert sad == Sad("s", is_token=False, expires_in=60)
    asked = server.last("/csc/v2/credentials/authorize").json
    assert asked["authData"] == [{"id": "PW", "value": "secret"}, {"id": "SMS", "value": "123456"}]
    assert (asked["numSignatures"], asked["hashes"]) == (1, [DIGEST_BASE64])
    # a SAD that is no token goes with a service token in version 2 too
    server.on("/csc/v2/signatures/signHash", {"signatures": ["dg=="]})
    made.sign_hash(bearer, sad, mine, [DIGEST], scheme_for(mine.certificates[0], ()))
    assert server.last("/csc/v2/signatures/signHash").json["SAD"] == "s"
    with pytest.raises(UsageError, match="service token"):
        made.sign_hash(None, sad, mine, [DIGEST], scheme_for(mine.certificates[0], ()))


def test_explicit_authorisation_in_version_1_has_pin_and_otp(
    server: Scripted, transport: Transport, key: Signer, bearer: Bearer
) -> None:
    made = service(server, transport, "1.0.4.0")
    answer = credential_answer(
        key,
        authMode="explicit",
        PIN={"presence": "true", "format": "N", "label": "PIN"},
        OTP={"presence": "true", "type": "online", "label": "Code"},
    )
    del answer["auth"]
    mine = parse_credential("c1", answer)
    assert [(each.id, each.sent) for each in mine.objects] == [("PIN", False), ("OTP", True)]
    server.on("/csc/v1/credentials/sendOTP", None, 204)
    made.send_challenge(bearer, mine, "OTP")
    server.on("/csc/v1/credentials/authorize", {"SAD": "s"})
    made.authorize(bearer, mine, [DIGEST], "sha256", answers={"PIN": "1", "OTP": "2"})
    asked = server.last("/csc/v1/credentials/authorize").json
    assert (asked["PIN"], asked["OTP"], asked["hash"]) == ("1", "2", [DIGEST_BASE64])
    assert "hashAlgorithmOID" not in asked


def test_an_approval_elsewhere_is_waited_for(
    server: Scripted, transport: Transport, key: Signer, bearer: Bearer
) -> None:
    made = service(server, transport)
    server.on("/csc/v2/credentials/authorize", {"handle": "h1"}, 202)
    handle = made.authorize(bearer, credential(key), [DIGEST], "sha256")
    assert handle == Handle("h1")
    assert isinstance(handle, Handle)
    server.on("/csc/v2/credentials/authorizeCheck", {"handle": "h1"}, 202)
    with pytest.raises(TimedOutError):
        made.wait_for_approval(bearer, handle, seconds=0, pause=never)
    server.on("/csc/v2/credentials/authorizeCheck", {"handle": "h2"}, 202)
    server.on("/csc/v2/credentials/authorizeCheck", {"SAD": "s"})
    pauses: list[float] = []
    assert made.wait_for_approval(bearer, handle, pause=pauses.append) == Sad("s", is_token=False)
    assert len(pauses) == 2
    assert server.last("/csc/v2/credentials/authorizeCheck").json == {"handle": "h2"}


def test_signatures_may_come_later(server: Scripted, transport: Transport, key: Signer, bearer: Bearer) -> None:
    made = service(server, transport)
    mine = credential(key)
    scheme = scheme_for(mine.certificates[0], ())
    server.on("/csc/v2/signatures/signHash", {"responseID": "r1"})
    sad = Sad("s", is_token=False)
    assert made.begin_sign_hash(bearer, sad, mine, [DIGEST], scheme, validity_seconds=60) == "r1"
    asked = server.last("/csc/v2/signatures/signHash").json
    assert (asked["operationMode"], asked["validity_period"]) == ("A", 60_000)
    server.on("/csc/v2/signatures/signPolling", {"error": "accepted_request"}, 202)
    server.on("/csc/v2/signatures/signPolling", {"signatures": ["dg=="]})
    assert made.wait_for_values(bearer, "r1", 1, pause=lambda _: None) == [b"v"]
    assert server.last("/csc/v2/signatures/signPolling").json == {"requestID": "r1"}
    with pytest.raises(ProtocolError, match="one value for each"):
        made.poll(bearer, "r1", 2)


def test_a_service_without_asynchronous_mode_is_not_asked(
    server: Scripted, transport: Transport, key: Signer, bearer: Bearer
) -> None:
    described = found(server, transport, asynchronousOperationMode=False)
    from clients.csc import Service

    mine = credential(key)
    with pytest.raises(NotUsableError):
        Service(transport, described).begin_sign_hash(
            bearer, Sad("s", is_token=True), mine, [DIGEST], scheme_for(mine.certificates[0], ())
        )


def test_a_timestamp_is_asked_for_with_a_nonce(server: Scripted, transport: Transport, bearer: Bearer) -> None:
    made = service(server, transport)
    server.on("/csc/v2/signatures/timestamp", {"timestamp": base64.b64encode(b"token").decode()})
    assert made.timestamp(bearer, DIGEST, "sha256", nonce=255) == b"token"
    assert server.last("/csc/v2/signatures/timestamp").json == {
        "hash": DIGEST_BASE64,
        "hashAlgo": "2.16.840.1.101.3.4.2.1",
        "nonce": "ff",
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ServiceRefusedError),
        (401, TokenRefusedError),
        (403, ServiceRefusedError),
        (429, BusyError),
        (501, NotOfferedError),
        (503, BusyError),
    ],
)
def test_a_refusal_has_the_services_own_words(
    server: Scripted, transport: Transport, bearer: Bearer, status: int, kind: type[ServiceRefusedError]
) -> None:
    made = service(server, transport)
    server.on("/csc/v2/credentials/list", {"error": "e", "error_description": "some words"}, status, Retry_After="7")
    with pytest.raises(ServiceRefusedError) as refused:
        made.list_credentials(bearer)
    assert type(refused.value) is kind
    assert (refused.value.status, refused.value.error, refused.value.description) == (status, "e", "some words")
    assert refused.value.retry_after == 7
    assert SERVICE_TOKEN not in str(refused.value)


def test_a_step_up_says_what_is_wanted(server: Scripted, transport: Transport, bearer: Bearer) -> None:
    made = service(server, transport)
    challenge = 'Bearer error="insufficient_user_authentication", acr_values="high higher", max_age="60"'
    server.on(
        "/csc/v2/credentials/list", {"error": "insufficient_user_authentication"}, 401, WWW_Authenticate=challenge
    )
    with pytest.raises(StepUpRequiredError) as refused:
        made.list_credentials(bearer)
    assert (refused.value.acr_values, refused.value.max_age) == (("high", "higher"), 60)


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        (b"<html>", 200, ProtocolError),
        (b"[" * 100_000, 200, ProtocolError),
        ([], 200, ProtocolError),
        ({"credentialIDs": "a"}, 200, ProtocolError),
        (b"<html>", 502, ServiceRefusedError),
        ({}, 302, ProtocolError),
    ],
)
def test_an_answer_that_is_none_is_told(
    server: Scripted, transport: Transport, bearer: Bearer, answer: Any, status: int, kind: type[ClientError]
) -> None:
    made = service(server, transport)
    server.on("/csc/v2/credentials/list", answer, status, Location=f"{server.url}/elsewhere")
    with pytest.raises(kind):
        made.list_credentials(bearer)
    assert server.count("/elsewhere") == 0


def test_an_answer_is_bounded_in_size_and_time(server: Scripted) -> None:
    server.on("/csc/v2/info", b" " * 200_000)
    with pytest.raises(AnswerTooLargeError):
        discover(Transport(max_answer=100_000), f"{server.url}/csc/v2")
    with pytest.raises(UnreachableError):
        discover(Transport(timeouts=Timeouts(whole=0.0)), f"{server.url}/csc/v2")


def test_a_service_that_is_not_there_is_unreachable(server: Scripted) -> None:
    with pytest.raises(UnreachableError):
        discover(Transport(timeouts=Timeouts(connect=1)), "http://127.0.0.1:9/csc/v2")


@pytest.mark.parametrize(
    "change",
    [{"key": None}, {"cert": None}, {"multisign": None}, {"multisign": 0}, {"multisign": True},
     {"cert": {"certificates": ["bm8="]}}],
)  # fmt: skip
def test_a_credential_that_is_not_described_is_refused(key: Signer, change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        credential(key, **change)


def test_a_credential_says_whether_it_can_sign(key: Signer) -> None:
    mine = credential(key)
    assert mine.usable
    assert (mine.signer_name, mine.issuer_name) == ("Alice Example", "Development root")
    assert mine.valid_to is not None
    assert mine.valid_to.year == 2030
    assert not credential(key, key={"status": "disabled"}).usable
    assert not credential(key, cert={"status": "expired"}).usable


def signable(content: bytes, **more: Any) -> Document:
    return Document(content, "lease.pdf", level="Ades-B-LT", **more)


def test_whole_documents_are_sent_with_their_wishes_and_come_back_in_order(
    server: Scripted, transport: Transport, key: Signer
) -> None:
    signing = service(server, transport)
    signed = [base64.b64encode(each).decode() for each in (b"one signed", b"two signed")]
    server.on("/csc/v2/signatures/signDoc", {"DocumentWithSignature": signed})
    wanted = {"attribute_name": "Reason", "attribute_value": "SQ=="}
    documents = [signable(b"one", envelope="Revision", properties=(wanted,)), signable(b"two", envelope="Revision")]
    found = credential(key)
    scheme = scheme_for(key.certificate, found.algorithms)
    assert signing.sign_documents(None, Sad("sad", True), found, documents, scheme) == [b"one signed", b"two signed"]
    asked = server.last("/csc/v2/signatures/signDoc")
    assert asked.headers["Authorization"] == "Bearer sad"
    assert asked.json["documents"][0] == {
        "document": base64.b64encode(b"one").decode(),
        "signature_format": "P",
        "conformance_level": "Ades-B-LT",
        "signAlgo": scheme.sign_algo,
        "hashAlgorithmOID": scheme.hash_oid,
        "signed_envelope_property": "Revision",
        "signed_props": [wanted],
    }


@pytest.mark.parametrize("answer", [{}, {"DocumentWithSignature": []}, {"DocumentWithSignature": ["!", "!"]}])
def test_an_answer_without_a_signature_for_each_document_is_not_taken(
    server: Scripted, transport: Transport, key: Signer, answer: dict[str, Any]
) -> None:
    signing, found = service(server, transport), credential(key)
    server.on("/csc/v2/signatures/signDoc", answer)
    scheme = scheme_for(key.certificate, found.algorithms)
    with pytest.raises(ProtocolError):
        signing.sign_documents(None, Sad("sad", True), found, [signable(b"one"), signable(b"two")], scheme)


def test_documents_of_two_formats_and_no_documents_are_not_sent(
    server: Scripted, transport: Transport, key: Signer
) -> None:
    signing, found = service(server, transport), credential(key)
    scheme = scheme_for(key.certificate, found.algorithms)
    for documents in ([], [signable(b"one"), signable(b"two", signature_format="C")]):
        with pytest.raises(UsageError):
            signing.sign_documents(None, Sad("sad", True), found, documents, scheme)
    with pytest.raises(UsageError):
        document_details("c1", [], "sha256", "https://sign.example.org/csc/v2")


@pytest.mark.parametrize(
    ("told", "known"),
    [(["Ades-B-LT", "ADES-B", "x", 7], ("Ades-B-B", "Ades-B-LT")), ([], ()), (None, ()), ("Ades-B-B", ())],
)
def test_levels_are_those_that_are_known_the_plainest_first(
    server: Scripted, transport: Transport, told: object, known: tuple[str, ...]
) -> None:
    assert levels(found(server, transport, conformance_levels=told)) == known
