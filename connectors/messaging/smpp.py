"""SMS through an operator's or an aggregator's SMS centre: SMPP 3.4, over TLS."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from connectors.messaging.smpp_session import Monotonic, Session, bind, refused
from connectors.messaging.smpp_wire import Alphabet, BadPdu, Long, Part, parts_of
from connectors.ports.messaging import (
    Delivery,
    GatewayMisconfigured,
    GatewayUnavailable,
    OutcomeUnknown,
    Receipt,
    RecipientRefused,
    SmsMessage,
)
from foundation.errors import SettingsError
from foundation.files import read_secret
from foundation.settings import from_table

_E164: Final = re.compile(r"\+[1-9]\d{6,14}\Z", re.ASCII)
_INTERNATIONAL: Final = 1
_NETWORK_SPECIFIC: Final = 3
_ALPHANUMERIC: Final = 5
_ISDN: Final = 1
_RECEIPT_OF_BOTH: Final = 1


@dataclass(frozen=True, slots=True)
class SmppSettings:
    """Table ``[messaging.sms.settings]`` of idp.toml for ``smpp``."""

    host: str
    system_id: str
    password_file: Path
    sender: str
    """A number in E.164, a short code, or up to 11 letters and digits."""
    port: int = 3550
    security: Literal["tls", "none"] = "tls"
    """``none`` to a loopback address, or with ``private_network``: a code must not cross a network in clear."""
    private_network: bool = False
    """The way to ``host``, a private address, is protected by other means, such as IPsec to the operator."""
    ca_file: Path | None = None
    """PEM; the system's authorities otherwise."""
    system_type: str = ""
    alphabet: Alphabet = "gsm7"
    """The centre's default one (data_coding 0), or ``latin1`` (data_coding 3).  UCS-2 where it lacks a letter."""
    long_messages: Long = "udh"
    """Several parts with a header each, or one ``message_payload``."""
    validity_seconds: int = 300
    """After so long the centre gives a message up: a code that comes later is worth nothing."""
    bind: Literal["transceiver", "transmitter"] = "transceiver"
    """``transmitter`` for a centre that knows nothing else; then no receipts come."""
    receipts: bool = True
    """Ask for delivery receipts."""
    window: int = 10
    """Messages at one time that the centre has not answered yet."""
    enquire_link_seconds: float = 30.0
    timeout_seconds: float = 10.0
    """For one message from connecting to the last answer."""

    def faults(self) -> Iterable[str]:
        """What the types cannot say."""
        if self.security == "none" and not _in_clear(self.host, private=self.private_network):
            yield "security may be none only where host is a loopback address, or a private one with private_network"
        for name, text, most in (("system_id", self.system_id, 15), ("system_type", self.system_type, 12)):
            if len(text) > most or not (text.isascii() and text.isprintable()):
                yield f"{name} is at most {most} printable ASCII characters"
        if not self.system_id:
            yield "system_id is not empty"
        if not re.fullmatch(r"\+?[0-9]{3,15}|(?=.{1,11}\Z)[A-Za-z0-9 ._-]+", self.sender, re.ASCII):
            yield "sender is a number, or up to 11 letters and digits"
        if not 1 <= self.port <= 65535 or not 1 <= self.window <= 1000:
            yield "port is 1 to 65535, window is 1 to 1000"
        if not 0 < self.timeout_seconds <= 60 or not 1 <= self.enquire_link_seconds <= 600:
            yield "timeout_seconds must be above 0 and at most 60, enquire_link_seconds is 1 to 600"
        if not 30 <= self.validity_seconds < 60 * 60:
            yield "validity_seconds is 30 to 3599"


def _in_clear(host: str, *, private: bool) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or (private and address.is_private)


class SmppSms:
    """A :class:`connectors.ports.messaging.SmsGateway` over SMPP; one connection a process, made when it is needed."""

    def __init__(self, settings: Mapping[str, Any], *, monotonic: Monotonic = time.monotonic) -> None:
        self._settings = made = from_table(SmppSettings, settings, base=Path())
        password = read_secret(made.password_file).decode("utf-8", "replace")
        if len(password) > 8 or not password.isascii():
            raise SettingsError(("the password is more than the 8 ASCII characters that SMPP 3.4 has room for",))
        number = made.sender.removeprefix("+")
        self._source = {
            "source_addr": number,
            "source_addr_ton": _INTERNATIONAL if made.sender[0] == "+" else
            _NETWORK_SPECIFIC if number.isdecimal() else _ALPHANUMERIC,
            "source_addr_npi": _ISDN if made.sender[0] == "+" else 0,
        }  # fmt: skip
        self._login = {"system_id": made.system_id, "password": password, "system_type": made.system_type}
        self._tls = _tls(made.ca_file)
        self._receipts = made.receipts and made.bind == "transceiver"
        self._monotonic = monotonic
        self._connecting = threading.Lock()
        self._window = threading.BoundedSemaphore(made.window)
        self._session: Session | None = None
        self._left_over: list[Receipt] = []

    def send_sms(self, message: SmsMessage) -> Delivery:
        """Hand a message to the SMS centre.

        :raises GatewayUnavailable: it cannot be reached, is busy, or throttles; it did not take the message.
        :raises OutcomeUnknown: it got the message, or a part of it, and did not answer in time.
        :raises GatewayMisconfigured: it refused our login or our request.
        :raises RecipientRefused: not an E.164 number, or one that it will not deliver to.
        """
        if not _E164.match(message.to):
            raise RecipientRefused("the recipient is not a number in E.164")
        settings = self._settings
        until = self._monotonic() + settings.timeout_seconds
        parts = parts_of(
            message.text, secrets.randbelow(256), alphabet=settings.alphabet, long=settings.long_messages
        )
        if not self._window.acquire(timeout=settings.timeout_seconds):
            raise GatewayUnavailable("too many messages wait for the SMS centre")
        try:
            session, reference = self._submit_first(message.to, parts[0], until)
            for part in parts[1:]:
                reference = self._submit(session, message.to, part, until, later=True)
        finally:
            self._window.release()
        return Delivery(reference)

    def take_receipts(self) -> tuple[Receipt, ...]:
        """What the centre told of messages since this was last asked."""
        with self._connecting:
            session, found = self._session, tuple(self._left_over)
            self._left_over.clear()
        return found if session is None else (*found, *session.take_receipts())

    def close(self) -> None:
        """Unbind."""
        with self._connecting:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _submit_first(self, to: str, part: Part, until: float) -> tuple[Session, str]:
        """Send the first part, over a new connection where the one at hand turns out to have broken meanwhile."""
        session = self._bound(until)
        try:
            return session, self._submit(session, to, part, until, later=False)
        except GatewayUnavailable as error:
            if session.alive or isinstance(error, OutcomeUnknown):
                raise
        session = self._bound(until)
        return session, self._submit(session, to, part, until, later=False)

    def _submit(self, session: Session, to: str, part: Part, until: float, *, later: bool) -> str:
        """Send one part; the centre's identifier for it."""
        where = "message_payload" if part.in_payload else "short_message"
        minutes, seconds = divmod(self._settings.validity_seconds, 60)
        try:
            answer = session.ask(
                "submit_sm",
                until,
                **self._source,
                dest_addr_ton=_INTERNATIONAL,
                dest_addr_npi=_ISDN,
                destination_addr=to.removeprefix("+"),
                esm_class=part.esm_class,
                data_coding=part.data_coding,
                validity_period=f"00000000{minutes:02}{seconds:02}000R",
                registered_delivery=_RECEIPT_OF_BOTH if self._receipts else 0,
                **{where: part.octets},
            )
            error = refused(answer)
        except GatewayUnavailable as unanswered:
            error = unanswered
        if error is None:
            return answer.message_id
        if later:
            # The centre has taken a part already, and may deliver it.
            raise OutcomeUnknown(f"the SMS centre took a part of the message ({error.code})")
        raise error

    def _bound(self, until: float) -> Session:
        """The connection, made anew where there is none; one thread makes it, and the others wait for it."""
        if not self._connecting.acquire(timeout=max(0.0, until - self._monotonic())):
            raise GatewayUnavailable("the SMS centre does not answer")
        try:
            if self._session is None or not self._session.alive:
                if self._session is not None:
                    self._left_over.extend(self._session.take_receipts())
                self._session = None
                self._session = self._connect(until)
            return self._session
        finally:
            self._connecting.release()

    def _connect(self, until: float) -> Session:
        settings = self._settings
        connection: socket.socket | None = None
        try:
            connection = socket.create_connection(
                (settings.host, settings.port), timeout=max(0.001, until - self._monotonic())
            )
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if settings.security == "tls":
                connection.settimeout(max(0.001, until - self._monotonic()))
                connection = self._tls.wrap_socket(connection, server_hostname=settings.host)
            buffer = bind(connection, f"bind_{settings.bind}", self._login, self._monotonic, until)
            return Session(
                connection,
                buffer,
                monotonic=self._monotonic,
                timeout_seconds=settings.timeout_seconds,
                quiet_seconds=settings.enquire_link_seconds,
            )
        except (OSError, BadPdu) as error:
            _close(connection)
            raise GatewayUnavailable(f"the SMS centre cannot be reached ({type(error).__name__})") from None
        except (GatewayUnavailable, GatewayMisconfigured, RecipientRefused):
            _close(connection)
            raise


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError((f"ca_file cannot be used ({type(error).__name__})",)) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _close(connection: socket.socket | None) -> None:
    if connection is not None:
        connection.close()
