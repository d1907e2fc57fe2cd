"""The threat model says of every attack of the checklist where it stands; what it calls refused has tests."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from tests.architecture import test_attacks
from tests.architecture.source import ROOT

DOCUMENT: Final = ROOT / "docs" / "threat-model.md"
ROW: Final = re.compile(r"\| (?P<ids>[A-Z]{3}-\d\d[^|]*) \| (?P<stands>refused|later|no goal) \| (?P<text>[^|]+) \|\Z")
IDS: Final = re.compile(r"(?P<kind>[A-Z]{3})-(?P<first>\d\d)(?: to (?P<last>\d\d))?\Z")
CHECKLIST: Final = {
    "SAD": 15, "KEY": 14, "OTP": 12, "PSH": 7, "ENR": 3, "SES": 12, "OAU": 17, "SML": 27, "JOS": 5, "SIG": 12,
    "PKI": 5, "DOS": 8, "AUD": 11, "ADM": 6, "OPS": 12, "SUP": 6,
}  # fmt: skip
"""How many attacks of each kind there are, numbered from 1."""


def expanded(cell: str) -> list[str]:
    """``SAD-01 to 03, SAD-05`` as single identifiers."""
    found: list[str] = []
    for part in cell.split(", "):
        match = IDS.match(part)
        assert match, part
        last = int(match["last"] or match["first"])
        found += [f"{match['kind']}-{number:02}" for number in range(int(match["first"]), last + 1)]
    return found


def table() -> list[tuple[str, str]]:
    """Each identifier with where it stands."""
    found = (ROW.match(line) for line in DOCUMENT.read_text(encoding="utf-8").splitlines())
    return [(each, match["stands"]) for match in found if match for each in expanded(match["ids"])]


def test_every_attack_of_the_checklist_is_in_the_table_once() -> None:
    every = Counter(f"{kind}-{number:02}" for kind, most in CHECKLIST.items() for number in range(1, most + 1))
    assert Counter(each for each, _stands in table()) == every


def test_what_is_called_refused_has_a_test_and_what_is_not_has_none() -> None:
    refused = {each for each, stands in table() if stands == "refused"}
    assert refused == set(test_attacks.rows())
