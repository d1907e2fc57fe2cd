"""Delivers security events to the signing side (RFC 8935, push): at once, and again until they are moot.

Any number of processes may do so over one outbox: an attempt is claimed before it is made, and an event that is
delivered twice after all changes nothing there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import requests
from flask import Flask, Response, g

from contract.event import EVENT_TYPE, encode
from foundation import log
from foundation.clock import epoch
from foundation.egress import Egress, read_limited
from foundation.errors import EgressRefused, PrivySealError, TokenMalformed
from foundation.jose import parse_json_object
from idp.activation.notices import Notice, event_for
from idp.storage import outbox
from idp.storage.engine import reading
from idp.storage.outbox import Waiting
from idp.web import services as composition
from idp.web.services import TOLD, Services

ACCEPTED: Final = 202
_BATCH: Final = 50
_POLL_SECONDS: Final = 1.0
"""How long an event waits that another process wrote, such as `privyseal idp account`."""
_MAX_ANSWER_OCTETS: Final = 4096
_ERRORS: Final = frozenset(
    {"invalid_request", "invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied"}
)
"""RFC 8935 2.4."""

_log = log.get(__name__)


class Deliverer:
    """Sends what is in the outbox."""

    def __init__(self, services: Services, post: Callable[..., requests.Response] | None = None) -> None:
        """:param post: as ``requests.post``; by default behind the egress guard."""
        signing = services.settings.signing
        egress = Egress(services.settings.egress_allow)
        self._services = services
        self._url = signing.events_url
        self._post = post or egress.session(signing.timeout_seconds).post

    def deliver(self) -> bool:
        """One round over what is due; False where nobody answers, which ends the round.

        :raises KeyUnavailable: the activation key cannot be used.
        """
        services = self._services
        at = epoch(services.clock.now())
        # One way there and back: mostly there is nothing.
        with reading(services.engine) as connection:
            late = outbox.overdue_later(connection, services.seals, at, _BATCH)
            due = outbox.due(connection, services.seals, at, _BATCH)
            overdue = late()
        self._drop(overdue)
        for waiting in due:
            with services.engine.begin() as connection:
                mine = outbox.claim(connection, waiting, epoch(services.clock.now()))
            if not mine:
                continue
            answer = self._send(waiting)
            if answer is None:
                return False
            if answer == ACCEPTED:
                with services.engine.begin() as connection:
                    outbox.remove(connection, waiting.notice.jti)
                _log.info("an event was delivered", extra={"fields": _fields(waiting)})
        return True

    def _send(self, waiting: Waiting) -> int | None:
        """The status of the answer, or None where there is none."""
        token = self._token(waiting.notice)
        headers = {"Content-Type": f"application/{EVENT_TYPE}", "Accept": "application/json"}
        try:
            response = self._post(self._url, data=token.encode("ascii"), headers=headers, stream=True)
            with response:
                body = read_limited(response, _MAX_ANSWER_OCTETS)
        except (requests.RequestException, EgressRefused) as error:
            fields = {**_fields(waiting), "cause": type(error).__name__}
            _log.warning("an event could not be sent", extra={"fields": fields})
            return None
        if response.status_code != ACCEPTED:
            fields = {**_fields(waiting), "status": response.status_code, "err": _error(body)}
            _log.error("an event was not accepted", extra={"fields": fields})
        return response.status_code

    def _token(self, notice: Notice) -> str:
        settings = self._services.settings
        event = event_for(notice, issuer=settings.issuer, audience=settings.signing.sam_id)
        return encode(event, self._services.keys.activation_key())

    def _drop(self, overdue: Iterable[tuple[Waiting, bool]]) -> None:
        services = self._services
        for waiting, whole in overdue:
            with services.engine.begin() as connection:
                removed = outbox.remove(connection, waiting.notice.jti)
                if not removed or not whole:
                    # Another process was first; or somebody else wrote it, who chooses no text of a record.
                    continue
                _log.error("an event was never delivered, and is moot now", extra={"fields": _fields(waiting)})
                services.audit.record(connection, "event.dropped", **_fields(waiting))


class Rounds(Protocol):
    """What delivers in rounds."""

    def deliver(self) -> bool:
        """One round over what is due; False where there was no getting through."""
        ...


class Delivery:
    """A thread that delivers: when woken, and once a second."""

    def __init__(self, deliverer: Rounds, poll_seconds: float = _POLL_SECONDS, *, name: str = "delivery") -> None:
        self._deliverer = deliverer
        self._poll_seconds = poll_seconds
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something was written."""
        self._due.set()

    def stop(self) -> None:
        """End after the round at hand."""
        self._stopping.set()
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._due.wait(self._poll_seconds)
            self._due.clear()
            try:
                self._deliverer.deliver()
            except PrivySealError as error:
                fields = {"what": self._thread.name, "error": error.code}
                _log.error("nothing can be delivered", extra={"fields": fields})
            except Exception:  # noqa: BLE001 - the next round may do better; without this thread there is none
                _log.exception("nothing can be delivered", extra={"fields": {"what": self._thread.name}})


def start(app: Flask) -> Delivery:
    """Deliver in the background of an app's process, and right after the requests that wrote something."""
    return started(app, Delivery(Deliverer(composition.of(app))))


def started(app: Flask, delivery: Delivery) -> Delivery:
    """The delivery, begun, and woken right after the app's requests that wrote to the outbox."""

    def wake(response: Response) -> Response:
        if g.get(TOLD, False):
            delivery.wake()
        return response

    app.after_request(wake)
    delivery.start()
    return delivery


def _fields(waiting: Waiting) -> dict[str, Any]:
    notice = waiting.notice
    return {"jti": notice.jti, "notice": notice.event, "subject": notice.subject, "attempts": waiting.attempts}


def _error(body: bytes) -> str:
    """The error's name, if it is one that RFC 8935 has: the rest of the answer is nobody's business here."""
    try:
        found = parse_json_object(body).get("err")
    except TokenMalformed:
        return ""
    return found if isinstance(found, str) and found in _ERRORS else ""
