"""Typed settings: every fault at once, nothing silently ignored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from foundation.errors import SettingsError
from foundation.settings import from_table, load


@dataclass(frozen=True)
class Door:
    colour: Literal["red", "blue"]
    width: float = 1.0

    def faults(self) -> Iterator[str]:
        if self.width > 9:
            yield "width is too large"


@dataclass(frozen=True)
class House:
    name: str
    key: Path
    door: Door
    floors: int = 1
    lit: bool = False
    nickname: str | None = None
    guests: tuple[str, ...] = ()
    rooms: dict[str, Door] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)


GOOD = """
name = "home"
key = "secrets/key"
floors = 2
lit = true
guests = ["a", "b"]
[door]
colour = "red"
width = 2
[rooms.north]
colour = "blue"
[free]
anything = [1, 2]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "house.toml"
    path.write_text(text)
    return path


def test_a_good_file_becomes_a_typed_value(tmp_path: Path) -> None:
    house = load(House, write(tmp_path, GOOD), prefix="HOUSE", environ={})
    assert house == House(
        "home", tmp_path / "secrets/key", Door("red", 2.0), 2, True, None, ("a", "b"), {"north": Door("blue")},
        {"anything": [1, 2]},
    )  # fmt: skip


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    bad = 'nmae = "x"\nfloors = "two"\nlit = 1\nkey = 5\nguests = "a"\nrooms = 3\n[door]\ncolour = "green"\n'
    with pytest.raises(SettingsError) as caught:
        load(House, write(tmp_path, bad), prefix="HOUSE", environ={})
    text = str(caught.value)
    for expected in ("nmae is not a setting", "name is missing", "floors", "lit", "key", "guests", "rooms", "colour"):
        assert expected in text
    assert len(caught.value.faults) == 8


def test_a_fault_never_quotes_the_value(tmp_path: Path) -> None:
    bad = GOOD.replace('key = "secrets/key"', "key = 123456789")
    with pytest.raises(SettingsError) as caught:
        load(House, write(tmp_path, bad), prefix="HOUSE", environ={})
    assert "123456789" not in str(caught.value)


def test_a_class_can_add_checks_and_their_place_is_named(tmp_path: Path) -> None:
    bad = GOOD.replace("width = 2", "width = 10") + "[rooms.south]\ncolour='red'\nwidth=11\n"
    with pytest.raises(SettingsError) as caught:
        load(House, write(tmp_path, bad), prefix="HOUSE", environ={})
    assert caught.value.faults == ("door.width is too large", "rooms.south.width is too large")


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environ = {
        "PRIVYSEAL_HOUSE_FLOORS": "7",
        "PRIVYSEAL_HOUSE_LIT": "false",
        "PRIVYSEAL_HOUSE_GUESTS": "c, d",
        "PRIVYSEAL_HOUSE_DOOR__COLOUR": "blue",
        "PRIVYSEAL_HOUSE_NICKNAME": "den",
        "PRIVYSEAL_OTHER_NAME": "no",
    }
    house = load(House, write(tmp_path, GOOD), prefix="HOUSE", environ=environ)
    assert (house.floors, house.lit, house.guests, house.door.colour) == (7, False, ("c", "d"), "blue")
    assert (house.nickname, house.name) == ("den", "home")


@pytest.mark.parametrize("name", ["FLOORS", "LIT"])
def test_a_variable_of_the_wrong_type_is_a_fault(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=name.lower()):
        load(House, write(tmp_path, GOOD), prefix="HOUSE", environ={f"PRIVYSEAL_HOUSE_{name}": "many"})


def test_a_table_can_come_from_the_environment_alone() -> None:
    table = {"name": "n", "key": "k"}
    house = from_table(
        House, table, base=Path("/b"), environ={"PRIVYSEAL_H_DOOR__COLOUR": "red"}, prefix="H"
    )
    assert house.door.colour == "red"
    with pytest.raises(SettingsError, match=r"door\.colour is missing"):
        from_table(House, table, base=Path("/b"))


def test_what_is_not_toml_or_not_there_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not TOML"):
        load(House, write(tmp_path, "= nonsense"), prefix="H", environ={})
    with pytest.raises(SettingsError, match="cannot be read"):
        load(House, tmp_path / "missing.toml", prefix="H", environ={})
    with pytest.raises(SettingsError, match="larger"):
        load(House, write(tmp_path, "#" * 300_000), prefix="H", environ={})
