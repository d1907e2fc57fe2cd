"""The line between supervisor and workers: whatever comes, fields or a refusal."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signing.scdev.errors import FrameBroken
from signing.scdev.frames import MAX_FRAME, pack, receive, unpack


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=20))
def test_fields_come_back_as_they_were(fields: list[bytes]) -> None:
    frame = pack(fields)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert unpack(frame[4:]) == fields


@given(st.binary(max_size=200))
def test_anything_else_is_refused_and_nothing_is_lost(body: bytes) -> None:
    try:
        fields = unpack(body)
    except FrameBroken:
        return
    assert pack(fields)[4:] == body


@pytest.mark.parametrize("body", [b"", b"\0\0\0", b"\0\0\0\x05abcd", b"\0\0\0\x01a\0", b"\xff\xff\xff\xff"])
def test_a_body_whose_lengths_do_not_add_up_is_refused(body: bytes) -> None:
    with pytest.raises(FrameBroken):
        unpack(body)


def test_a_frame_that_comes_in_pieces_is_put_together() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frame = pack([b"sign", bytes(100_000), b""])

        def drip() -> None:
            for at in range(0, len(frame), 9999):
                theirs.sendall(frame[at : at + 9999])
            theirs.sendall(b"")

        sender = threading.Thread(target=drip)
        sender.start()
        assert receive(ours, 5.0) == [b"sign", bytes(100_000), b""]
        sender.join()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        pack([b"x"])[:-1],
        (MAX_FRAME + 1).to_bytes(4, "big"),
        pack([b"a"]) + pack([b"b"]),
        b"\0\0\0\0",
    ],
)
def test_a_line_cut_off_too_long_or_with_two_frames_is_refused(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(data)
        with pytest.raises(FrameBroken):
            receive(ours, 1.0)


def test_a_line_that_drips_is_given_up_at_the_deadline_for_the_whole_frame() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stop = threading.Event()

        def drip() -> None:
            theirs.sendall(b"\0\0\x10\0")
            while not stop.wait(0.02):
                theirs.sendall(b"x")

        sender = threading.Thread(target=drip)
        sender.start()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            receive(ours, 0.2)
        stop.set()
        sender.join()
        assert time.monotonic() - began < 2.0
