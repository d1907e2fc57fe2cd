"""Typed settings from one TOML file and the environment, with all faults reported at once.

A settings class is a frozen dataclass.  A field that is itself a dataclass is a TOML table, ``dict[str,
<dataclass>]`` a table of named tables; a default makes a key optional; a key that no field has is refused, since a
misspelt restriction must not be silently absent.  A variable ``PRIVYSEAL_<PREFIX>_<KEY>`` (``__`` between table and
key) overrides a key of the file.  Secrets are never values: they are paths of owner-only files, so they show up
neither in a process listing nor in a crash report.

A settings class may have a method ``faults(self) -> Iterable[str]`` for what types cannot say, production refusals
among them.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, Union

from foundation.errors import SettingsError

T = TypeVar("T")

MAX_FILE_OCTETS: Final = 256 * 1024
Mode = Literal["production", "development"]


class _Absent:
    """Marks a key that neither the file nor the environment has."""


_ABSENT: Final = _Absent()


def process_environment() -> Mapping[str, str]:
    """The environment of this process: read here and nowhere else."""
    return os.environ  # noqa: TID251 - this is the one place


def load(cls: type[T], path: Path, *, prefix: str, environ: Mapping[str, str] | None = None) -> T:
    """Read settings.

    :param prefix: component name in the names of environment variables, such as ``IDP``.
    :raises SettingsError: the file cannot be read, or has faults; all of them are named.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError((f"{path}: cannot be read ({error.strerror})",)) from error
    if len(data) > MAX_FILE_OCTETS:
        raise SettingsError((f"{path}: larger than {MAX_FILE_OCTETS} octets",))
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        raise SettingsError((f"{path}: not TOML ({error})",)) from error
    environment = process_environment() if environ is None else environ
    return from_table(cls, table, base=path.parent, environ=environment, prefix=prefix)


def from_table(
    cls: type[T], table: Mapping[str, Any], *, base: Path, environ: Mapping[str, str] | None = None, prefix: str = ""
) -> T:
    """Build settings from a parsed table; relative paths are resolved against ``base``.

    :raises SettingsError: all faults.
    """
    reader = _Reader(base, environ or {}, f"PRIVYSEAL_{prefix.upper()}_")
    value = reader.dataclass(cls, table, ())
    if not reader.faults:
        reader.faults.extend(_own_faults(value))
    if reader.faults:
        raise SettingsError(tuple(reader.faults))
    return typing.cast("T", value)


def _own_faults(value: object, where: str = "") -> Iterator[str]:
    if dataclasses.is_dataclass(value):
        check = getattr(value, "faults", None)
        if callable(check):
            yield from (f"{where}{fault}" for fault in check())
        for field in dataclasses.fields(value):
            yield from _own_faults(getattr(value, field.name), f"{where}{field.name}.")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _own_faults(item, f"{where}{name}.")


class _Reader:
    def __init__(self, base: Path, environ: Mapping[str, str], prefix: str) -> None:
        self._base = base
        self._environ = environ
        self._prefix = prefix
        self.faults: list[str] = []

    def dataclass(self, cls: type[Any], table: object, where: tuple[str, ...]) -> Any:
        if not isinstance(table, Mapping):
            return self._fault(where, "must be a table")
        hints = typing.get_type_hints(cls)
        fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
        for name in table:
            if name not in fields:
                self._fault((*where, name), "is not a setting")
        values: dict[str, Any] = {}
        for name, field in fields.items():
            here = (*where, name)
            given = self._given(here, hints[name], table)
            if given is not _ABSENT:
                values[name] = self._value(hints[name], given, here)
            elif _has_default(field):
                continue
            elif dataclasses.is_dataclass(hints[name]):
                values[name] = self.dataclass(typing.cast("type[Any]", hints[name]), {}, here)
            else:
                self._fault(here, "is missing")
        return None if self.faults else cls(**values)

    def _given(self, where: tuple[str, ...], hint: Any, table: Mapping[str, Any]) -> Any:
        variable = self._prefix + "__".join(where).upper()
        if variable in self._environ and not dataclasses.is_dataclass(hint):
            return _from_text(self._environ[variable], hint)
        if where[-1] not in table:
            nested = dataclasses.is_dataclass(hint) and any(name.startswith(f"{variable}__") for name in self._environ)
            return {} if nested else _ABSENT
        return table[where[-1]]

    def _value(self, hint: Any, given: Any, where: tuple[str, ...]) -> Any:
        origin = typing.get_origin(hint)
        arguments = typing.get_args(hint)
        if origin in {Union, types.UnionType}:
            return self._value(next(item for item in arguments if item is not type(None)), given, where)
        if origin is Literal:
            allowed = ", ".join(map(str, arguments))
            return given if given in arguments else self._fault(where, f"must be one of {allowed}")
        if origin is tuple:
            return self._items(arguments[0], given, where)
        if origin in {dict, Mapping} or getattr(origin, "__name__", "") == "Mapping":
            return self._named(arguments[1], given, where)
        if dataclasses.is_dataclass(hint):
            return self.dataclass(typing.cast("type[Any]", hint), given, where)
        return self._scalar(hint, given, where)

    def _items(self, hint: Any, given: Any, where: tuple[str, ...]) -> Any:
        if not isinstance(given, list):
            return self._fault(where, "must be a list")
        return tuple(self._value(hint, item, (*where, str(number))) for number, item in enumerate(given))

    def _named(self, hint: Any, given: Any, where: tuple[str, ...]) -> Any:
        if not isinstance(given, Mapping):
            return self._fault(where, "must be a table")
        if hint is Any or hint is object:
            return dict(given)
        return {str(name): self._value(hint, item, (*where, str(name))) for name, item in given.items()}

    def _scalar(self, hint: Any, given: Any, where: tuple[str, ...]) -> Any:
        if hint is Path:
            return self._base / given if isinstance(given, str) and given else self._fault(where, "must be a path")
        if hint is float and isinstance(given, int) and not isinstance(given, bool):
            return float(given)
        if not isinstance(given, hint) or (isinstance(given, bool) and hint is not bool):
            names = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
            return self._fault(where, f"must be {names.get(hint, hint)}")
        return given

    def _fault(self, where: tuple[str, ...], text: str) -> None:
        # The value is left out on purpose: somebody may have written a secret where a path belongs.
        self.faults.append(f"{'.'.join(where) or 'the file'} {text}")


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _from_text(text: str, hint: Any) -> Any:
    """A variable's text in the type that TOML would have given it; left as it is where it does not fit."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in {Union, types.UnionType} else (hint,)
    if bool in kinds:
        return {"true": True, "false": False}.get(text.lower(), text)
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                return text
    if any(typing.get_origin(kind) is tuple for kind in kinds):
        return [item.strip() for item in text.split(",") if item.strip()]
    return text
