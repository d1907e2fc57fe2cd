"""Segments of text messages: GSM's alphabet of 7 bits and UCS-2, counted as the air does."""

from __future__ import annotations

import pytest

from connectors.ports.sms_text import BASIC, gsm_codes, plain, segments


def test_the_alphabet_is_the_standards() -> None:
    assert len(BASIC) == 128
    assert gsm_codes("@$_é§¿à") == (b"\0", b"\x02", b"\x11", b"\x05", b"\x5f", b"\x60", b"\x7f")
    assert gsm_codes("€[") == (b"\x1b\x65", b"\x1b\x3c")
    for lacking in ("`", "á", "\x1b", "😀"):
        assert gsm_codes(lacking) is None


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("x" * 306, 2),
        ("x" * 152 + "€" + "x" * 153, 3),
        ("á" * 70, 1),
        ("á" * 71, 2),
        ("😀" * 35, 1),
        ("á" * 66 + "😀" + "á" * 65, 2),
        ("á" * 66 + "😀" + "á" * 66, 3),
    ],
)
def test_segments_are_counted_and_no_character_is_cut_in_two(text: str, count: int) -> None:
    assert segments(text) == count


def test_accents_that_the_alphabet_lacks_go_only_where_that_saves_a_segment() -> None:
    assert plain("Código: año") == "Código: año"
    assert plain("Código " * 12) == "Codigo " * 12
    assert plain("¿Inició sesión? " * 6) == "¿Inicio sesion? " * 6
    assert plain("Zürich größer " * 6) == "Zürich größer " * 6
    assert plain("n’est pas à vous : ê " * 5) == "n'est pas à vous : e " * 5
    assert plain("Привет " * 20) == "Привет " * 20
