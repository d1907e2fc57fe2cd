"""What the documentation points to is there: files, and the headings in them."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

from tests.architecture.source import ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"#{1,6} (.+)")
ELSEWHERE = ("http://", "https://", "mailto:")


def pages() -> list[Path]:
    """All that git tracks."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines()]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of a page's headings, as GitHub makes them."""
    found, times = set(), Counter[str]()
    for line in page.read_text(encoding="utf-8").splitlines():
        heading = HEADING.fullmatch(line)
        if heading is None:
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(f"{anchor}-{times[anchor]}" if times[anchor] else anchor)
        times[anchor] += 1
    return frozenset(found)


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        known = there.exists() and (not anchor or there.suffix != ".md" or anchor in anchors(there))
        if not known and not target.startswith(ELSEWHERE):
            found.append(target)
    return found


def test_no_link_leads_nowhere() -> None:
    read = pages()
    assert len(read) > 50
    assert [f"{page.relative_to(ROOT)}: {link}" for page in read for link in broken(page)] == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `thing`\n# One thing\n")
    there = ["page.md", "#one-thing", "page.md#one-thing-1", "https://example.org/#x"]
    missing = ["other.md", "#one-thing-2", "page.md#two", "other.md#one-thing"]
    page.write_text(page.read_text() + "".join(f"[x]({link})\n" for link in (*there, *missing)))
    assert broken(page) == missing
