"""Time zones by their names in the IANA database, in the edition that this product was locked with.

A policy must decide the same on every machine, so the operating system's own files play no part.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]  # data with a module around it

_PACKAGE: Final = Path(tzdata.__file__).parent
ZONES: Final = frozenset((_PACKAGE / "zones").read_text(encoding="utf-8").split())
"""Every name."""


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of that name.

    :raises KeyError: there is none.
    """
    if name not in ZONES:
        raise KeyError(name)
    with _PACKAGE.joinpath("zoneinfo", *name.split("/")).open("rb") as stream:
        return ZoneInfo.from_file(stream, key=name)
