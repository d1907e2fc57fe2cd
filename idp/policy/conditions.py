"""Whether a rule's condition holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

from idp.policy.model import DAYS, Condition, CredentialCondition, CredentialFacts, Facts, Network, TimeCondition
from idp.policy.zones import zone

Address = IPv4Address | IPv6Address


class Circumstances:
    """What conditions look at, each part worked out once for all rules."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._address = _address(facts.network)
        self._local: dict[str, datetime] = {}

    def meet(self, when: Condition) -> bool:
        """Whether every part of the condition holds."""
        facts = self._facts
        return (
            (not when.clients or facts.client_id in when.clients)
            and (not when.groups or not when.groups.isdisjoint(facts.groups))
            and (when.credential is None or _about(when.credential, facts.credential))
            and (not when.attributes or has_attributes(when.attributes, facts.attributes))
            and (not when.networks or self._within(when.networks))
            and (when.time is None or _during(when.time, self._at(when.time.zone)))
        )

    def _within(self, networks: tuple[Network, ...]) -> bool:
        address = self._address
        return address is not None and any(address in network for network in networks)

    def _at(self, name: str) -> datetime:
        if name not in self._local:
            self._local[name] = self._facts.now.astimezone(zone(name))
        return self._local[name]


def applies(when: Condition, facts: Facts) -> bool:
    """Whether one condition holds."""
    return Circumstances(facts).meet(when)


def has_attributes(wanted: Mapping[str, frozenset[str]], given: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether each attribute is there with one of the values."""
    return all(not allowed.isdisjoint(given.get(name, ())) for name, allowed in wanted.items())


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


def _during(when: TimeCondition, local: datetime) -> bool:
    """Whether the clock on the wall of that zone shows a time within the window.

    Where clocks are put back, the hour that comes twice is inside or outside both times; where they are put forward,
    the hour that is left out never comes.
    """
    clock = local.time()
    today, yesterday = DAYS[local.weekday()], DAYS[(local.weekday() - 1) % len(DAYS)]
    if when.start < when.end:
        return today in when.days and when.start <= clock < when.end
    return (today in when.days and clock >= when.start) or (yesterday in when.days and clock < when.end)
