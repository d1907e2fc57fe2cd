"""Tells relying parties of ended sessions (OpenID Connect Back-Channel Logout 1.0): at once, and again for half a day.

Any number of processes may do so over one table: an attempt is claimed before it is made, and is over before the next
one may be claimed.  A client that answered, while this process ended before it had noted that, is told twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import requests
from flask import Flask

from foundation import log
from foundation.clock import epoch
from foundation.egress import Egress
from foundation.errors import EgressRefused
from foundation.jose import encode_base64url, sign_compact
from idp.delivery import Delivery, started
from idp.oidc.backchannel_logout import LOGOUT_TOKEN_TYPE, logout_token_claims
from idp.storage import clients, logouts
from idp.storage.engine import reading
from idp.storage.logouts import Cause, LogoutNotice
from idp.web import services as composition
from idp.web.services import Services

SECONDS: Final = 5.0
"""After which an attempt is cut off, whatever goes on there: less than the shortest wait until the next one."""
SLOW_SECONDS: Final = 1.0
"""Whoever took longer to answer is told nothing more in the same round: others' turn comes."""
MOST_REFUSED: Final = 6
"""Attempts, over a quarter of an hour: whoever keeps our keys for a while may not know the one yet that signs now."""
_ACCEPTED: Final = frozenset({200, 204})
"""2.8: also what frameworks make of an empty 200."""
_LATER: Final = frozenset({408, 425, 429})
_BATCH: Final = 50
_TIDY_EVERY: Final = timedelta(minutes=1)
_JTI_OCTETS: Final = 16
_SILENT: Final[frozenset[Cause]] = frozenset({"failed", "unreachable", "not_permitted"})

_log = log.get(__name__)


class LogoutDeliverer:
    """Sends Logout Tokens."""

    def __init__(
        self,
        services: Services,
        egress: Egress | None = None,
        seconds: float = SECONDS,
        watch: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param egress: where it may go; by default where the settings allow it.

        :param seconds: that an attempt may take.
        :param watch: seconds, as they pass.
        """
        self._services = services
        self._egress = egress or Egress(services.settings.egress_allow)
        self._seconds = seconds
        self._watch = watch
        self._tidied: datetime | None = None

    def deliver(self) -> bool:
        """One round over what is due; False where a client did not answer.

        :raises KeyUnavailable: the token key cannot be used.
        """
        services = self._services
        self._tidy()
        with reading(services.engine) as connection:
            due = logouts.due(connection, services.seals, self._at(), _BATCH)
        well, slow = True, set[str]()
        for notice in due:
            if notice.client_id in slow:
                continue
            # Nobody gets it of which another node has it, nor what was put back because its client is silent.
            with services.engine.begin() as connection:
                mine = logouts.claim(connection, notice, self._at())
            if mine:
                began = self._watch()
                well = self._attempt(replace(notice, attempts=notice.attempts + 1)) and well
                if self._watch() - began > SLOW_SECONDS:
                    slow.add(notice.client_id)
        return well

    def _attempt(self, notice: LogoutNotice) -> bool:
        """Whether the client answered, or need not any more."""
        uri = self._uri_of(notice)
        if uri is None:
            return True
        cause, jti = self._send(notice, uri)
        if cause is None:
            self._end(notice, jti=jti)
            return True
        fields = {"notice_id": notice.id, "client_id": notice.client_id, "attempts": notice.attempts, "cause": cause}
        _log.warning("a relying party was not told of an ended session", extra={"fields": fields})
        if cause not in _SILENT and notice.attempts >= MOST_REFUSED:
            self._end(notice, cause)
            return True
        with self._services.engine.begin() as connection:
            logouts.failed(connection, notice, cause)
            if cause in _SILENT:
                wait = logouts.wait_seconds(notice.attempts)
                logouts.put_back(connection, notice.client_id, self._at(), wait)
        return cause not in _SILENT

    def _uri_of(self, notice: LogoutNotice) -> str | None:
        """Where the client is told; None: it is not any more, and that was noted."""
        services = self._services
        if notice.is_overdue(self._at()):
            self._end(notice, "overdue")
            return None
        with reading(services.engine) as connection:
            client = clients.find_active(connection, notice.client_id)
        if client is None:
            self._end(notice, "client_disabled")
            return None
        served = client.without_plain_uris() if services.settings.production else client
        uri = served.registration.backchannel_logout_uri
        if uri is None:
            self._end(notice, "not_registered")
        return uri

    def _send(self, notice: LogoutNotice, uri: str) -> tuple[Cause | None, str]:
        """Why the client is not told, if it is not; and the token's identifier, another one with each attempt: a client
        that remembers those that it has seen does not refuse a second one."""
        services = self._services
        jti = encode_base64url(services.random(_JTI_OCTETS))
        claims = logout_token_claims(
            issuer=services.settings.issuer,
            client_id=notice.client_id,
            subject=notice.account_id,
            session_id=notice.session_id,
            jti=jti,
            now=services.clock.now(),
        )
        token = sign_compact(claims, services.keys.token_key(), LOGOUT_TOKEN_TYPE)
        try:
            with self._egress.brief_session(self._seconds) as session:
                response = session.post(uri, data={"logout_token": token}, stream=True, allow_redirects=False)
                with response:  # of which nothing but the status is read
                    return _cause(response.status_code), jti
        except EgressRefused:
            return "not_permitted", jti
        except requests.TooManyRedirects:  # of which the guarded session allows none
            return "redirected", jti
        except (requests.RequestException, OSError, ValueError):
            # What the library says of it may quote what the other side sent.
            return "unreachable", jti

    def _end(self, notice: LogoutNotice, cause: Cause | None = None, **more: Any) -> None:
        services = self._services
        told = {} if cause is None else {"cause": cause}
        with services.engine.begin() as connection:
            if logouts.end(connection, notice, self._at(), cause):
                services.audit.record(
                    connection,
                    "logout.told" if cause is None else "logout.dropped",
                    client_id=notice.client_id,
                    account_id=notice.account_id,
                    session_id=notice.session_id,
                    notice_id=notice.id,
                    attempts=notice.attempts,
                    **told,
                    **more,
                )

    def _tidy(self) -> None:
        now = self._services.clock.now()
        if self._tidied is not None and timedelta() <= now - self._tidied < _TIDY_EVERY:
            return
        self._tidied = now
        with self._services.engine.begin() as connection:
            logouts.purge(connection, now)

    def _at(self) -> int:
        return epoch(self._services.clock.now())


def _cause(status: int) -> Cause | None:
    if status in _ACCEPTED:
        return None
    if status >= 500 or status in _LATER:
        return "failed"
    return "redirected" if 300 <= status < 400 else "refused"


def start(app: Flask) -> Delivery:
    """Tell in the background of an app's process, and right after the requests that ended a session."""
    return started(app, Delivery(LogoutDeliverer(composition.of(app)), name="logouts"))
