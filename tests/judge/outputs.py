"""Signs a document with each key at each level, and leaves them in a folder as ``Judge.java`` wants them."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from foundation.clock import SystemClock
from signing.ades.extending import LEVELS, Means, extended
from signing.ades.validate.policy import ValidationPolicy
from signing.csc.stamper import TimestampRequest
from tests.documents import blank_pdf
from tests.integration.judged_world import KEYS, Desk, desk

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
        for name, pdf in (*lifted(running), *shaped(running)):
            (folder / f"{name}.pdf").write_bytes(pdf)
        altered = running.signed("alice", "Ades-B-LT", blank_pdf("(what was signed)"))
        (folder / "altered.REFUSED.pdf").write_bytes(altered.replace(b"(what was signed)", b"(what is altered)"))
        (folder / "root.der").write_bytes(running.root)
        (folder / "at").write_text(str(int(running.now().timestamp())))


def lifted(running: Desk) -> Iterator[tuple[str, bytes]]:
    """Files as ``privyseal ades extend`` makes them, from what was signed at level B-B; the last was renewed."""
    rssp = running.everything.web.extensions["privyseal-rssp"]
    means = Means(
        stamp=lambda digest: rssp.stamper.stamp(TimestampRequest(digest, "sha256", None)).der,
        evidence=rssp.evidence.of,
        policy=ValidationPolicy((running.root,)),
        clock=SystemClock(),
    )
    pdf = running.signed("alice", "Ades-B-B")
    for level in LEVELS[1:]:
        pdf = extended(pdf, level, means).octets
        yield f"lifted.PAdES-BASELINE-{level.removeprefix('B-')}", pdf
    yield "renewed.PAdES-BASELINE-LTA", extended(pdf, "B-LTA", means, renew=True).octets


def shaped(running: Desk) -> Iterator[tuple[str, bytes]]:
    """Signatures that are seen, that certify nothing, and of two people one after the other."""
    seen = {"Page": "1", "Box": "50 700 300 780", "Text": "{name}\n{time}", "QR": "https://example.org/"}
    once = running.signed("alice", "Ades-B-LT", seen=seen, certifies=False)
    yield "seen.PAdES-BASELINE-LT", once
    twice = running.signed("petra", "Ades-B-LT", once, seen={**seen, "Box": "50 600 300 680"}, certifies=False)
    yield "twice.PAdES-BASELINE-LT", twice
    certified = running.signed("alice", "Ades-B-LTA", blank_pdf("(certified)"))
    yield "certified.PAdES-BASELINE-LTA", certified
    yield "under-a-certification.PAdES-BASELINE-LTA", running.signed("pekka", "Ades-B-LTA", certified, certifies=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
