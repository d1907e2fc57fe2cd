"""Plays ``docs/policy-language.md``: does what its reader would do, and writes what the reader would see.

The page says in HTML comments, which readers do not see, what an example is:

* ``<!-- file NAME -->``: the block after it is the whole file.
* ``<!-- add to NAME: at the end -->``, ``<!-- add to NAME: before "LINE" -->``: the block goes there.
* ``<!-- edit NAME -->``: a diff of a place that the file has exactly once.
* ``<!-- recorded NAME -->``: the server has been running; :func:`recorded` says what it was asked.

In a ``console`` block every line after ``$`` is run, in one directory and at one time, and what follows must be exactly
what it prints.  Hashes are cut to their first digits.  After a change of words write the page anew with
``python -m tests.unit.idp_policy.guide``.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from foundation.clock import FixedClock
from foundation.files import write_secret
from foundation.jose import export_signing_key, generate_signing_key
from idp.cli.policy import main
from idp.policy.evaluate import evaluate
from idp.policy.load import load_policy
from idp.policy.model import Facts
from idp.policy.records import to_json
from tests.unit.idp_policy.support import NOW, PHONE, WORD, used

PAGE: Final = Path(__file__).parents[3] / "docs" / "policy-language.md"
OPERATORS: Final = ("anna", "bernd")
_BLOCK: Final = re.compile(
    r"(?:<!-- (?P<mark>(?!recorded )[^\n]*) -->\n+)?```(?P<kind>\w+)\n(?P<text>.*?)```\n", re.DOTALL
)
_RECORDED: Final = re.compile(r"<!-- recorded (\S+) -->")
_MARK: Final = re.compile(
    r'(?:file (?P<new>\S+)|add to (?P<grown>\S+): (?P<at>at the end|before ".*")|edit (?P<edited>\S+))'
)


@dataclass
class Played:
    """What became of a page."""

    page: str
    """With the output that the commands have now."""
    files: dict[str, str]
    """As they are in the end."""
    commands: list[tuple[str, int]] = field(default_factory=list)
    """What was run, with its exit code."""


@functools.cache
def played() -> Played:
    """What becomes of the page as it is."""
    return play(PAGE.read_text())


def play(page: str) -> Played:
    """Do all that the page says, in an empty directory."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            for operator in OPERATORS:
                write_secret(Path(f"{operator}.pem"), export_signing_key(generate_signing_key("ES256")))
            return _play(page)
        finally:
            os.chdir(before)


def _play(page: str) -> Played:
    played = Played("", {})
    end = 0
    for block in _BLOCK.finditer(page):
        between = page[end : block.start()]
        for name in _RECORDED.findall(between):
            Path(name).write_text("".join(f"{line}\n" for line in recorded()))
        played.page += between
        end = block.end()
        text = block["text"]
        if block["mark"]:
            _write(block["mark"], text)
        if block["kind"] == "console":
            text = "".join(_commands(text, played))
        played.page += page[block.start() : block.start("text")] + text + "```\n"
    played.page += page[end:]
    played.files = {path.name: path.read_text() for path in Path().glob("*.yaml")}
    return played


def _write(mark: str, text: str) -> None:
    """Make or change a file."""
    match = _MARK.fullmatch(mark)
    if match is None:
        raise ValueError(f"what is <!-- {mark} -->?")
    path = Path(match["new"] or match["grown"] or match["edited"])
    if match["new"]:
        path.write_text(text)
    elif match["at"] == "at the end":
        path.write_text(path.read_text() + text)
    elif match["at"]:
        line = match["at"].removeprefix("before ").strip('"') + "\n"
        _replace(path, f"\n{line}", f"\n{text}\n{line}")
    else:
        lines = text.splitlines(keepends=True)
        _replace(path, _side(lines, "+"), _side(lines, "-"))


def _side(lines: list[str], other: str) -> str:
    """What a diff shows, without the lines of the other side."""
    return "".join(line[1:] for line in lines if not line.startswith(other))


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{path} has this {text.count(old)} times:\n{old}")
    path.write_text(text.replace(old, new))


def _commands(text: str, played: Played) -> Iterator[str]:
    """The lines of a console with what each command prints."""
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            code, output = run(shlex.split(line[2:]))
            played.commands.append((line[2:].strip(), code))
            yield line + output


def run(argv: list[str]) -> tuple[int, str]:
    """Exit code and output of a command that the page may use."""
    match argv:
        case ["privyseal", "policy", *arguments]:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                code = main(arguments, FixedClock(NOW))
            return code, shortened(printed.getvalue())
        case ["touch", name]:
            Path(name).touch()
        case ["cp", source, target]:
            shutil.copyfile(source, target)
        case _:
            raise ValueError(f"the page runs {argv}")
    return 0, ""


def shortened(text: str) -> str:
    """Hashes as a page can show them; the names of keys, which are made anew each time, not at all."""
    text = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1...", text)
    return re.sub(r"(?<![\w-])[\w-]{43}(?![\w-])", "...", text)


def recorded() -> Iterator[str]:
    """Twelve sign-ins, three of them by lawyers, and two signatures: what ``privyseal idp decisions export`` writes."""
    policy = load_policy(Path("small-office.yaml"))
    for number in range(14):
        now = NOW - timedelta(hours=14 - number)
        lawyer = number % 4 == 1
        of = Facts(
            action="signature.activate" if number > 11 else "sign_in",
            evidence=(
                used("password", (14 - number) * 3600 + 60),
                used("sms_otp", (14 - number) * 3600, "restricted", transaction="t"),
            ),
            now=now,
            client_id="example-app",
            groups=frozenset({"lawyers"} if lawyer else {"staff"}),
            proofing="substantial",
            transaction="t",
            enrolled=(WORD, PHONE),
        )
        if number < 12:
            of = Facts(**{name: getattr(of, name) for name in Facts.__slots__} | {"evidence": of.evidence[:1]})
        decision_id = f"d{number + 1}"
        made = to_json(
            decision_id=decision_id, txn="t", account_id="a1", policy=policy, facts=of, decision=evaluate(policy, of)
        )
        yield json.dumps(made)


if __name__ == "__main__":
    PAGE.write_text(play(PAGE.read_text()).page)
