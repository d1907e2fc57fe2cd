"""SMS through Twilio's Messages API, or anything that speaks it at another base URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

from connectors.messaging.http import failed
from connectors.ports.messaging import (
    Delivery,
    DeliveryState,
    GatewayMisconfigured,
    GatewayUnavailable,
    OutcomeUnknown,
    RecipientRefused,
    SmsMessage,
)
from foundation.egress import Egress, read_limited
from foundation.errors import EgressRefused
from foundation.files import read_secret
from foundation.settings import from_table

TWILIO: Final = "https://api.twilio.com"
_E164: Final = re.compile(r"\+[1-9]\d{6,14}\Z")
_MAX_ANSWER: Final = 64 * 1024
_RECIPIENT_CODES: Final = frozenset({21211, 21214, 21217, 21408, 21421, 21610, 21612, 21614})
"""Twilio's error codes that speak of the number, not of us."""
_SID: Final = re.compile(r"(SM|MM)[0-9a-fA-F]{32}\Z")
_STATES: Final = {
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.DELIVERED,
    "undelivered": DeliveryState.FAILED,
    "failed": DeliveryState.FAILED,
    "canceled": DeliveryState.FAILED,
}
"""Of a message's ``status``; all others are on the way."""


@dataclass(frozen=True, slots=True)
class TwilioSettings:
    """Table ``[messaging.sms.settings]`` of idp.toml."""

    account_sid: str
    auth_token_file: Path
    sender: str
    """A number in E.164, an alphanumeric sender id, or a messaging service's SID (``MG...``)."""
    base_url: str = TWILIO
    timeout_seconds: float = 10.0

    def faults(self) -> list[str]:
        """What the types cannot say."""
        found = []
        if not re.fullmatch(r"AC[0-9a-fA-F]{32}", self.account_sid):
            found.append("account_sid is not AC and 32 hexadecimal digits")
        host = urlsplit(self.base_url).hostname
        if not self.base_url.startswith("https://") and host not in {"127.0.0.1", "::1"}:
            found.append("base_url may be http only on a loopback address")
        if not 0 < self.timeout_seconds <= 60:
            found.append("timeout_seconds must be above 0 and at most 60")
        return found


class _Transport(HttpClient):  # type: ignore[misc] # twilio is untyped
    """Carries the library's requests through the egress guard, to the base URL of the settings."""

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        super().__init__(logger=_Silent(), is_async=False, timeout=timeout_seconds)
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout_seconds
        parts = urlsplit(base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._egress = Egress(allow=(f"{parts.hostname}:{port}",))

    def request(  # noqa: PLR0917 - the signature is the library's own
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        target = self._base_url + url.removeprefix(TWILIO)
        with self._egress.session(timeout or self._timeout) as session:
            answer = session.request(
                method, target, params=params, data=data, headers=headers, auth=auth, allow_redirects=False, stream=True
            )
            body = read_limited(answer, _MAX_ANSWER)
            return Response(answer.status_code, body.decode("utf-8", "replace"), answer.headers)


class _Silent:
    """The library logs request bodies, which hold one-time passwords: this takes its logger's place."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_kwargs: None


class TwilioSms:
    """A :class:`connectors.ports.messaging.SmsGateway` through the ``twilio`` library."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = from_table(TwilioSettings, settings, base=Path())
        token = read_secret(self._settings.auth_token_file).decode()
        transport = _Transport(self._settings.base_url, self._settings.timeout_seconds)
        self._client = Client(self._settings.account_sid, token, http_client=transport)
        _ = self._client.messages  # has the library load what it puts off: the first person would wait for it

    def send_sms(self, message: SmsMessage) -> Delivery:
        """Hand a message to Twilio.

        :raises GatewayUnavailable: it cannot be reached, 429 or 503.
        :raises OutcomeUnknown: no answer, or another 5xx.
        :raises GatewayMisconfigured: our credentials, sender or account are refused.
        :raises RecipientRefused: not an E.164 number, or one that Twilio will not deliver to.
        """
        if not _E164.match(message.to):
            raise RecipientRefused("the recipient is not a number in E.164")
        sender = self._settings.sender
        source = {"messaging_service_sid": sender} if sender.startswith("MG") else {"from_": sender}
        try:
            sent = self._client.messages.create(to=message.to, body=message.text, **source)
        except TwilioRestException as error:
            raise _translated(error) from None
        except (requests.RequestException, EgressRefused) as error:
            raise failed(error) from None
        except (TwilioException, OSError) as error:
            raise OutcomeUnknown(f"the SMS gateway's answer cannot be read ({type(error).__name__})") from None
        return Delivery(str(sent.sid))

    def delivery_of(self, delivery: Delivery) -> DeliveryState:
        """Ask Twilio for a message's status.

        :raises GatewayUnavailable: no answer.  :raises GatewayMisconfigured: Twilio refuses the question.
        """
        if not _SID.match(delivery.reference):
            raise GatewayMisconfigured("that is no message of Twilio's")
        try:
            status = str(self._client.messages(delivery.reference).fetch().status)
        except TwilioRestException as error:
            raise _translated(error) from None
        except (requests.RequestException, EgressRefused, TwilioException, OSError) as error:
            raise GatewayUnavailable(f"the SMS gateway does not answer ({type(error).__name__})") from None
        return _STATES.get(status, DeliveryState.PENDING)


def _translated(error: TwilioRestException) -> Exception:
    # The exception's own text quotes the request: only its numbers are passed on.
    summary = f"the SMS gateway answered {error.status} (code {error.code})"
    if error.code in _RECIPIENT_CODES:
        return RecipientRefused(summary)
    if error.status in {429, 503}:
        return GatewayUnavailable(summary)
    if error.status >= 500:
        return OutcomeUnknown(summary)
    return GatewayMisconfigured(summary)
