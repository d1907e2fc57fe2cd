"""Limits of factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from idp.policy.document import Mapping as MappingNode
from idp.policy.document import Node
from idp.policy.evidence import FACTORS
from idp.policy.keys import LIMIT_KEYS, MAX_FAILURES, MIN_LENGTH
from idp.policy.loading import Loading
from idp.policy.model import FactorLimits, Transfer
from idp.policy.schema import Fields

_TRANSFERS: Final[tuple[Transfer, ...]] = get_args(Transfer)


def factors(loading: Loading, node: Node | None) -> Mapping[str, FactorLimits]:
    """The limits that the file sets, by factor."""
    read = loading.read
    found = {}
    for key, value in read.entries(node, "factors"):
        keys = LIMIT_KEYS.get(key.text)
        if keys is not None:
            fields = read.fields(value, f"limits of {key.text}", keys)
            if value == MappingNode(value.where, ()):
                read.fault(value.where, f"{key.text} has no limit")
            found[key.text] = _limits(loading, key.text, fields)
        elif key.text in FACTORS:
            read.fault(key.where, f"factor '{key.text}' has no limits; those that do are {', '.join(LIMIT_KEYS)}")
        else:
            read.fault(key.where, f"unknown factor '{key.text}'; known are {', '.join(LIMIT_KEYS)}")
    if node is not None and not found:
        read.fault(node.where, "factors names no factor")
    return found


def _limits(loading: Loading, factor: str, fields: Fields) -> FactorLimits:
    read = loading.read
    return FactorLimits(
        where=fields.where,
        factor=factor,
        min_length=read.optional_integer(fields.get("min_length"), "min_length", *MIN_LENGTH),
        lifetime=read.duration(fields.get("lifetime"), "lifetime"),
        step=read.duration(fields.get("step"), "step"),
        max_failures=read.optional_integer(fields.get("max_failures"), "max_failures", *MAX_FAILURES),
        reset_on_resend=read.boolean(fields.get("reset_on_resend"), "reset_on_resend"),
        restricted_notice=read.boolean(fields.get("restricted_notice"), "restricted_notice"),
        transfer=read.choice(fields.get("transfer"), "transfer", _TRANSFERS),
    )
