"""From sign-in to verified values: one approval for many, slices, retries, explicit mode, elsewhere."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from clients.csc import (
    BusyError,
    ClientSecret,
    Elsewhere,
    Item,
    NotUsableError,
    Progress,
    ResponseForgedError,
    ServiceRefusedError,
    SignatureWrongError,
    Signer,
    UsageError,
    scheme_for,
    verify,
)
from tests.unit.clients.scripted import Scripted
from tests.unit.clients.world import World
from tests.unit.examples.certificates import Signer as Key

pytestmark = pytest.mark.loopback


def items(count: int) -> list[Item]:
    return [Item(hashlib.sha256(str(number).encode()).digest(), f"document {number}") for number in range(count)]


def signer(world: World, **options: Any) -> Signer:
    return Signer.connect(
        world.server.url,
        ClientSecret("c", "s"),
        world.approve,
        redirect_uri="http://127.0.0.1:8407/callback",
        pause=lambda _: None,
        **options,
    )


def test_a_hundred_digests_take_one_approval_and_come_back_in_order(server: Scripted, key: Key) -> None:
    world = World(server, key)
    seen: list[Progress] = []
    made = signer(world, progress=seen.append)
    credential = made.choose()
    wanted = items(100)
    values = made.sign(credential, wanted)
    scheme = scheme_for(credential.certificates[0], credential.algorithms)
    for item, value in zip(wanted, values, strict=True):
        verify(credential.certificates[0], scheme, item.digest, value)
    (documents,) = world.approved()
    assert [each["label"] for each in documents] == [item.label for item in wanted]
    assert [visit.scope for visit in world.visits] == ["service", "credential"]
    assert [each.done for each in seen if each.stage == "sign"] == [25, 50, 75, 100]
    assert server.count("/csc/v2/signatures/signHash") == 4


def test_more_than_a_credential_allows_takes_more_approvals(server: Scripted, key: Key) -> None:
    world = World(server, key, multisign=10)
    made = signer(world)
    assert len(made.sign(made.choose(), items(25))) == 25
    assert [len(documents) for documents in world.approved()] == [10, 10, 5]


def test_what_was_signed_before_a_failure_is_handed_over(server: Scripted, key: Key) -> None:
    world = World(server, key)
    made = signer(world)
    credential = made.choose()
    values = made.signing(credential, items(60))
    came = [next(values)[0] for _ in range(25)]
    world.refusals = [(400, {"error": "invalid_request", "error_description": "gone"}, {})]
    with pytest.raises(ServiceRefusedError, match="gone"):
        next(values)
    assert came == list(range(25))


def test_a_busy_service_is_asked_again_with_the_identical_request(server: Scripted, key: Key) -> None:
    world = World(server, key)
    pauses: list[float] = []
    made = signer(world)
    made._pause = pauses.append
    busy = (503, {"error": "temporarily_unavailable"}, {"Retry-After": "5"})
    world.refusals = [busy, busy]
    assert len(made.sign(made.choose(), items(1))) == 1
    assert [int(pause) for pause in pauses] == [5, 5]
    bodies = {each.body for each in server.asked if each.path == "/csc/v2/signatures/signHash"}
    assert len(bodies) == 1
    world.refusals = [busy] * 4
    with pytest.raises(BusyError):
        made.sign(made.choose(), items(1))


def test_a_value_that_is_no_signature_is_not_handed_over(server: Scripted, key: Key) -> None:
    world = World(server, key)
    world.sign_with = lambda _: key.sign_digest(bytes(32))
    made = signer(world)
    with pytest.raises(SignatureWrongError):
        made.sign(made.choose(), items(1))


def test_an_approval_for_another_credential_is_refused(server: Scripted, key: Key) -> None:
    world = World(server, key)
    made = signer(world)
    credential = made.choose()
    server.answers["/as/token"] = [(200, {"access_token": "t", "token_type": "Bearer", "credentialID": "another"}, {})]
    with pytest.raises(ResponseForgedError):
        made.sign(credential, items(1))


def test_a_step_up_signs_the_person_in_again_with_what_is_wanted(server: Scripted, key: Key) -> None:
    world = World(server, key)
    challenge = 'Bearer error="insufficient_user_authentication", acr_values="high"'
    server.answers["/csc/v2/credentials/list"].insert(
        0, (401, {"error": "insufficient_user_authentication"}, {"WWW-Authenticate": challenge})
    )
    assert signer(world).choose().id == "c1"
    forms = [each.form for each in server.asked if each.path == "/as/par"]
    assert [form.get("acr_values") for form in forms] == [None, "high"]


def test_a_credential_that_is_not_there_or_cannot_sign_is_told(server: Scripted, key: Key) -> None:
    world = World(server, key)
    made = signer(world)
    with pytest.raises(NotUsableError, match="no such"):
        made.choose("another")
    answer = json.loads(json.dumps(server.answers["/csc/v2/credentials/info"][0][1]))
    answer["key"]["status"] = "disabled"
    server.answers["/csc/v2/credentials/info"] = [(200, answer, {})]
    with pytest.raises(NotUsableError, match="can sign now"):
        made.choose()


def test_a_digest_of_another_length_is_refused_before_anybody_is_asked(server: Scripted, key: Key) -> None:
    world = World(server, key)
    made = signer(world)
    credential = made.choose()
    with pytest.raises(UsageError):
        made.sign(credential, [Item(bytes(20), "short")])
    assert world.approved() == []


def test_a_person_elsewhere_signs_in_and_approves_there(server: Scripted, key: Key) -> None:
    world = World(server, key)
    metadata = server.answers["/as/.well-known/oauth-authorization-server"][0][1]
    metadata["backchannel_authentication_endpoint"] = f"{server.url}/as/bc"
    server.on("/as/bc", {"auth_req_id": "r", "expires_in": 300, "interval": 5})
    server.answers["/as/token"].insert(0, (400, {"error": "authorization_pending"}, {}))
    told: list[tuple[str, str]] = []
    made = signer(world, elsewhere=Elsewhere("alice", lambda scope, code: told.append((scope, code))))
    assert len(made.sign(made.choose(), items(3))) == 3
    assert world.visits == []
    forms = [each.form for each in server.asked if each.path == "/as/bc"]
    assert [form["scope"] for form in forms] == [scope for scope, _ in told] == ["service", "credential"]
    assert [form["binding_message"] for form in forms] == [f"Code {code}" for _, code in told]
    assert len(json.loads(forms[1]["authorization_details"])[0]["documentDigests"]) == 3


EXPLICIT: dict[str, Any] = {
    "auth": {
        "mode": "explicit",
        "expression": "PIN AND OTP",
        "objects": [
            {"type": "Password", "id": "PIN", "label": "PIN"},
            {"type": "PasswordOOB", "id": "OTP", "label": "Code"},
        ],
    },
    "SCAL": "1",
}


def test_explicit_mode_asks_for_the_answers_and_sends_codes_first(server: Scripted, key: Key) -> None:
    world = World(server, key, **EXPLICIT)
    server.on("/csc/v2/credentials/getChallenge", None, 204)
    server.on("/csc/v2/credentials/authorize", {"SAD": "sad", "expiresIn": 60})

    def answer(objects: Any, challenge: Any) -> dict[str, str]:
        assert [challenge(each) for each in objects if each.sent] == [None]
        return {each.id: f"for {each.id}" for each in objects}

    made = signer(world, answer=answer)
    assert len(made.sign(made.choose(), items(2))) == 2
    assert [visit.scope for visit in world.visits] == ["service"]
    assert server.last("/csc/v2/credentials/getChallenge").json["authObjectID"] == "OTP"
    asked = server.last("/csc/v2/signatures/signHash")
    assert (asked.json["SAD"], asked.headers["Authorization"]) == ("sad", "Bearer token")


def test_explicit_mode_without_answers_waits_for_an_approval_elsewhere(server: Scripted, key: Key) -> None:
    world = World(server, key, **EXPLICIT)
    server.on("/csc/v2/credentials/authorize", {"handle": "h"}, 202)
    server.on("/csc/v2/credentials/authorizeCheck", {"handle": "h"}, 202)
    server.on("/csc/v2/credentials/authorizeCheck", {"SAD": "sad"})
    made = signer(world)
    assert len(made.sign(made.choose(), items(1))) == 1
    assert server.count("/csc/v2/credentials/authorizeCheck") == 2
