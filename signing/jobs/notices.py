"""Tells a client at its ``response_uri`` that it can fetch: where that may be, and what is said there.

The notice says nothing but the identifier of the job, and is not signed: whoever gets it learns by fetching, with a
token of its own, whether it is true.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import requests

from foundation.egress import Egress
from foundation.errors import EgressRefused
from foundation.log import get

MAX_URI: Final = 2048
_PLAIN: Final = re.compile(r"[!-~]+\Z")
_CLIMBING: Final = re.compile(r"(?i)(^|/)(\.|%2e){1,2}(/|$)|\\|%5c|%2f")
_log = get(__name__)


class Notices:
    """Sends notices, where clients may have them.  Thread-safe."""

    def __init__(
        self,
        allowed: Mapping[str, tuple[str, ...]],
        egress: Egress,
        *,
        timeout_seconds: float,
        authorities: Path | None = None,
    ) -> None:
        """Send nothing yet.

        :param allowed: by client, the URIs that it may name; one that ends with a slash allows all below it.
        :param authorities: PEM of those whose certificates are taken at these URIs; default: the public ones.
        """
        self._allowed = allowed
        self._egress = egress
        self._timeout = timeout_seconds
        self._authorities = authorities

    def may_have(self, client_id: str, uri: str) -> bool:
        """Whether a client may name a URI: https, and one of its own."""
        if not 0 < len(uri) <= MAX_URI or not _PLAIN.match(uri):
            return False
        try:
            parts = urlsplit(uri)
            named = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
        except ValueError:
            return False
        if not named or "@" in parts.netloc or "#" in uri or _CLIMBING.search(parts.path):
            return False
        bare = f"https://{parts.netloc.lower()}{parts.path}"
        return any(bare == each or (each.endswith("/") and bare.startswith(each)) for each in self._of(client_id))

    def _of(self, client_id: str) -> tuple[str, ...]:
        return self._allowed.get(client_id, ())

    def send(self, uri: str, job: str) -> bool:
        """One attempt; whether it was taken (2xx).  The answer's content is not read, and no redirect followed.

        It takes no longer than the timeout altogether, however steadily the other side drips (DOS-02).
        """
        body = json.dumps({"responseID": job}).encode()
        try:
            with (
                self._egress.brief_session(self._timeout) as session,
                session.post(
                    uri,
                    data=body,
                    headers={"Content-Type": "application/json"},
                    verify=True if self._authorities is None else str(self._authorities),
                    stream=True,
                    allow_redirects=False,
                ) as response,
            ):
                status = response.status_code
        except (requests.RequestException, EgressRefused) as error:
            _log.warning("a client could not be told", extra={"fields": {"job": job, "cause": type(error).__name__}})
            return False
        if not 200 <= status < 300:
            _log.warning("a client did not take what it was told", extra={"fields": {"job": job, "status": status}})
            return False
        return True
