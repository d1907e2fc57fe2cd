"""Whether one rule's condition holds whenever another's does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from itertools import product
from typing import Final

from idp.policy.model import DAYS, Condition, CredentialCondition, Network, TimeCondition

MAX_CASES: Final = 256
"""Into how many a condition is taken apart, at most."""


def always(when: Condition, given: Condition) -> bool:
    """Whether ``when`` is sure to hold where ``given`` does; no means that it is not sure."""
    return (
        within(given.clients, when.clients)
        and within(given.groups, when.groups)
        and (when.credential is None or _same_credentials(when.credential, given.credential))
        and _same_attributes(when.attributes, given.attributes)
        and _same_networks(when.networks, given.networks)
        and (when.time is None or _whole_week(when.time) or when.time == given.time)
    )


def cases(when: Condition, most: int = MAX_CASES) -> Iterator[Condition]:
    """The condition, taken apart where it names several clients, groups or qualifiers, of which one is enough.

    A condition with more than ``most`` stays whole, which can only make :func:`always` less sure.
    """
    credential = when.credential or CredentialCondition()
    parts = (_each(when.clients), _each(when.groups), _each(credential.qualifiers), _each(credential.ids))
    if math.prod(map(len, parts)) > most:
        yield when
        return
    for clients, groups, qualifiers, ids in product(*parts):
        narrowed = replace(credential, qualifiers=qualifiers, ids=ids)
        yield replace(when, clients=clients, groups=groups, credential=None if when.credential is None else narrowed)


def _each(names: frozenset[str]) -> list[frozenset[str]]:
    return [frozenset({name}) for name in sorted(names)] or [names]


def within(given: frozenset[str], asked: frozenset[str]) -> bool:
    """Whether one of ``given`` is sure to be one of ``asked``; an empty ``asked`` asks for nothing."""
    return not asked or (bool(given) and given <= asked)


def _same_credentials(when: CredentialCondition, given: CredentialCondition | None) -> bool:
    return (
        given is not None
        and within(given.ids, when.ids)
        and within(given.scal, when.scal)
        and within(given.qualifiers, when.qualifiers)
    )


def _same_attributes(when: Mapping[str, frozenset[str]], given: Mapping[str, frozenset[str]]) -> bool:
    return all(within(given.get(name, frozenset()), asked) for name, asked in when.items())


def _same_networks(when: tuple[Network, ...], given: tuple[Network, ...]) -> bool:
    return not when or (bool(given) and all(any(_inside(small, large) for large in when) for small in given))


def _inside(small: Network, large: Network) -> bool:
    if isinstance(small, IPv4Network) and isinstance(large, IPv4Network):
        return small.subnet_of(large)
    return isinstance(small, IPv6Network) and isinstance(large, IPv6Network) and small.subnet_of(large)


def _whole_week(when: TimeCondition) -> bool:
    return when.days == frozenset(DAYS) and when.start == when.end
