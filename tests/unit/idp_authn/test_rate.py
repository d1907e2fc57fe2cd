"""Places among those who have a password verified."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from idp.authn.rate import Queue

PATIENCE = 10


def waiting(queue: Queue, number: int) -> None:
    until = time.monotonic() + PATIENCE
    while len(queue._waiting) < number:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_DOS_03_whoever_gives_a_place_back_does_not_take_it_again_before_those_who_wait() -> None:
    queue, order = Queue(1), list[int]()

    def wait(number: int) -> None:
        assert queue.acquire(PATIENCE)
        order.append(number)
        queue.release()

    assert queue.acquire()
    with ThreadPoolExecutor(3) as pool:
        waited = []
        for number in range(3):
            waited.append(pool.submit(wait, number))
            waiting(queue, number + 1)
        queue.release()
        # It is somebody else's already, whether or not they have woken up.
        assert not queue.acquire() or order == [0, 1, 2]
        for each in waited:
            each.result()
    assert order == [0, 1, 2]


def test_a_place_that_nobody_waits_for_any_more_is_free_again() -> None:
    queue = Queue(2)
    assert [queue.acquire() for _ in range(3)] == [True, True, False]
    assert not queue.acquire(0.01)
    queue.release()
    assert [queue.acquire() for _ in range(2)] == [True, False]


def test_of_many_who_take_and_give_back_no_more_hold_a_place_than_there_are() -> None:
    queue, lock, held, most = Queue(3), threading.Lock(), 0, 0

    def work(_number: int) -> bool:
        nonlocal held, most
        if not queue.acquire(PATIENCE):
            return False
        with lock:
            held += 1
            most = max(most, held)
        time.sleep(0.001)
        with lock:
            held -= 1
        queue.release()
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(200)))
    assert 0 < most <= 3
    assert [queue.acquire() for _ in range(4)] == [True, True, True, False]
