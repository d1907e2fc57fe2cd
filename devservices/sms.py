"""The part of Twilio's Programmable Messaging interface that sends one message, for the inbox.

Shapes and error codes follow Twilio's public reference (Messages resource, error dictionary).
"""

from __future__ import annotations

import hmac
import re
import secrets
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Request, Response

from devservices.errors import TwilioRefusal
from devservices.messages import Channel, Message, UnsafeInbox
from devservices.serving import json_response
from foundation.clock import Clock

PATH = re.compile(r"/2010-04-01/Accounts/(?P<account>[^/]+)/Messages\.json")

ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
"""ITU-T E.164: at most 15 digits."""

SENDER = re.compile(r"\+?[0-9]{3,15}|[A-Za-z0-9 ]{1,11}")
"""A number, a short code or an alphanumeric sender."""

MAX_BODY_CHARACTERS = 1600

SEGMENT_CHARACTERS = 160
"""Of the GSM alphabet; segments are only counted roughly here."""


class TwilioMessages:
    """``POST /2010-04-01/Accounts/<sid>/Messages.json`` with HTTP Basic authentication."""

    def __init__(self, inbox: UnsafeInbox, account_sid: str, token: bytes, clock: Clock) -> None:
        self._inbox = inbox
        self._account_sid = account_sid
        self._token = token
        self._clock = clock

    def __call__(self, request: Request, account: str) -> Response:
        """Answer one request for an account."""
        try:
            return json_response(HTTPStatus.CREATED, self._create(request, account))
        except TwilioRefusal as refusal:
            response = json_response(
                refusal.status,
                {
                    "code": refusal.twilio_code,
                    "message": str(refusal),
                    "more_info": f"https://www.twilio.com/docs/errors/{refusal.twilio_code}",
                    "status": refusal.status.value,
                },
            )
            if refusal.status is HTTPStatus.UNAUTHORIZED:
                response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
            return response

    def _create(self, request: Request, account: str) -> dict[str, Any]:
        # 1. Who asks, and for which account.
        self._authenticate(request)
        if account != self._account_sid:
            raise TwilioRefusal(HTTPStatus.NOT_FOUND, 20404, "The requested resource was not found")
        if request.method != "POST":
            raise TwilioRefusal(HTTPStatus.METHOD_NOT_ALLOWED, 20004, "Method not allowed")
        # 2. The three parameters without which nothing is sent.
        recipient, body = request.form.get("To", ""), request.form.get("Body", "")
        sender = request.form.get("From") or request.form.get("MessagingServiceSid", "")
        if not recipient:
            raise TwilioRefusal(HTTPStatus.BAD_REQUEST, 21604, "A 'To' phone number is required.")
        if not sender:
            raise TwilioRefusal(HTTPStatus.BAD_REQUEST, 21603, "A 'From' phone number is required.")
        if not body:
            raise TwilioRefusal(HTTPStatus.BAD_REQUEST, 21602, "Message body is required.")
        # 3. Their form.
        if not E164.fullmatch(recipient):
            raise TwilioRefusal(HTTPStatus.BAD_REQUEST, 21211, "The 'To' number is not a valid phone number.")
        if not (SENDER.fullmatch(sender) or sender.startswith("MG")):
            raise TwilioRefusal(HTTPStatus.BAD_REQUEST, 21212, "The 'From' number is not a valid phone number.")
        if len(body) > MAX_BODY_CHARACTERS:
            raise TwilioRefusal(
                HTTPStatus.BAD_REQUEST, 21617, "The concatenated message body exceeds the 1600 character limit."
            )
        message = self._inbox.deliver(
            Channel.SMS, recipient, sender, subject="", body=body, received_at=self._clock.now()
        )
        return self._resource(message)

    def _authenticate(self, request: Request) -> None:
        given = request.authorization
        user, password = ("", "") if given is None else (given.username or "", given.password or "")
        # Both are always compared, so that the time taken does not say which was wrong.
        right_user = hmac.compare_digest(user.encode(), self._account_sid.encode())
        right_password = hmac.compare_digest(password.encode(), self._token)
        if not (right_user and right_password):
            raise TwilioRefusal(HTTPStatus.UNAUTHORIZED, 20003, "Authenticate")

    def _resource(self, message: Message) -> dict[str, Any]:
        sid = f"SM{secrets.token_hex(16)}"
        uri = f"/2010-04-01/Accounts/{self._account_sid}/Messages/{sid}"
        created = format_datetime(message.received_at)
        service = message.sender if message.sender.startswith("MG") else None
        return {
            "account_sid": self._account_sid,
            "api_version": "2010-04-01",
            "body": message.body,
            "date_created": created,
            "date_sent": None,
            "date_updated": created,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": None if service else message.sender,
            "messaging_service_sid": service,
            "num_media": "0",
            "num_segments": str(-(-len(message.body) // SEGMENT_CHARACTERS)),
            "price": None,
            "price_unit": "USD",
            "sid": sid,
            "status": "queued",
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": message.recipient,
            "uri": f"{uri}.json",
        }
