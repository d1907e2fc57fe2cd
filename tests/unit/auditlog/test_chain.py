"""AUD-01 to 05: whatever is done to the chain, the first bad record is named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from auditlog.catalogue import MAX_ITEMS, MAX_VALUE_CHARACTERS, Catalogue, Event
from auditlog.chain import (
    DOMAIN,
    EMPTY,
    GENESIS,
    Checkpoint,
    Entry,
    Fields,
    Head,
    append,
    head_of,
    microseconds,
    verify,
)
from auditlog.errors import ChainBroken, ChainTruncated, CheckpointInvalid, EventRefused
from foundation.clock import from_epoch

AT = from_epoch(1_772_366_400)


def chain(count: int = 6) -> list[Entry]:
    head, entries = EMPTY, []
    for number in range(1, count + 1):
        entry = append(head, "demo.event", {"number": number, "text": "a\nb\u2028"}, AT + timedelta(seconds=number))
        entries.append(entry)
        head = head_of(entry)
    return entries


def taken(entry: Entry) -> Checkpoint:
    return Checkpoint(entry.sequence, entry.hash, entry.at)


def broken_at(entries: list[Entry], *checkpoints: Checkpoint) -> int:
    with pytest.raises(ChainBroken) as found:
        verify(entries, checkpoints)
    return found.value.sequence


def test_a_chain_that_nobody_touched_verifies() -> None:
    entries = chain()
    assert verify(entries, [taken(entries[2]), taken(entries[5])]) == Head(6, entries[5].hash)
    assert verify([]) == EMPTY
    assert verify([], [Checkpoint(0, GENESIS, 0)]) == EMPTY


@pytest.mark.parametrize(
    "change", [{"fields": "{}"}, {"event": "other.event"}, {"at": 0}, {"hash": "0" * 64}, {"previous": "0" * 64}]
)
def test_AUD_01_a_modified_record_is_named(change: dict[str, object]) -> None:
    entries = chain()
    entries[3] = replace(entries[3], **change)  # type: ignore[arg-type] # one field at a time
    assert broken_at(entries) == 4


def test_AUD_01_a_modified_record_with_a_fitting_hash_breaks_the_next() -> None:
    entries = chain()
    entries[3] = append(head_of(entries[2]), "demo.event", {"number": 99}, AT)
    assert broken_at(entries) == 5


def test_AUD_02_a_deleted_record_is_named() -> None:
    entries = chain()
    del entries[3]
    assert broken_at(entries) == 4


def test_AUD_02_the_first_record_deleted_is_named() -> None:
    assert broken_at(chain()[1:]) == 1


def test_AUD_03_reordered_records_are_named() -> None:
    entries = chain()
    entries[2], entries[3] = entries[3], entries[2]
    assert broken_at(entries) == 3
    first, second = entries[2], entries[3]
    entries[2], entries[3] = replace(first, sequence=3), replace(second, sequence=4)
    assert broken_at(entries) == 3


def test_AUD_04_an_inserted_record_is_named() -> None:
    entries = chain()
    forged = append(head_of(entries[2]), "demo.event", {}, AT)
    assert broken_at([*entries[:3], forged, *entries[3:]]) == 5  # the forged one is a right fourth; the next is none
    assert broken_at([*entries[:3], forged, *[replace(e, sequence=e.sequence + 1) for e in entries[3:]]]) == 5


def test_AUD_05_a_truncated_tail_is_found_against_a_checkpoint_kept_elsewhere() -> None:
    entries = chain()
    assert verify(entries[:4]).sequence == 4
    with pytest.raises(ChainTruncated) as found:
        verify(entries[:4], [taken(entries[5])])
    assert found.value.sequence == 5


def test_AUD_05_a_chain_rewritten_as_a_whole_is_found_against_a_checkpoint() -> None:
    entries, other = chain(), chain(3)
    head = head_of(other[2])
    for number in range(3):
        other.append(append(head, "demo.event", {"other": number}, AT))
        head = head_of(other[-1])
    assert verify(other).sequence == 6
    assert broken_at(other, taken(entries[5])) == 6
    assert broken_at(other, taken(entries[3]), taken(entries[5])) == 4
    assert broken_at(chain(), Checkpoint(0, "1" * 64, 0)) == 0


def test_two_checkpoints_that_contradict_are_not_passed_over() -> None:
    entries = chain()
    assert broken_at(entries, taken(entries[1]), Checkpoint(2, "1" * 64, 0)) == 2


def test_AUD_10_ten_lines_without_this_package_verify_an_export() -> None:
    previous = "0" * 64
    for entry in chain():
        record = json.dumps([entry.sequence, entry.at, entry.event, entry.fields], separators=(",", ":"))
        leaf = hashlib.sha256(b"\0privyseal-audit-2\n" + record.encode()).digest()
        previous = hashlib.sha256(b"\1" + bytes.fromhex(previous) + leaf).hexdigest()
        assert (entry.leaf(), previous) == (leaf, entry.hash)
    assert DOMAIN == b"privyseal-audit-2\n"


def test_the_published_chain_is_the_one_that_is_made() -> None:
    """``tests/vectors/audit/chain.json``: for whoever writes a verifier of their own."""
    vector = json.loads((Path(__file__).parents[2] / "vectors" / "audit" / "chain.json").read_text())
    assert [asdict(entry) for entry in chain()] == vector["records"]
    assert [entry.leaf().hex() for entry in chain()] == vector["leaves"]


def test_a_head_without_a_hash_is_not_appended_to() -> None:
    with pytest.raises(ChainBroken):
        append(Head(3, "none"), "a.b", {}, AT)


def test_AUD_11_a_value_cannot_forge_a_record() -> None:
    for entry in chain():
        assert "\n" not in entry.fields
        assert entry.fields.isascii()
    one = append(EMPTY, "a.b", {"x": '1","y":"2'}, AT)
    assert json.loads(one.fields) == {"x": '1","y":"2'}


def test_AUD_09_a_clock_set_back_keeps_the_sequence() -> None:
    first = append(EMPTY, "a.b", {}, AT)
    second = append(head_of(first), "a.b", {}, AT - timedelta(hours=1))
    assert verify([first, second]).sequence == 2
    assert second.at < first.at == microseconds(AT)


def test_fields_are_canonical() -> None:
    assert append(EMPTY, "a.b", {"b": ("x",), "a": True}, AT).fields == '{"a":true,"b":["x"]}'
    assert all(earlier.hash == later.previous for earlier, later in pairwise(chain()))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        '{"sequence":1,"hash":"x","at":1}',
        '{"sequence":true,"hash":"' + "0" * 64 + '","at":1}',
        '{"sequence":-1,"hash":"' + "0" * 64 + '","at":1}',
        '{"sequence":1,"hash":7,"at":1}',
        '{"sequence":1,"hash":"' + "0" * 64 + '"}',
    ],
)
def test_what_is_no_checkpoint_is_refused(line: str) -> None:
    with pytest.raises(CheckpointInvalid):
        Checkpoint.from_json(line)


def test_a_checkpoint_comes_back_as_it_was_written() -> None:
    checkpoint = taken(chain()[2])
    assert Checkpoint.from_json(checkpoint.to_json()) == checkpoint


# The catalogue

CATALOGUE = Catalogue([Event("a.b", "Something.", frozenset({"x"}), frozenset({"y"}))])


@pytest.mark.parametrize(
    "fields", [{"x": "text"}, {"x": 1, "y": None}, {"x": True}, {"x": ["a", "b"]}, {"x": ()}, {"x": "e" * 512}]
)
def test_what_is_in_the_catalogue_is_recorded(fields: Fields) -> None:
    CATALOGUE.check("a.b", fields)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a.c", {"x": 1}),
        ("a.b", {}),
        ("a.b", {"x": 1, "z": 1}),
        ("a.b", {"x": "e" * (MAX_VALUE_CHARACTERS + 1)}),
        ("a.b", {"x": ["a"] * (MAX_ITEMS + 1)}),
        ("a.b", {"x": ["e" * (MAX_VALUE_CHARACTERS + 1)]}),
        ("a.b", {"x": [1]}),
        ("a.b", {"x": {"nested": 1}}),
        ("a.b", {"x": b"octets"}),
        ("a.b", {"x": 1.5}),
        ("a.b", {"x": "Bearer eyJhbGciOiJFUzI1NiJ9.eyJ9.x"}),
        ("a.b", {"x": ["eyJhbGciOiJFUzI1NiJ9.eyJ9.x"]}),
    ],
)
def test_AUD_08_what_is_not_in_the_catalogue_is_refused(name: str, fields: Fields) -> None:
    with pytest.raises(EventRefused):
        CATALOGUE.check(name, fields)


@pytest.mark.parametrize("names", [("a.b", "a.b"), ("nodot",), ("A.b",), ("a.b\n",)])
def test_a_catalogue_with_a_fault_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(EventRefused):
        Catalogue([Event(name, "", frozenset()) for name in names])


def test_a_catalogue_shows_its_events() -> None:
    assert [event.name for event in CATALOGUE.events] == ["a.b"]
