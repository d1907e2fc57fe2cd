"""`privyseal sam rewrap`: how far it is, and a device that is away for a moment."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from signing import sam_kek
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused
from signing.sam_kek import _Progress, _run


class Terminal(io.StringIO):
    """Says that somebody watches."""

    def isatty(self) -> bool:
        return True


class Module:
    """Answers as the script says."""

    def __init__(self, *script: Mapping[str, Any] | Exception) -> None:
        self._script = list(script)
        self.asked: list[Mapping[str, Any]] = []

    def call(self, _operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(body)
        answer = self._script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def step(rewrapped: int, after: str | None = None, **changes: Any) -> dict[str, Any]:
    return {"looked_at": rewrapped, "rewrapped": rewrapped, "failed": [], "stopped": None, "next": after, **changes}


def run(module: Module, progress: _Progress | None = None) -> dict[str, Any]:
    return _run(cast("SamClient", module), "bundle", progress or _Progress(4, io.StringIO(), as_json=False))


def test_a_terminal_has_a_bar_that_fills() -> None:
    stream = Terminal()
    progress = _Progress(4, stream, as_json=False)
    run(Module(step(1, "a"), step(3)), progress)
    progress.end()
    first, last = stream.getvalue().strip().split("\r")
    assert first == "[" + "#" * 10 + "." * 30 + "] 1 of 4"
    assert last == "[" + "#" * 40 + "] 4 of 4"
    assert stream.getvalue().endswith("\n")


def test_elsewhere_each_step_is_a_line_of_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    progress = _Progress(4, stream, as_json=False)
    run(Module(step(1, "a"), step(3)), progress)
    progress.end()
    assert stream.getvalue() == "wrapped anew: 1 of 4\nwrapped anew: 4 of 4\n"
    failed = [{"credential_id": "x", "code": "row_integrity"}]
    run(Module(step(1, "a"), step(2, failed=failed)), _Progress(4, Terminal(), as_json=True))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"rewrapped": 1, "failed": 0, "of": 4}, {"rewrapped": 3, "failed": 1, "of": 4}]


def test_nothing_to_do_is_all_of_it() -> None:
    stream = Terminal()
    run(Module(step(0)), _Progress(0, stream, as_json=False))
    assert stream.getvalue().strip() == "[" + "#" * 40 + "] 0 of 0"


def test_steps_follow_one_another_until_the_end_or_until_none_can_be_done() -> None:
    module = Module(step(2, "b"), step(1, "d", failed=[{"credential_id": "c", "code": "row_integrity"}]), step(0))
    assert run(module)["rewrapped"] == 3
    assert [body.get("after") for body in module.asked] == [None, "b", "d"]
    assert run(Module(step(1, "b", stopped="the KEK's template")))["stopped"] == "the KEK's template"


def test_a_device_that_is_away_is_asked_again_for_a_while_and_another_refusal_is_final(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    away = LinkRefused(codes.DEVICE_UNAVAILABLE)
    module = Module(away, away, step(1, "a"), away, step(1))
    assert run(module)["rewrapped"] == 2
    assert [body.get("after") for body in module.asked] == [None, None, None, "a", "a"]
    assert len(waited) == 3
    with pytest.raises(LinkRefused):
        run(Module(*[away] * sam_kek._AWAY_TRIES))
    with pytest.raises(LinkRefused):
        run(Module(LinkRefused(codes.INVALID_OPERATION)))
