"""Checks a request against its schema in the document, and refuses it in the specification's words.

The first fault is told, in the order in which the document has the members.  A member that must be there, or has the
wrong type, is ``Missing (or invalid type) TYPE parameter NAME``; what else is wrong with it is ``Invalid parameter
NAME``; ``x-error`` of the member's schema says otherwise, by keyword, and ``x-name`` what the member is called there.
Inside a member with ``x-deep: false`` the method looks for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from signing.csc import errors
from signing.csc.openapi import quick

_OF_TYPE: Final = frozenset({"required", "type", "minLength"})
"""Keywords whose failure is the same as the member's absence."""
_CHOSEN: Final = frozenset({"boolean", "null"})
"""Types for which the specification has no complaint of that kind."""
_MOST_ITEMS: Final = 1000
"""Of a list whose schema does not say; a longer one is the method's own to refuse."""


def _whole(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not quick.anchored(pattern).search(instance):
        yield ValidationError("another form")


def _items(validator: Any, items: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Up to the first item that is wrong: all are told of in the same words, and each costs as much as a signature.

    Into a list that is too long by itself nobody looks (DOS-01).
    """
    if not isinstance(instance, list) or len(instance) > schema.get("maxItems", _MOST_ITEMS):
        return
    for place, item in enumerate(instance):
        faults = list(validator.descend(item, items, path=place))
        if faults:
            yield from faults
            return


_Validator: Final = extend(Draft202012Validator, {"pattern": _whole, "items": _items})


class RequestCheck:
    """The check of one method's requests."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """:param schema: without references."""
        self._schema = schema
        self._validator = _Validator(schema)
        self._quick = quick.compiled(schema)
        self.members = frozenset(schema["properties"])
        """Names of what a request may have."""
        self._order = {name: place for place, name in enumerate(schema["properties"])}

    def check(self, body: Mapping[str, Any]) -> None:
        """:raises errors.InvalidRequest: with the text for the first fault."""
        if self._quick is not None and self._quick(body):
            return
        faults = [self._described(fault) for fault in self._validator.iter_errors(body) if not self._is_left(fault)]
        if faults:
            raise errors.InvalidRequest(min(faults)[-1])

    def _is_left(self, fault: ValidationError) -> bool:
        """Inside a member of which the method itself tells what is wrong, more exactly."""
        path = fault.absolute_path
        return len(path) > 1 and self._schema["properties"].get(path[0], {}).get("x-deep") is False

    def _described(self, fault: ValidationError) -> tuple[int, int, str]:
        """Its place among the faults, and its text."""
        keyword, last = str(fault.validator), len(self._order)
        if keyword == "required":
            missing = [name for name in fault.validator_value if name not in fault.instance]
            name = min(missing, key=lambda each: self._order.get(each, last))
        elif fault.absolute_path:
            name = str(fault.absolute_path[0])
        else:
            return last, 0, str(self._schema.get("x-error", {}).get(keyword, errors.OUT_OF_BOUNDS))
        inside = len(fault.absolute_path) > 1
        text = _text(name, self._schema["properties"].get(name, {}), keyword, inside=inside)
        return self._order.get(name, last), keyword not in _OF_TYPE, text


def _text(name: str, member: Mapping[str, Any], keyword: str, *, inside: bool) -> str:
    own = member.get("x-error", {})
    # What is wrong inside a list or an object is wrong with its items, whatever it is.
    found = own.get("items" if inside else keyword, own.get("any"))
    if found is not None:
        return str(found)
    called, kind = member.get("x-name", name), _kind(member)
    if keyword in _OF_TYPE and not inside and kind not in _CHOSEN and "enum" not in member:
        return errors.missing(kind, called).description
    return errors.invalid(called).description


def _kind(member: Mapping[str, Any]) -> str:
    kind = member.get("type", "null")
    return str(kind[0] if isinstance(kind, list) else kind)
