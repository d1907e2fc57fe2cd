"""Whether a rule's condition holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

from idp.policy.index import Clause
from idp.policy.model import DAYS, Condition, CredentialCondition, CredentialFacts, Facts, TimeCondition
from idp.policy.zones import zone

Address = IPv4Address | IPv6Address


class Circumstances:
    """What conditions look at, each part worked out once for all rules."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        address = _address(facts.network)
        self._version = 0 if address is None else address.version
        self._number = 0 if address is None else int(address)
        self._clocks: dict[str, tuple[int, int]] = {}
        self._met: dict[int, bool] = {}

    def applying(self, clauses: Iterable[Clause]) -> list[Clause]:
        """Those of the rules whose conditions hold; what several share is looked at once."""
        client, met = self._facts.client_id, self._met
        found = []
        for clause in clauses:
            if clause.clients and client not in clause.clients:
                continue
            rest = clause.circumstances
            holds = met.get(id(rest))
            if holds is None:
                holds = met[id(rest)] = self.meet(rest)
            if holds:
                found.append(clause)
        return found

    def meet(self, when: Condition) -> bool:
        """Whether every part of the condition holds."""
        facts = self._facts
        if when.clients and facts.client_id not in when.clients:
            return False
        if when.groups and when.groups.isdisjoint(facts.groups):
            return False
        if when.credential is not None and not _about(when.credential, facts.credential):
            return False
        if when.attributes and not has_attributes(when.attributes, facts.attributes):
            return False
        if when.ranges and not self._within(when.ranges):
            return False
        return when.time is None or self._during(when.time)

    def _within(self, ranges: tuple[tuple[int, int, int], ...]) -> bool:
        for version, mask, first in ranges:
            inside = self._number & mask == first
            if inside and version == self._version:
                return True
        return False

    def _during(self, when: TimeCondition) -> bool:
        """Whether the clock on the wall of that zone shows a time within the window.

        Where clocks are put back, the hour that comes twice is inside or outside both times; where they are put
        forward, the hour that is left out never comes.
        """
        if when.zone not in self._clocks:
            self._clocks[when.zone] = _wall_clock(self._facts.now, when.zone)
        today, second = self._clocks[when.zone]
        days, start, end = when.window
        if start < end:
            return today in days and start <= second < end
        return (today in days and second >= start) or ((today - 1) % len(DAYS) in days and second < end)


def applies(when: Condition, facts: Facts) -> bool:
    """Whether one condition holds."""
    return Circumstances(facts).meet(when)


def has_attributes(wanted: Mapping[str, frozenset[str]], given: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether each attribute is there with one of the values."""
    for name, allowed in wanted.items():
        values = given.get(name, ())
        if allowed.isdisjoint(values):
            return False
    return True


def _address(text: str | None) -> Address | None:
    """The address that a request comes from.  A socket for both families shows an IPv4 peer as ``::ffff:192.0.2.7``
    (RFC 4291, 2.5.5.2): that is the IPv4 address."""
    try:
        found = ip_address(text or "")
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _about(when: CredentialCondition, credential: CredentialFacts | None) -> bool:
    if credential is None:
        return False
    return (
        (not when.ids or credential.id in when.ids)
        and (not when.scal or credential.scal in when.scal)
        and (not when.qualifiers or credential.qualifier in when.qualifiers)
    )


def _wall_clock(now: datetime, name: str) -> tuple[int, int]:
    """The weekday (Monday is 0) and the second of the day in a zone."""
    local = now.astimezone(zone(name))
    return local.weekday(), local.hour * 3600 + local.minute * 60 + local.second
