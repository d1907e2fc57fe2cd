"""A process that is told to end comes to know it, whatever it does just then."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECONDS = 60.0
"""For a process to start and to end."""
IMPORTS = "import signal, sys, threading\nfrom foundation.termination import Termination, wake_for_signals\n"


def said(program: str, number: signal.Signals | None = None) -> str:
    """What a program says until its end; it is given the signal once it has said "ready"."""
    with subprocess.Popen(
        [sys.executable, "-c", IMPORTS + program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            if number is not None:
                assert process.stdout.readline() == "ready\n"
                process.send_signal(number)
            told, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0
    return told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_waits_is_woken(number: signal.Signals) -> None:
    program = "stop = Termination(); print('ready', flush=True); print(stop.wait(), stop.is_set())"
    assert said(program, number) == "True True\n"


def test_a_signal_that_another_thread_is_given_wakes_the_one_that_waits() -> None:
    program = """
def other():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    print('ready', flush=True)
    threading.Event().wait()
stop = Termination()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
threading.Thread(target=other, daemon=True).start()
print(stop.wait())
"""
    assert said(program, signal.SIGTERM) == "True\n"


def test_a_signal_that_another_thread_is_given_wakes_a_main_thread_that_waits_for_anything() -> None:
    program = """
def other():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    print('ready', flush=True)
    threading.Event().wait()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
wake_for_signals()
threading.Thread(target=other, daemon=True).start()
done.wait()
print('told')
"""
    assert said(program, signal.SIGTERM) == "told\n"


def test_signals_are_left_as_they_are_outside_the_main_thread() -> None:
    program = """
aside = threading.Thread(target=wake_for_signals)
aside.start(); aside.join()
print(signal.set_wakeup_fd(-1), signal.getsignal(signal.SIGWINCH) == signal.SIG_DFL)
"""
    assert said(program) == "-1 True\n"


def test_a_signal_at_any_step_of_looking_is_known_and_does_not_hold_the_process_up() -> None:
    program = """
def told_at(step):
    stop, left = Termination(), step
    def within(frame, event, _argument):
        nonlocal left
        left -= event == "opcode"
        if not left:
            left = -1
            signal.raise_signal(signal.SIGTERM)
        return within
    def entered(frame, event, _argument):
        frame.f_trace_opcodes = True
        return within
    sys.settrace(entered)
    stop.wait(0)
    sys.settrace(None)
    return stop if left < 0 else None
step = 1
while (stop := told_at(step)) is not None:
    assert stop.is_set() and stop.wait(0)
    step += 1
print(step > 5)
"""
    assert said(program) == "True\n"


def test_without_a_signal_the_wait_comes_to_its_end() -> None:
    assert said("stop = Termination(); print(stop.wait(0.01), stop.is_set())") == "False False\n"
