"""Which limits a message counts under, and what happens when one is reached (OTP-07, DOS-04)."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from sqlalchemy import Connection

from connectors.ports.messaging import RecipientRefused
from foundation import log
from idp.authn import numbers
from idp.errors import NoticesHeldBack, OtpCoolDown, OtpStopped, TooManyNotices
from idp.settings import OtpSettings
from idp.storage import caps
from idp.storage.authenticators import Authenticator
from idp.storage.caps import Cap
from idp.web.services import services

_KEY: Final = "message caps"
_HOUR: Final = 60 * 60
_DAY: Final = 24 * _HOUR
_IPV6_HOUSEHOLD: Final = 64
"""Bits of an IPv6 address that a provider gives to one customer (RFC 6177): the rest is theirs to choose."""
_NOTICES_AN_HOUR: Final = 10
"""By text message to one number: whoever got so many knows, and each costs."""
_log = log.get(__name__)


class PrefixRefused(RecipientRefused):
    """The number begins like none that messages go to."""

    code = "prefix_refused"


def of(item: Authenticator, limits: OtpSettings, address: str | None, *, bound: bool = True) -> tuple[Cap, ...]:
    """The limits of a message to an authenticator.

    :param address: from where it is asked for; None: nobody knows.
    :param bound: whether it is the person's already.  Anybody with an account may type somebody else's number to bind
        it: that leaves its owner the last place, so nobody's codes are kept from them in this way (OTP-12).
    """
    window = limits.cap_minutes * 60
    most = limits.max_per_address if bound else to_bind(limits)
    found = [
        Cap("address", f"{item.kind}:{_mailbox(item.address or '')}", most, window),
        Cap("account", item.account_id, limits.max_per_account, window),
    ]
    network = _network(address)
    if network is not None:
        found.append(Cap("network", network, limits.max_per_network, window))
    if item.kind == "sms_otp":
        prefix = numbers.prefix_of(item.address or "", limits.prefix_limits)
        most = limits.prefix_limits.get(prefix, limits.max_per_prefix)
        found += (
            Cap("prefix", prefix, most, _HOUR),
            Cap("hour", "", limits.budget_an_hour, _HOUR),
            Cap("day", "", limits.budget_a_day, _DAY),
        )
    return tuple(found)


def to_bind(limits: OtpSettings) -> int:
    """Messages to one address with which somebody would bind it."""
    return max(1, limits.max_per_address - 1)


def _mailbox(address: str) -> str:
    """The same for all ways to write one mailbox that most servers take for the same: capitals, and a part of the name
    after a plus sign (RFC 5233).  A number has neither."""
    name, at, domain = address.lower().rpartition("@")
    return f"{name.partition('+')[0] or name}{at}{domain}" if at else address


def _network(address: str | None) -> str | None:
    if address is None:
        return None
    found = ip_address(address)
    return str(ip_network((found, _IPV6_HOUSEHOLD), strict=False)) if isinstance(found, IPv6Address) else str(found)


def check_prefix(item: Authenticator, limits: OtpSettings) -> None:
    """The number may be written to.

    :raises PrefixRefused: it may not.
    """
    if item.kind == "sms_otp":
        check_number(item.address or "", limits)


def check_number(number: str, limits: OtpSettings) -> None:
    """The number may be written to.

    :raises PrefixRefused: it may not.
    """
    if numbers.refused(number, allowed=limits.allowed_prefixes, denied=limits.denied_prefixes):
        raise PrefixRefused("no messages go to numbers that begin like this one")


def count(connection: Connection, own: tuple[Cap, ...], now: datetime) -> None:
    """Count a message in the transaction of its challenge, which the errors end.

    :raises OtpCoolDown: this person, address or network has had as many as may be.
    :raises OtpStopped: everybody has, or everybody whose number begins like this one.
    """
    shared = {cap.name for cap in own if cap.everybodys}
    stops = caps.stops_later(connection, now)
    reached = caps.take(connection, services().keys.secret(_KEY), own, now)
    stopped = [seconds for name, seconds in stops().items() if name in shared]
    if stopped:
        raise OtpStopped("", max(stopped))
    if reached is None:
        return
    _log.warning("a message was refused", extra={"fields": {"scope": reached.cap.scope, "seconds": reached.seconds}})
    if reached.cap.everybodys:
        raise OtpStopped(reached.cap.name, reached.seconds)
    raise OtpCoolDown(reached.seconds)


def count_notice(number: str, now: datetime, *, first: bool) -> None:
    """Count a notice by text message.  Codes do not count with them, so that none keeps a notice back.

    :param first: whether it is tried for the first time: its number has it counted once.
    :raises TooManyNotices: the number has had as many of late as may be.
    :raises NoticesHeldBack: everybody has: this one goes out later.
    """
    key, own = services().keys.secret(_KEY), Cap("notice", number, _NOTICES_AN_HOUR, _HOUR)
    with services().engine.begin() as connection:
        if first and caps.take(connection, key, (own,), now) is not None:
            raise TooManyNotices("the number was sent as many notices as may be")
    with services().engine.begin() as connection:
        reached = caps.take(connection, key, _notices(), now)
    if reached is not None:
        raise NoticesHeldBack("as many notices went out by text message as may be")


def give_back_notice(now: datetime) -> None:
    """The notice certainly did not go out."""
    with services().engine.begin() as connection:
        caps.give_back(connection, services().keys.secret(_KEY), _notices(), now)


def _notices() -> tuple[Cap, ...]:
    """As large a budget as the codes have, beside theirs."""
    limits = services().settings.otp
    return (Cap("notices_hour", "", limits.budget_an_hour, _HOUR), Cap("notices_day", "", limits.budget_a_day, _DAY))


def give_back(connection: Connection, own: tuple[Cap, ...], now: datetime) -> None:
    """The message certainly did not go out.  The network keeps its count: it asked."""
    caps.give_back(
        connection, services().keys.secret(_KEY), [cap for cap in own if cap.scope != "network"], now
    )


def stop(error: OtpStopped, limits: OtpSettings, now: datetime) -> None:
    """A budget is used up: stop the messages that it is for, once, on the record."""
    if not error.scope:
        return
    with services().engine.begin() as connection:
        if caps.stop(connection, error.scope, now, limits.stop_seconds):
            services().audit.record(connection, "messages.stopped", scope=error.scope, seconds=limits.stop_seconds)
