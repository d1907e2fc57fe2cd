"""What people and programs are told: progress on the error output, the result as text or as one JSON object."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ..credential import Credential
from ..discovery import ServiceInfo
from ..signer import Progress

_STAGES = {
    "sign in": "signing in",
    "credentials": "looking for the credential",
    "approve": "waiting for approval",
    "sign": "signing",
}
_WIDTH = 30


def plain(text: str) -> str:
    """A text of whoever it may be, as a terminal may have it: nothing that moves, colours, erases or turns around."""
    return "".join(character if character.isprintable() else "?" for character in text)


@dataclass(slots=True)
class Report:
    """Collects what happened; never give it a secret."""

    as_json: bool
    quiet: bool = False
    screen: TextIO = field(default_factory=lambda: sys.stderr)
    signed: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    _line: bool = False
    _last: tuple[str, int] = ("", -1)

    def say(self, text: str) -> None:
        """A line for people, while it is at work."""
        if self.quiet:
            return
        self._end_line()
        print(plain(text), file=self.screen, flush=True)

    def progress(self, at: Progress) -> None:
        """How far it is: a bar on a terminal, a line for each stage elsewhere."""
        if self.quiet:
            return
        words = _STAGES[at.stage]
        if at.stage == "sign" and self.screen.isatty():
            filled = _WIDTH * at.done // max(1, at.total)
            print(
                f"\r[{'#' * filled}{'.' * (_WIDTH - filled)}] {at.done}/{at.total}",
                end="",
                file=self.screen,
                flush=True,
            )
            self._line = True
            return
        count = f" {at.done}/{at.total}" if at.total else ""
        if (words, at.done) != self._last:
            self._last = (words, at.done)
            self.say(f"{words}{count}")

    def met(self, info: ServiceInfo, credential: Credential) -> None:
        """The service and the key that are used."""
        self.facts |= {
            "service": {"name": info.name, "specs": info.specs, "base": info.base},
            "credential": {
                "id": credential.id,
                "signer": credential.signer_name,
                "issuer": credential.issuer_name,
                "scal": credential.scal,
            },
        }
        self.say(f"{info.name} (CSC {info.specs}); {credential.signer_name}, certified by {credential.issuer_name}")

    def wrote(self, source: Path, results: tuple[Path, ...]) -> None:
        """A file is signed and its results are on the disk."""
        self.signed.append({"file": str(source), "results": [str(path) for path in results]})
        if not self.as_json and not self.quiet and not self.screen.isatty():
            self.say(f"signed {source}: {', '.join(map(str, results))}")

    def finish(self, code: int, failure: dict[str, Any] | None) -> None:
        """The result: as JSON on the standard output, or as text."""
        self._end_line()
        if self.as_json:
            answer = {
                "ok": failure is None,
                "exit": code,
                **self.facts,
                "signed": self.signed,
                "skipped": self.skipped,
                "left": self.left,
                "error": failure,
            }
            # In ASCII: what hides in a service's texts stays hidden from a terminal.
            print(json.dumps(answer))
        else:
            for each in self.signed:
                print("\n".join(each["results"]))
        if failure is not None:
            print(plain(f"{failure['code']}: {failure['message']}"), file=self.screen)
        if self.left and self.signed:
            print(f"{len(self.signed)} signed, {len(self.left)} not: repeat with --skip-existing", file=self.screen)

    def _end_line(self) -> None:
        if self._line:
            print(file=self.screen)
            self._line = False
