"""One signature's evidence: the parts of both sides in one document, verified before it is given out.

Neither side knows the other, and this package knows neither: it asks each through its own command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from anchoring.errors import PartMissing

FORMAT: Final = "privyseal-evidence-1"
_SECONDS: Final = 600
_ROOT: Final = 0


def asked(side: str, txn: str, config: Path, anchors: Path | None) -> dict[str, Any]:
    """A side's part, by ``privyseal SIDE evidence`` on this machine; for root, as the user whose the settings are.

    :raises PartMissing: it gave none; the text is what it said.
    """
    more = () if anchors is None else ("--anchors", str(anchors))
    command = (sys.executable, "-m", "launcher", side, "evidence", "--config", str(config), *more, "--", txn)
    try:
        done = subprocess.run(  # noqa: S603 - our own
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, **_owner(config)
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PartMissing(f"{side}: its command did not end in time") from error
    if done.returncode != 0:
        raise PartMissing(f"{side}: {done.stderr.strip() or 'its command failed'}")
    return _object(done.stdout, side)


def read(side: str, path: Path) -> dict[str, Any]:
    """A side's part, from a file that its own machine's command wrote.

    :raises PartMissing: it cannot be read.
    """
    try:
        return _object(path.read_text(encoding="utf-8"), side)
    except (OSError, UnicodeDecodeError) as error:
        raise PartMissing(f"{side}: {path} cannot be read") from error


def _owner(config: Path) -> dict[str, Any]:
    """Each side's files are its own user's, and its command refuses to work on another's."""
    if os.geteuid() != _ROOT:
        return {}
    try:
        status = config.stat()
    except OSError as error:
        raise PartMissing(f"{config}: cannot be read ({error.strerror})") from error
    return {"user": status.st_uid, "group": status.st_gid, "extra_groups": []}


def bundle(txn: str, idp: dict[str, Any], sam: dict[str, Any]) -> dict[str, Any]:
    """The document."""
    return {"format": FORMAT, "txn": txn, "idp": idp, "sam": sam}


def _object(text: str, side: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise PartMissing(f"{side}: its part is no JSON") from error
    if not isinstance(value, dict):
        raise PartMissing(f"{side}: its part is no object")
    return value
