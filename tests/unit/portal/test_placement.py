"""Where a signature shows: as people measure a page, and as the page has it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from portal.errors import PlaceInvalid
from portal.placement import CORNERS, Rectangle, Sheet, Wanted, at_corner, box, packed, parse, properties, unpacked

A4 = Sheet(595.276, 841.89)
MM = 72 / 25.4


def told(wanted: Wanted, *sheets: Sheet, signer: str = "Zoë Ærø") -> dict[str, str]:
    return {
        each["attribute_name"]: base64.b64decode(each["attribute_value"]).decode()
        for each in properties(wanted, sheets, signer)
    }


def test_a_rectangle_is_measured_from_the_upper_left_and_told_from_the_lower_left() -> None:
    found = box(A4, Rectangle(10, 20, 70, 25))
    assert found == pytest.approx((10 * MM, 841.89 - 45 * MM, 80 * MM, 841.89 - 20 * MM))


@pytest.mark.parametrize(
    ("rotation", "corner", "expected"),
    [
        # 100 by 200 points; 10 points from both sides of the shown page's upper left corner, 60 wide, 24 high.
        (0, (10, 10), (10, 166, 70, 190)),
        (90, (10, 10), (10, 10, 34, 70)),
        (180, (10, 10), (30, 10, 90, 34)),
        (270, (10, 10), (66, 130, 90, 190)),
    ],
)
def test_on_a_turned_page_the_box_is_where_it_was_seen(
    rotation: int, corner: tuple[float, float], expected: tuple[float, ...]
) -> None:
    sheet = Sheet(100, 200, rotation)
    rectangle = Rectangle(corner[0] / MM, corner[1] / MM, 60 / MM, 24 / MM)
    assert box(sheet, rectangle) == pytest.approx(expected)
    left, bottom, right, top = expected
    assert box(Sheet(100, 200, rotation, 5, -7), rectangle) == pytest.approx((left + 5, bottom - 7, right + 5, top - 7))


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("sheet", [A4, Sheet(60, 40), Sheet(841.89, 595.276, 90), Sheet(3000, 200, 270, 50, 50)])
def test_a_corner_is_on_every_page(sheet: Sheet, corner: str) -> None:
    left, bottom, right, top = box(sheet, at_corner(sheet, corner))
    assert sheet.left <= left < right <= sheet.left + sheet.width + 0.01
    assert sheet.bottom <= bottom < top <= sheet.bottom + sheet.height + 0.01


@pytest.mark.parametrize(
    "rectangle",
    [
        Rectangle(-1, 10, 70, 25),
        Rectangle(10, 290, 70, 25),
        Rectangle(150, 10, 70, 25),
        Rectangle(10, 10, 0, 25),
        Rectangle(10, 10, 70, 1),
        Rectangle(10, 10, 9999, 9999),
    ],
)
def test_a_rectangle_beyond_the_page_or_too_small_to_read_is_refused(rectangle: Rectangle) -> None:
    with pytest.raises(PlaceInvalid):
        box(A4, rectangle)


def test_the_page_is_counted_from_the_front_or_is_the_last() -> None:
    assert told(Wanted("top-left", page=1), A4, A4)["Page"] == "1"
    assert told(Wanted("top-left"), A4, A4)["Page"] == "2"
    for wanted, sheets in ((Wanted("top-left", page=3), (A4, A4)), (Wanted("top-left"), ())):
        with pytest.raises(PlaceInvalid):
            properties(wanted, sheets, "Alice Example")


def test_a_name_that_cannot_be_drawn_does_not_cost_an_approval() -> None:
    for signer in ("Alice Example", "Θαλής ο Μιλήσιος", "Лев Н. Толстой", "Seán O’Neill"):
        assert "Text" not in told(Wanted("top-left"), A4, signer=signer)
    for signer in ("山田太郎", "Θαλῆς ὁ Μιλήσιος", "ə\u0301", "Ⱡ"):
        assert told(Wanted("top-left"), A4, signer=signer)["Text"] == "{time}"
    assert told(Wanted("top-left", reason="موافق"), A4)["Text"] == "{time}"
    assert "Text" not in told(Wanted(), A4, signer="山田太郎")


def test_what_is_not_wanted_is_not_told() -> None:
    assert told(Wanted(), A4) == {}
    assert told(Wanted(reason="Einverstanden, ü", page=9), A4) == {"Reason": "Einverstanden, ü"}


def test_a_form_says_a_corner_numbers_or_nothing() -> None:
    assert parse({}) == Wanted()
    assert parse({"place": "top-right", "page": "first"}) == Wanted("top-right", page=1)
    custom = {"place": "custom", "page": "number", "page_number": "7", "left": "10", "top": "20,5", "width": "70.25",
              "height": "25"}  # fmt: skip
    assert parse(custom) == Wanted(None, Rectangle(10, 20.5, 70.25, 25), 7)


@pytest.mark.parametrize(
    "form",
    [
        {"place": "nowhere"},
        {"place": "custom"},
        {"place": "custom", "left": "1", "top": "1", "width": "nan", "height": "5"},
        {"place": "custom", "left": "-1", "top": "1", "width": "50", "height": "50"},
        {"place": "custom", "left": "1e3", "top": "1", "width": "50", "height": "50"},
        {"place": "custom", "left": "١", "top": "1", "width": "50", "height": "50"},
        {"place": "top-left", "page": "number", "page_number": "0"},
        {"place": "top-left", "page": "number"},
        {"place": "top-left", "page": "middle"},
        {"reason": "a" * 101},
        {"reason": "two\nlines"},
        {"location": "hidden\u202e"},
    ],
)
def test_what_is_no_place_is_refused(form: dict[str, Any]) -> None:
    with pytest.raises(PlaceInvalid):
        parse(form)


def test_pages_of_one_kind_are_kept_as_one() -> None:
    turned = Sheet(842, 595, 90, 1, 2)
    sheets = (*[A4] * 500, turned, A4)
    assert len(packed(sheets)) == 3
    assert unpacked(packed(sheets)) == sheets
