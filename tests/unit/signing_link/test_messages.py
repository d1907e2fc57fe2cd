"""Frames and messages: strict on both sides."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from contract.order import SubjectClaim
from contract.sad import SAD_TYPE
from signing.link import codes
from signing.link.documents import Asker, SignDocumentsRequest, SignedDocument, SignPdfsRequest
from signing.link.errors import LinkError, LinkRefused, LinkUnavailable, MessageInvalid
from signing.link.frames import MAX_FRAME_OCTETS, Following, Incoming, receive_frame, send_frame
from signing.link.messages import SCHEMES, CreatedCredential, CredentialView, SignRequest
from signing.sam import errors as sam_errors
from signing.sam.algorithms import KEY_PROFILES
from signing.sam.ports import DeviceError

REQUEST = SignRequest("token", "client", "credential", None, (b"\1", b"\2\3"), "1.2.3", b"\5\0")
VIEW = CredentialView(
    credential_id="credential",
    owner="alice",
    status="active",
    profile="standard",
    key_kind="EC",
    key_bits=256,
    curve="1.2.840.10045.3.1.7",
    schemes=("ecdsa",),
    certificates=(b"\x30\x00",),
    scal="2",
    signature_qualifier=None,
    multisign=100,
    created_at=1_772_366_400,
)
CREATED = CreatedCredential(VIEW, b"\x30\x00", SubjectClaim("Alice Example", None, None, None, "BE"))


ASKER = Asker("token", "client", "credential", None, "1.2.3", b"\5\0", "proof", "thumbprint")
DOCUMENTS = SignDocumentsRequest(ASKER, ({"form": "cms"}, {}))
PDFS = SignPdfsRequest(ASKER, ({"byte_range": [0]},), "ProofOfOrigin", {"a": 1})
SIGNED = SignedDocument(b"\1", b"\2", b"\3", b"\4")


@pytest.mark.parametrize(
    "message",
    [
        REQUEST,
        replace(REQUEST, client_id=None, sign_algo_params=None),
        VIEW,
        CREATED,
        DOCUMENTS,
        replace(DOCUMENTS, asker=Asker("token", None, "credential", "1.2", "1.2.3"), templates=()),
        PDFS,
        replace(PDFS, commitment=None, policy=None, templates=({"form": "cms"},)),
        SIGNED,
        replace(SIGNED, signed_properties=None, manifest=None),
    ],
)
def test_a_message_comes_back_as_it_was_sent(message: Any) -> None:
    assert type(message).from_json(json.loads(json.dumps(message.to_json()))) == message


@pytest.mark.parametrize("message", [REQUEST, VIEW, CREATED, DOCUMENTS, PDFS, SIGNED])
def test_a_message_with_a_member_too_many_or_too_few_is_refused(message: Any) -> None:
    body = message.to_json()
    with pytest.raises(MessageInvalid):
        type(message).from_json({**body, "more": 1})
    for name in body:
        with pytest.raises(MessageInvalid):
            type(message).from_json({key: value for key, value in body.items() if key != name})


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (REQUEST, {"digests": ["="]}),
        (REQUEST, {"digests": [""]}),
        (REQUEST, {"digests": "AQ"}),
        (REQUEST, {"digests": ["AQ"] * 1001}),
        (REQUEST, {"digests": ["\u00e9"]}),
        (REQUEST, {"sad": ""}),
        (REQUEST, {"sad": "x" * 24_577}),
        (REQUEST, {"sign_algo_params": "*"}),
        (REQUEST, {"client_id": 7}),
        (REQUEST, {"credential_id": ""}),
        (REQUEST, {"credential_id": 7}),
        (REQUEST, {"credential_id": "x" * 129}),
        (REQUEST, {"credential_id": "a\x00b"}),
        (REQUEST, {"credential_id": "\ud800"}),
        (REQUEST, {"credential_id": "cr\u00e9dential"}),
        (REQUEST, {"credential_id": "credential\n"}),
        (DOCUMENTS, {"templates": {}}),
        (DOCUMENTS, {"templates": ["cms"]}),
        (DOCUMENTS, {"templates": [{}] * 1001}),
        (DOCUMENTS, {"asker": None}),
        (DOCUMENTS, {"asker": {**ASKER.to_json(), "sad": ""}}),
        (DOCUMENTS, {"asker": {**ASKER.to_json(), "digests": []}}),
        (PDFS, {"pdfs": {}}),
        (PDFS, {"pdfs": ["a"]}),
        (PDFS, {"templates": [0]}),
        (PDFS, {"policy": []}),
        (PDFS, {"commitment": ""}),
        (PDFS, {"commitment": "a" * 65}),
        (SIGNED, {"value": ""}),
        (SIGNED, {"tbs": None}),
        (SIGNED, {"signed_properties": "*"}),
        (VIEW, {"credential_id": "a b"}),
        (REQUEST, {"sign_algo": "1" * 65}),
        (REQUEST, {"sign_algo_params": "A" * 1028}),
        (VIEW, {"status": "other"}),
        (VIEW, {"multisign": True}),
        (VIEW, {"certificates": ["AQ"] * 9}),
        (CREATED, {"pkcs10": "*"}),
        (CREATED, {"subject": {"common_name": "x"}}),
    ],
)
def test_a_member_of_another_form_is_refused(message: Any, change: dict[str, Any]) -> None:
    with pytest.raises(MessageInvalid):
        type(message).from_json({**message.to_json(), **change})


def test_a_sad_is_not_in_a_requests_repr() -> None:
    assert "token" not in repr(REQUEST)
    assert SAD_TYPE not in repr(REQUEST)


# Codes


def all_codes() -> set[str]:
    return {value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)}


def test_every_code_has_its_sentence() -> None:
    assert all_codes() == set(codes.DETAILS)
    assert LinkRefused(codes.BUSY).detail == codes.DETAILS[codes.BUSY]


def test_every_refusal_of_the_module_has_a_code_of_the_link() -> None:
    local = {"state_refused"}  # ends the start; never goes over the link
    refusals = [
        cls for cls in vars(sam_errors).values() if isinstance(cls, type) and cls.__module__ == sam_errors.__name__
    ]
    assert {cls.code for cls in refusals if cls is not sam_errors.SamError} - local <= set(codes.DETAILS)  # type: ignore[attr-defined] # all are ours
    assert not issubclass(DeviceError, LinkError)


def test_the_links_schemes_are_those_of_the_keys() -> None:
    assert {scheme for profile in KEY_PROFILES.values() for scheme in profile.schemes} == set(SCHEMES)


# Frames


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = socket.socketpair()
    with one, two:
        yield one, two


Pair = tuple[socket.socket, socket.socket]


def soon(seconds: float = 2.0) -> float:
    return time.monotonic() + seconds


def test_a_frame_arrives(pair: Pair) -> None:
    send_frame(pair[0], {"a": "\u00e9"}, soon())
    assert receive_frame(pair[1], soon()) == {"a": "\u00e9"}


def test_the_end_between_two_frames_is_no_error(pair: Pair) -> None:
    pair[0].close()
    assert receive_frame(pair[1], soon()) is None


@pytest.mark.parametrize("sent", [b"\0\0", b"\0\0\0\5ab", b"\0\0\0\2"])
def test_the_end_within_a_frame_is_one(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    pair[0].close()
    with pytest.raises(LinkUnavailable):
        receive_frame(pair[1], soon())


def test_more_than_the_frame_is_refused_where_nothing_may_follow(pair: Pair) -> None:
    pair[0].sendall(struct.pack(">I", 2) + b"{}" + b"x")
    with pytest.raises(MessageInvalid):
        receive_frame(pair[1], soon())


def test_frames_and_what_follows_them_come_apart_however_they_are_cut(pair: Pair) -> None:
    frame = struct.pack(">I", 8) + b'{"a": 1}'
    sent = frame + b"follows" + frame + frame

    def feed(cut: int) -> None:
        pair[0].sendall(sent[:cut])
        pair[0].sendall(sent[cut:])

    for cut in range(1, len(sent)):
        incoming = Incoming(pair[1])
        feeder = threading.Thread(target=feed, args=(cut,))
        feeder.start()
        assert incoming.arrives(2)
        assert incoming.frame(soon()) == b'{"a": 1}'
        following = Following(incoming, 7, soon())
        assert b"".join(following) == b"follows"
        following.drain()
        assert [incoming.frame(soon()), incoming.frame(soon())] == [b'{"a": 1}'] * 2
        assert incoming.ahead == b""
        feeder.join()


def test_nothing_that_arrives_is_told_from_something(pair: Pair) -> None:
    incoming = Incoming(pair[1])
    assert not incoming.arrives(0.01)
    assert not incoming.arrives(0.01)
    send_frame(pair[0], {}, soon())
    assert incoming.arrives(2)
    assert incoming.arrives(0.01)
    assert incoming.frame(soon()) == b"{}"
    # The wait of the call before is none of this one's.
    with pytest.raises(LinkUnavailable):
        incoming.frame(soon(0.05))
    pair[0].close()
    assert not incoming.arrives(2)


@pytest.mark.parametrize("length", [0, MAX_FRAME_OCTETS + 1, 2**32 - 1])
def test_DOS_01_a_length_that_is_not_accepted_is_refused_unread(pair: Pair, length: int) -> None:
    pair[0].sendall(struct.pack(">I", length))
    with pytest.raises(MessageInvalid):
        receive_frame(pair[1], soon())


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(pair: Pair, body: bytes) -> None:
    feeder = threading.Thread(target=pair[0].sendall, args=(struct.pack(">I", len(body)) + body,))
    feeder.start()
    with pytest.raises(MessageInvalid):
        receive_frame(pair[1], soon())
    feeder.join()


def test_DOS_02_a_peer_that_drips_cannot_hold_the_reader_for_longer_than_the_deadline(pair: Pair) -> None:
    stop = threading.Event()

    def drip() -> None:
        pair[0].sendall(struct.pack(">I", 1000))
        while not stop.wait(0.02):
            pair[0].sendall(b" ")

    feeder = threading.Thread(target=drip)
    feeder.start()
    began = time.monotonic()
    with pytest.raises(LinkUnavailable):
        receive_frame(pair[1], soon(0.3))
    assert time.monotonic() - began < 2
    stop.set()
    feeder.join()


def test_a_message_larger_than_a_frame_is_not_sent(pair: Pair) -> None:
    with pytest.raises(MessageInvalid):
        send_frame(pair[0], {"a": "x" * MAX_FRAME_OCTETS}, soon())


def test_a_peer_that_does_not_read_cannot_hold_the_writer(pair: Pair) -> None:
    with pytest.raises(LinkUnavailable):
        send_frame(pair[0], {"a": "x" * (MAX_FRAME_OCTETS - 20)}, soon(0.2))
