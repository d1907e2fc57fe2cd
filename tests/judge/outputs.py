"""Signs a document with each key at each level, and leaves them in a folder as ``Judge.java`` wants them."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.documents import blank_pdf
from tests.integration.judged_world import KEYS, desk

NAMES: Final = {"Ades-B-B": "B", "Ades-B-T": "T", "Ades-B-LT": "LT", "Ades-B-LTA": "LTA"}
"""Levels of the CSC API as DSS has them behind ``PAdES-BASELINE-``."""


def write(folder: Path) -> None:
    """Documents, trust anchor, time, and what the authorities say."""
    with tempfile.TemporaryDirectory(prefix="judged-") as place, desk(Path(place)) as running:
        assert running.levels() == tuple(NAMES)
        for username, key in KEYS.items():
            for level, name in NAMES.items():
                pdf = running.signed(username, level)
                (folder / f"{key}.PAdES-BASELINE-{name}.pdf").write_bytes(pdf)
                told = running.told(pdf)
                for ending, ders in (("ocsp", told.ocsps), ("crl", told.crls)):
                    for der in ders:
                        (folder / f"{hashlib.sha256(der).hexdigest()[:16]}.{ending}").write_bytes(der)
        altered = running.signed("alice", "Ades-B-LT", blank_pdf("(what was signed)"))
        (folder / "altered.REFUSED.pdf").write_bytes(altered.replace(b"(what was signed)", b"(what is altered)"))
        (folder / "root.der").write_bytes(running.root)
        (folder / "at").write_text(str(int(running.now().timestamp())))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
