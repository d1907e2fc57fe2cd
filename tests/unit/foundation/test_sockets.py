"""Waits that the system ends."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from foundation.sockets import wait_at_most

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def waits(line: socket.socket, option: int) -> tuple[int, int]:
    """What the system has been told: seconds and microseconds, rounded by it."""
    seconds, microseconds = struct.unpack("@ll", line.getsockopt(socket.SOL_SOCKET, option, 16))
    return seconds, microseconds


@pytest.mark.parametrize("seconds", [0.01, 0.0, -5.0, 1e-9])
def test_a_wait_for_what_does_not_come_ends_and_is_never_one_for_ever(pair: Pair, seconds: float) -> None:
    wait_at_most(pair[0], seconds)
    assert waits(pair[0], socket.SO_RCVTIMEO) > (0, 0)
    with pytest.raises(BlockingIOError):
        pair[0].recv(1)
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_the_wait_before_is_none_of_the_next_ones(pair: Pair) -> None:
    wait_at_most(pair[0], 7.5, sending=True)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        assert waits(pair[0], option)[0] == 7
    wait_at_most(pair[0], None)
    assert waits(pair[0], socket.SO_RCVTIMEO) == (0, 0)


def test_so_ends_a_wait_for_room(pair: Pair) -> None:
    def fill() -> None:
        while True:
            pair[0].send(bytes(65536))

    wait_at_most(pair[0], 0.01, sending=True)
    with pytest.raises(BlockingIOError):
        fill()
