"""Writes TOML: tables of strings, numbers, truth values, paths, lists of them, and tables, which lists may have too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def dumps(table: Mapping[str, object]) -> str:
    """The TOML text of a table; a member that is None is left out."""
    return "".join(_lines(table, ()))


def _lines(table: Mapping[str, object], path: tuple[str, ...]) -> list[str]:
    plain = {name: value for name, value in table.items() if value is not None and not isinstance(value, Mapping)}
    tables = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{_key(name)} = {_value(value)}\n" for name, value in plain.items()]
    for name, value in tables.items():
        here = (*path, name)
        lines += [f"\n[{'.'.join(map(_key, here))}]\n", *_lines(value, here)]
    return lines


def _key(name: str) -> str:
    return name if BARE_KEY.match(name) else _string(name)


def _string(text: str) -> str:
    # JSON's escapes are TOML's; DEL is the one character that JSON leaves bare and TOML does not allow so.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str | Path):
        return _string(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items()) + "}"
    raise TypeError(f"{type(value).__name__} has no TOML form here")
