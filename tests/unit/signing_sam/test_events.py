"""What is not documented fails: the module's events and their document say the same."""

from __future__ import annotations

import re
from pathlib import Path

from signing.sam.events import CATALOGUE

DOCUMENT = Path(__file__).parents[3] / "docs" / "audit-events.md"
ROW = re.compile(r"^\| `([a-z_.]+)` \| (.+) \| (.+) \|$")


def test_the_document_has_every_event_with_its_fields() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("## Events of the signature activation module", 1)[1]
    section = section.split("\n## ", 1)[0]
    found = {match[1]: match for line in section.splitlines() if (match := ROW.match(line))}
    assert list(found) == [event.name for event in CATALOGUE.events]
    for event in CATALOGUE.events:
        assert found[event.name][2] == event.meaning
        assert set(re.findall(r"`([a-z_0-9]+)`(?!\?)", found[event.name][3])) == event.required
        assert set(re.findall(r"`([a-z_0-9]+)`\?", found[event.name][3])) == event.optional


def test_no_event_has_a_field_for_something_secret() -> None:
    secret = {"sad", "token", "order_token", "pin", "otp", "password", "wrapped_key", "signature", "value", "mac"}
    for event in CATALOGUE.events:
        assert not (event.required | event.optional) & secret
