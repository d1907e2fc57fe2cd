"""A schema as plain functions that tell in microseconds that a request is as it should be.

Nearly every request is.  Only one that is not is looked through by the JSON Schema library, which knows what is wrong
with it; the library spends a millisecond on a hundred digests.  A keyword that is not known here is never decided here:
there is then no such function, and the library looks at every request.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

Check = Callable[[Any], bool]

_ANNOTATIONS: Final = frozenset({"description", "default", "contentEncoding", "title", "examples"})
_TEXT_TYPES: Final = ("string", ["string", "null"])
_TEXT_KEYWORDS: Final = frozenset({"type", "minLength", "maxLength", "pattern"})
_TYPES: Final[Mapping[str, type]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
}


class _UnknownError(Exception):
    """A keyword, or a use of one, that is not known here."""


def compiled(schema: Mapping[str, Any]) -> Check | None:
    """A function that is true of what is valid, and of nothing else; None where there is none for this schema."""
    try:
        return _all(schema)
    except _UnknownError:
        return None


def anchored(pattern: str) -> re.Pattern[str]:
    """ECMA-262's ``$`` is the end; Python's is also before a newline at the end."""
    return re.compile(re.sub(r"\$$", r"\\Z", pattern))


def _all(schema: Mapping[str, Any]) -> Check:
    told = {name: value for name, value in schema.items() if not _is_annotation(name)}
    if told.get("type") in _TEXT_TYPES and told.keys() <= _TEXT_KEYWORDS:
        return _text(told)
    return _all_of([check for name, value in told.items() for check in _keyword(name, value, schema)])


def _is_annotation(name: str) -> bool:
    return name in _ANNOTATIONS or name.startswith("x-")


def _text(schema: Mapping[str, Any]) -> Check:
    """All keywords of a text in one function: most members are texts, and a hundred digests are."""
    low, high = schema.get("minLength", 0), schema.get("maxLength", sys.maxsize)
    search = anchored(schema["pattern"]).search if "pattern" in schema else None
    or_null = schema["type"] != "string"

    def check(found: Any) -> bool:
        if type(found) is str:
            return low <= len(found) <= high and (search is None or search(found) is not None)
        return or_null and found is None

    return check


def _keyword(name: str, value: Any, schema: Mapping[str, Any]) -> list[Check]:
    if name == "then" and "if" in schema:
        return []
    make = _KEYWORDS.get(name)
    if make is None:
        raise _UnknownError
    return [make(value, schema)]


def _type(value: Any, _schema: Mapping[str, Any]) -> Check:
    names = value if isinstance(value, list) else [value]
    if not set(names) <= _TYPES.keys():
        raise _UnknownError
    # By the very type: True is no integer.  1.0 is one to the library, which then is asked.
    kinds = frozenset(_TYPES[each] for each in names)
    return lambda found: type(found) in kinds


def _min_length(value: int, _schema: Mapping[str, Any]) -> Check:
    return lambda found: not isinstance(found, str) or len(found) >= value


def _max_length(value: int, _schema: Mapping[str, Any]) -> Check:
    return lambda found: not isinstance(found, str) or len(found) <= value


def _pattern(value: str, _schema: Mapping[str, Any]) -> Check:
    search = anchored(value).search
    return lambda found: not isinstance(found, str) or search(found) is not None


def _min_items(value: int, _schema: Mapping[str, Any]) -> Check:
    return lambda found: not isinstance(found, list) or len(found) >= value


def _max_items(value: int, _schema: Mapping[str, Any]) -> Check:
    return lambda found: not isinstance(found, list) or len(found) <= value


def _minimum(value: int, _schema: Mapping[str, Any]) -> Check:
    return lambda found: not _is_number(found) or found >= value


def _maximum(value: int, _schema: Mapping[str, Any]) -> Check:
    return lambda found: not _is_number(found) or found <= value


def _items(value: Mapping[str, Any], _schema: Mapping[str, Any]) -> Check:
    check = _all(value)
    return lambda found: not isinstance(found, list) or all(map(check, found))


def _properties(value: Mapping[str, Any], _schema: Mapping[str, Any]) -> Check:
    checks = {name: _all(each) for name, each in value.items()}

    def check(found: Any) -> bool:
        if isinstance(found, dict):
            for name, item in found.items():
                # A member that no schema names may be anything.
                if name in checks and not checks[name](item):
                    return False
        return True

    return check


def _min_properties(value: int, _schema: Mapping[str, Any]) -> Check:
    return lambda found: not isinstance(found, dict) or len(found) >= value


def _additional(value: Any, schema: Mapping[str, Any]) -> Check:
    if value is not False or "properties" not in schema:
        raise _UnknownError
    names = frozenset(schema["properties"])
    return lambda found: not isinstance(found, dict) or found.keys() <= names


def _required(value: list[str], _schema: Mapping[str, Any]) -> Check:
    names = frozenset(value)
    return lambda found: not isinstance(found, dict) or names <= found.keys()


def _enum(value: list[Any], _schema: Mapping[str, Any]) -> Check:
    # Texts and null only: of numbers and booleans JSON and Python differ in what is the same.
    if not all(each is None or isinstance(each, str) for each in value):
        raise _UnknownError
    return lambda found: any(found is each or (isinstance(found, str) and found == each) for each in value)


def _const(value: Any, _schema: Mapping[str, Any]) -> Check:
    return _enum([value], _schema)


def _every(value: list[Mapping[str, Any]], _schema: Mapping[str, Any]) -> Check:
    return _all_of([_all(each) for each in value])


def _if(value: Mapping[str, Any], schema: Mapping[str, Any]) -> Check:
    if "else" in schema or not _is_exact(value):
        raise _UnknownError
    condition, consequence = _all(value), _all(schema.get("then", {}))
    return lambda found: not condition(found) or consequence(found)


def _is_exact(schema: Mapping[str, Any]) -> bool:
    """Whether a condition's *no* is one: it asks for members and for their texts only."""
    members = schema.get("properties", {})
    return schema.keys() <= {"required", "properties"} and all(each.keys() == {"const"} for each in members.values())


def _all_of(checks: list[Check]) -> Check:
    """All of them; a loop, since a generator for each member costs more than the checks."""
    if len(checks) == 1:
        return checks[0]

    def every(found: Any) -> bool:
        for check in checks:  # noqa: SIM110 - all() would take a generator
            if not check(found):
                return False
        return True

    return every


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


_KEYWORDS: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], Check]]] = {
    "type": _type,
    "minLength": _min_length,
    "maxLength": _max_length,
    "pattern": _pattern,
    "minItems": _min_items,
    "maxItems": _max_items,
    "minimum": _minimum,
    "maximum": _maximum,
    "items": _items,
    "properties": _properties,
    "required": _required,
    "minProperties": _min_properties,
    "additionalProperties": _additional,
    "enum": _enum,
    "const": _const,
    "allOf": _every,
    "if": _if,
}
