"""Which memory is put into large pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundation import memory
from foundation.memory import _in_use, use_large_pages

_MEBI = 1024 * 1024


def _mapping(begin: int, size: int, there: int, *, rights: str = "rw-p", about: str = "00:00 0") -> str:
    sizes = f"Size: {size // 1024} kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n"
    return f"{begin:x}-{begin + size:x} {rights} 00000000 {about} \n{sizes}Rss: {there // 1024:>17} kB\nPss: 0 kB\n"


def test_what_large_pages_fit_into() -> None:
    begin = 0x7F00_0010_0000
    assert list(_in_use(_mapping(begin, 6 * _MEBI, 6 * _MEBI))) == [(0x7F00_0020_0000, 0x7F00_0060_0000)]


def test_the_heap_counts_too() -> None:
    heap = _mapping(0x5555_0000_0000, 4 * _MEBI, 4 * _MEBI, about="00:00 0                                  [heap]")
    assert list(_in_use(heap.replace("[heap] ", "[heap]"))) == [(0x5555_0000_0000, 0x5555_0040_0000)]


def test_what_is_hardly_used_stays() -> None:
    # Such as a thread's stack.
    assert not list(_in_use(_mapping(0x7F00_0000_0000, 8 * _MEBI, 100 * 1024)))


def test_files_and_what_is_only_read_stay() -> None:
    mapped = _mapping(0x7F00_0000_0000, 8 * _MEBI, 8 * _MEBI, about="fe:00 247278 /usr/lib/libpq.so")
    read = _mapping(0x7F00_4000_0000, 8 * _MEBI, 8 * _MEBI, rights="r--p")
    assert not list(_in_use(mapped + read))


def test_what_is_too_small_stays() -> None:
    assert not list(_in_use(_mapping(0x7F00_0010_0000, 2 * _MEBI, 2 * _MEBI)))


def test_the_process_goes_on_with_what_it_had() -> None:
    kept = [str(number) * 20 for number in range(100_000)]
    assert use_large_pages() % (2 * _MEBI) == 0
    assert kept == [str(number) * 20 for number in range(100_000)]


def test_where_the_system_does_not_tell_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for absent in (tmp_path / "smaps", tmp_path):
        monkeypatch.setattr(memory, "_MAPPINGS", absent)
        assert use_large_pages() == 0
