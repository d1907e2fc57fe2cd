"""Whether a rule's condition holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv6Address, ip_address

from idp.policy.model import DAYS, Condition, CredentialCondition, CredentialFacts, Facts, Network, TimeCondition
from idp.policy.zones import zone


def applies(when: Condition, facts: Facts) -> bool:
    """Whether every part of the condition holds."""
    return (
        (not when.clients or facts.client_id in when.clients)
        and (not when.groups or bool(when.groups & facts.groups))
        and (when.credential is None or _about(when.credential, facts.credential))
        and (not when.attributes or has_attributes(when.attributes, facts.attributes))
        and (not when.networks or _within(when.networks, facts.network))
        and (when.time is None or _during(when.time, facts.now))
    )


def has_attributes(wanted: Mapping[str, frozenset[str]], given: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether each attribute is there with one of the values."""
    return all(not allowed.isdisjoint(given.get(name, ())) for name, allowed in wanted.items())


def _about(when: CredentialCondition, credential: CredentialFacts | None) -> bool:
    if credential is None:
        return False
    return (
        (not when.ids or credential.id in when.ids)
        and (not when.scal or credential.scal in when.scal)
        and (not when.qualifiers or credential.qualifier in when.qualifiers)
    )


def _within(networks: tuple[Network, ...], address: str | None) -> bool:
    """Whether one of the networks has the address.  A socket for both families shows an IPv4 peer as
    ``::ffff:192.0.2.7`` (RFC 4291, 2.5.5.2): that is the IPv4 address."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def _during(when: TimeCondition, now: datetime) -> bool:
    """Whether the clock on the wall of that zone shows a time within the window.

    Where clocks are put back, the hour that comes twice is inside or outside both times; where they are put forward,
    the hour that is left out never comes.
    """
    local = now.astimezone(zone(when.zone))
    clock = local.time()
    today, yesterday = DAYS[local.weekday()], DAYS[(local.weekday() - 1) % len(DAYS)]
    if when.start < when.end:
        return today in when.days and when.start <= clock < when.end
    return (today in when.days and clock >= when.start) or (yesterday in when.days and clock < when.end)
