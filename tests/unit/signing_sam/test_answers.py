"""Idempotent retries: the identical request has the same answer while that is unreleased; nothing is signed twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from contract import sad as sads
from contract.errors import SadInvalid
from foundation.jose import encode_base64url
from signing.link.documents import Asker, SignDocumentsRequest
from signing.link.messages import SignRequest
from signing.link.server import Handed
from signing.sam import errors, events
from signing.sam.credential import Credential
from signing.sam_app.answers import Answers
from signing.sam_app.handlers import public_handlers
from signing.sam_app.parts import Sam
from signing.sam_app.process import SamProcess
from tests.fakes.sam import CLIENT, ECDSA_SHA256, World, digest
from tests.unit.signing_sam.test_activate import chain

Body = dict[str, Any]


def body_of(world: World, credential: Credential, *digests: bytes, **changes: Any) -> Body:
    sad = world.sad(credential, digests, **changes)
    return SignRequest(sads.encode(sad, world.idp_key), CLIENT, credential.id, None, digests, ECDSA_SHA256).to_json()


@pytest.fixture
def ask(sam: Sam) -> Callable[[Mapping[str, Any]], Handed]:
    def ask(body: Mapping[str, Any]) -> Handed:
        answer = public_handlers(sam)["sign"](body)
        assert isinstance(answer, Handed)
        return answer

    return ask


Ask = Callable[[Mapping[str, Any]], Handed]


def test_SAD_01_what_did_not_arrive_is_given_again_and_once_it_has_the_sad_is_used(
    world: World, credential: Credential, ask: Ask
) -> None:
    body, before = body_of(world, credential, digest(1), digest(2)), world.fake.signatures
    first = ask(body)
    first.become(False)
    second = ask(dict(reversed(body.items())))
    second.become(False)
    third = ask(body)
    assert first == second == third
    third.become(True)
    with pytest.raises(errors.SadSpent):
        ask(body)
    assert world.fake.signatures == before + 2
    repeated = chain(world, events.SIGNATURE_REPEATED)
    assert len(repeated) == 2
    assert (repeated[0]["client_id"], repeated[0]["count"]) == (CLIENT, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"digests": ["other"]},
        {"client_id": None},
        {"hash_alg": "2.16.840.1.101.3.4.2.1"},
        {"certificate": "A" * 43},
        {"sad": "other"},
    ],
)
def test_SAD_01_a_request_that_differs_is_not_the_same(
    world: World, credential: Credential, ask: Ask, change: Body
) -> None:
    body, before = body_of(world, credential, digest(1), digest(2)), world.fake.signatures
    ask(body).become(False)
    if "digests" in change:
        change = {"digests": list(reversed(body["digests"]))}
    if "sad" in change:
        # Of the same approval.
        change = {"sad": body_of(world, credential, digest(1), digest(2), txn="transaction-1", jti="another")["sad"]}
        body = body_of(world, credential, digest(1), digest(2), txn="transaction-1")
        ask(body).become(False)
        before += 2
    with pytest.raises(errors.SadSpent):
        ask({**body, **change})
    assert world.fake.signatures == before + 2


def test_SAD_06_what_is_kept_ends_with_its_sad(world: World, credential: Credential, sam: Sam, ask: Ask) -> None:
    body = body_of(world, credential, digest(1))
    ask(body).become(False)
    assert len(sam.answers) == 1
    world.clock.advance(3600)
    with pytest.raises(errors.SadExpired):
        ask(body)
    assert len(sam.answers) == 0


def test_SAD_06_what_is_kept_ends_with_its_sad_though_nobody_asks(
    world: World, credential: Credential, sam: Sam, ask: Ask
) -> None:
    ask(body_of(world, credential, digest(1))).become(False)
    process = SamProcess(sam)
    process._reconcile()
    assert len(sam.answers) == 1
    world.clock.advance(3600)
    process._reconcile()
    assert len(sam.answers) == 0


def test_SAD_11_nothing_is_given_again_that_would_not_be_signed_now(
    world: World, credential: Credential, sam: Sam, ask: Ask
) -> None:
    body = body_of(world, credential, digest(1))
    ask(body).become(False)
    order = world.order_token("credential.suspend", credential_id=credential.id)
    public_handlers(sam)["execute_order"]({"order": order})
    for _time in range(2):
        with pytest.raises(errors.SamError) as refused:
            ask(body)
        assert refused.value.code in {"credential_disabled", "invalid_sad"}
    assert chain(world, events.SIGNATURE_REPEATED) == []


def test_SAD_11_what_the_web_tier_keeps_is_allowed_as_what_would_be_signed_now_and_spends_nothing(
    world: World, credential: Credential, sam: Sam
) -> None:
    document = digest(1)
    token = sads.encode(world.sad(credential, (document,), hash_type="sdr"), world.idp_key)
    absent: Body = dict.fromkeys(("mime_type", "description", "commitment", "policy"))
    template: Body = {"form": "cms", "document": encode_base64url(document), **absent}
    asked = SignDocumentsRequest(Asker(token, CLIENT, credential.id, None, ECDSA_SHA256), (template,)).to_json()
    handlers, before = public_handlers(sam), world.fake.signatures
    for _time in range(2):
        assert handlers["allow_again"](asked) == {}
    assert world.fake.signatures == before
    assert len(chain(world, events.SIGNATURE_REPEATED)) == 2
    other = {**asked, "templates": [{**template, "document": encode_base64url(digest(2))}]}
    with pytest.raises(errors.DigestNotAuthorized):
        handlers["allow_again"](other)
    with pytest.raises(errors.WrongClient):
        handlers["allow_again"]({**asked, "asker": {**asked["asker"], "client_id": "another"}})
    handlers["execute_order"]({"order": world.order_token("credential.suspend", credential_id=credential.id)})
    with pytest.raises(errors.SamError) as refused:
        handlers["allow_again"](asked)
    assert refused.value.code in {"credential_disabled", "invalid_sad"}
    assert len(chain(world, events.SIGNATURE_REPEATED)) == 2


def test_nothing_is_given_again_without_its_record(
    world: World, credential: Credential, sam: Sam, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = body_of(world, credential, digest(1))
    first = ask(body)
    first.become(False)

    def note(_record: object) -> None:
        raise errors.StoreUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(type(sam.store), "note", lambda _store, record: note(record))
        with pytest.raises(errors.StoreUnavailable):
            ask(body)
    assert ask(body) == first


def test_a_refusal_is_not_kept(world: World, credential: Credential, sam: Sam, ask: Ask) -> None:
    body = body_of(world, credential, digest(1))
    with pytest.raises(SadInvalid):
        ask({**body, "sad": "x"})
    with pytest.raises(errors.DigestNotAuthorized):
        ask({**body, "digests": [*body["digests"], *body["digests"]]})
    ask(body).become(True)
    assert len(sam.answers) == 0


def test_SAD_02_identical_requests_at_once_sign_once_and_the_next_one_has_what_the_first_could_not_deliver(
    world: World, credential: Credential, ask: Ask
) -> None:
    body, before = body_of(world, credential, digest(1)), world.fake.signatures
    left = 3
    lock = threading.Lock()

    def send(_number: int) -> str:
        nonlocal left
        try:
            answer = ask(body)
        except errors.SadSpent:
            return "used"
        with lock:
            left -= 1
            arrives = left == 0
        answer.become(arrives)
        return "arrived" if arrives else "lost"

    with ThreadPoolExecutor(16) as pool:
        outcome = sorted(pool.map(send, range(16)))
    assert outcome == ["arrived", "lost", "lost", *["used"] * 13]
    assert world.fake.signatures == before + 1


def test_an_identical_request_waits_no_longer_than_so_long(world: World) -> None:
    answers = Answers(world.clock, wait_seconds=0.01)
    first = answers.once({"sad": "x"}, lambda: {"a": 1}, lambda: None)
    with pytest.raises(errors.StillInProgress):
        answers.once({"sad": "x"}, lambda: {"a": 2}, lambda: None)
    first.become(True)
    assert answers.once({"sad": "x"}, lambda: {"a": 2}, lambda: None) == {"a": 2}


def test_DOS_05_what_is_kept_is_bounded(world: World, credential: Credential, sam: Sam) -> None:
    answers = Answers(world.clock, most_octets=1000)

    bodies = [body_of(world, credential, digest(number)) for number in range(10)]
    for body in bodies:
        answers.once(body, lambda: {"value": "x" * 200}, lambda: None).become(False)
    assert len(answers) == 4
    again = [answers.once(body, dict, lambda: None) for body in bodies]
    assert [bool(answer) for answer in again] == [False] * 6 + [True] * 4
    for answer in again:
        answer.become(True)
    answers.once(bodies[0], lambda: {"value": "x" * 2000}, lambda: None).become(False)
    assert len(answers) == 0


def test_SAD_14_another_proof_of_the_same_key_makes_no_other_request(world: World) -> None:
    answers, sad = Answers(world.clock), body_of(world, world.credential(), digest(1))
    answers.once({**sad, "dpop": "one"}, lambda: {"a": 1}, lambda: None).become(False)
    assert answers.once({**sad, "dpop": "two"}, lambda: {"a": 2}, lambda: None) == {"a": 1}
