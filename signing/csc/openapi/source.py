"""What the documents are written in: ``data/*.yaml``, one file a method, for all dialects at once, with v2 names.

In a method's file a request's member may be a name alone, or have ``use``: a name of ``_members.yaml``.  Whatever
has ``x-dialects`` is there in those dialects only.  ``x-error`` maps a JSON Schema keyword to the text of the refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_DATA: Final = Path(__file__).parent / "data"


@cache
def of_method(name: str) -> Mapping[str, Any] | None:
    """A method's file; None where there is none."""
    path = _DATA / f"{name.replace('/', '-')}.yaml"
    return _read(path) if path.is_file() else None


@cache
def members() -> Mapping[str, Any]:
    """Members that several requests have, by name."""
    return _read(_DATA / "_members.yaml")


@cache
def common() -> Mapping[str, Any]:
    """What is not a method's: text, components, security."""
    return _read(_DATA / "_common.yaml")


def described() -> frozenset[str]:
    """The methods that have a file."""
    names = (path.stem for path in _DATA.glob("*.yaml"))
    return frozenset(name.replace("-", "/", 1) for name in names if not name.startswith("_"))


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return value


def of_dialect(value: Any, dialect: str) -> Any:
    """A copy of what a dialect has."""
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if key != "x-dialects" and _is_of(item, dialect)}
        return {key: of_dialect(item, dialect) for key, item in kept.items()}
    if isinstance(value, list):
        return [of_dialect(item, dialect) for item in value if _is_of(item, dialect)]
    return value


def _is_of(item: Any, dialect: str) -> bool:
    return not isinstance(item, Mapping) or dialect in item.get("x-dialects", (dialect,))
