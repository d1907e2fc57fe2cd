"""SMS through any gateway that takes an HTTP request: what the request and its answer are like is in the settings."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import requests
from requests.auth import HTTPBasicAuth

from connectors.messaging.http import failed
from connectors.messaging.http_settings import HttpSmsSettings, filled
from connectors.ports.messaging import (
    Delivery,
    DeliveryState,
    GatewayMisconfigured,
    GatewayUnavailable,
    MessagingError,
    OutcomeUnknown,
    RecipientRefused,
    SmsMessage,
)
from foundation.egress import Egress, read_limited
from foundation.errors import EgressRefused, SettingsError
from foundation.files import read_secret
from foundation.settings import from_table

_E164: Final = re.compile(r"\+[1-9]\d{6,14}\Z", re.ASCII)
_MAX_ANSWER: Final = 64 * 1024
_NOT_NOW: Final = frozenset({408, 425, 429, 503})
"""Answers of a server that did not do what it was asked (RFC 9110 15.5.9, RFC 8470, RFC 6585, RFC 9110 15.6.4)."""
_MAX_REFERENCE: Final = 128


class HttpSms:
    """A :class:`connectors.ports.messaging.SmsGateway` over a request that the operator describes."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = made = from_table(HttpSmsSettings, settings, base=Path())
        self._secrets = {name: read_secret(Path(str(path))).decode() for name, path in made.secrets.items()}
        self._auth: HTTPBasicAuth | None = None
        if made.username is not None and made.password_file is not None:
            # Octets: the library would write text in Latin-1 (RFC 7617 2.1 allows UTF-8).
            self._auth = HTTPBasicAuth(made.username.encode(), read_secret(made.password_file))
        if made.ca_file is not None and not made.ca_file.is_file():
            raise SettingsError(("ca_file is not there",))
        self._egress = Egress(allow=tuple(_place(url) for url in (made.url, made.status_url) if url is not None))

    def send_sms(self, message: SmsMessage) -> Delivery:
        """Hand a message to the gateway.

        :raises GatewayUnavailable: it cannot be reached, or says that it did not take the message now.
        :raises OutcomeUnknown: no answer, a 5xx, or an answer that does not say what success looks like.
        :raises GatewayMisconfigured: another status.  :raises RecipientRefused: not E.164, or the gateway refuses it.
        """
        if not _E164.match(message.to):
            raise RecipientRefused("the recipient is not a number in E.164")
        settings = self._settings
        body, kind = self._body(message)
        headers = {**filled(settings.headers, self._values(message)), "Content-Type": kind}
        status, answer = self._ask(settings.method, settings.url, headers, body)
        return self._judge(status, answer)

    def delivery_of(self, delivery: Delivery) -> DeliveryState:
        """Ask the gateway for a message's status.

        :raises GatewayUnavailable: no answer.  :raises GatewayMisconfigured: it has no such question.
        """
        settings = self._settings
        if settings.status_url is None or settings.status_path is None or not delivery.reference:
            raise GatewayMisconfigured("the gateway cannot be asked about this message")
        url = settings.status_url.replace("{reference}", quote(delivery.reference, safe=""))
        unused = SmsMessage("", "")
        status, answer = self._ask("GET", url, filled(settings.headers, self._values(unused)), None)
        if status not in settings.success_status:
            kind = GatewayUnavailable if status in _NOT_NOW or status >= 500 else GatewayMisconfigured
            raise kind(f"the SMS gateway answered {status} to a question about a message")
        found = _at(answer, settings.status_path)
        if found in settings.delivered_values:
            return DeliveryState.DELIVERED
        return DeliveryState.FAILED if found in settings.failed_values else DeliveryState.PENDING

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, object]:
        """Status and JSON body of the answer; None where that is not JSON."""
        settings = self._settings
        try:
            with self._egress.session(settings.timeout_seconds) as session:
                if settings.ca_file is not None:
                    session.verify = str(settings.ca_file)
                encoded = {name: value.encode("utf-8") for name, value in headers.items()}
                answer = session.request(
                    method, url, data=body, headers=encoded, auth=self._auth, allow_redirects=False, stream=True
                )
                text = read_limited(answer, _MAX_ANSWER)
        except requests.exceptions.InvalidHeader:
            raise GatewayMisconfigured("a header of the request cannot be sent") from None
        except requests.TooManyRedirects:
            raise GatewayMisconfigured("the SMS gateway answered with another address") from None
        except (requests.RequestException, EgressRefused) as error:
            raise failed(error) from None
        except OSError as error:
            raise OutcomeUnknown(f"the SMS gateway did not answer ({type(error).__name__})") from None
        try:
            return answer.status_code, json.loads(text)
        except (ValueError, RecursionError):
            return answer.status_code, None

    def _judge(self, status: int, answer: object) -> Delivery:
        settings = self._settings
        # What the gateway wrote may quote the message, and with it the code: only numbers are passed on.
        summary = f"the SMS gateway answered {status}"
        result = None if settings.answer_path is None else _at(answer, settings.answer_path)
        error: MessagingError | None = None
        if result in settings.recipient_values or status in settings.recipient_status:
            error = RecipientRefused(summary)
        elif result in settings.later_values or status in _NOT_NOW:
            error = GatewayUnavailable(summary)
        elif status >= 500:
            error = OutcomeUnknown(summary)
        elif status not in settings.success_status:
            error = GatewayMisconfigured(summary)
        elif settings.answer_path is not None and result not in settings.success_values:
            error = OutcomeUnknown(f"{summary} and not that it took the message")
        if error is not None:
            raise error
        reference = "" if settings.reference_path is None else _at(answer, settings.reference_path) or ""
        return Delivery(reference if reference.isprintable() and len(reference) <= _MAX_REFERENCE else "")

    def _body(self, message: SmsMessage) -> tuple[bytes, str]:
        settings = self._settings
        if settings.form == "text":
            return message.text.encode("utf-8"), "text/plain; charset=UTF-8"
        made = filled(settings.body, self._values(message))
        if settings.form == "json":
            return json.dumps(made, ensure_ascii=False).encode("utf-8"), "application/json"
        encoded = urlencode(made, doseq=True, quote_via=quote, safe="")
        return encoded.encode("ascii"), "application/x-www-form-urlencoded"

    def _values(self, message: SmsMessage) -> Any:
        values = {
            "to": message.to if self._settings.plus_sign else message.to.removeprefix("+"),
            "text": message.text,
            "sender": self._settings.sender,
            "id": message.id or secrets.token_hex(16),
        }
        return lambda name, more: self._secrets[more] if name == "secret" else values[name]


def _place(url: str) -> str:
    parts = urlsplit(url.replace("{reference}", "0"))
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _at(answer: object, path: str) -> str | None:
    """What stands at a path, as text; None where nothing does."""
    for name in path.split("."):
        if isinstance(answer, Mapping):
            answer = answer.get(name)
        elif isinstance(answer, list) and name.isdecimal() and int(name) < len(answer):
            answer = answer[int(name)]
        else:
            return None
    if isinstance(answer, bool):
        return "true" if answer else "false"
    return str(answer) if isinstance(answer, str | int | float) else None
