"""A time-stamping authority over HTTP (RFC 3161 3.4).

The request carries a nonce and asks for the certificate; the answer is believed only if it stamps this very imprint
under this nonce, close to our own time, and a certificate for time-stamping alone signed it that leads to one of the
operator's trust anchors (RFC 3161 2.2, 2.3, 2.4.2).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import requests
from asn1crypto import cms, core, tsp
from urllib3.exceptions import HTTPError

from connectors.ports.tsa import (
    IMPRINT_OCTETS,
    HashName,
    TimestampToken,
    TsaAnswerInvalid,
    TsaRefused,
    TsaUnavailable,
)
from connectors.tsa.verify import read_anchors, verify
from foundation.clock import Clock, SystemClock
from foundation.egress import Egress
from foundation.errors import EgressRefused
from foundation.files import read_secret
from foundation.settings import from_table

_MAX_ANSWER: Final = 64 * 1024
"""Octets; a token with its chain is about 6 KiB."""
_NONCE_OCTETS: Final = 8
_TEMPORARY: Final = frozenset({"time_not_available", "system_failure"})
"""Failures (RFC 3161 2.4.2) that another authority need not have; the others are about the request."""


@dataclass(frozen=True, slots=True)
class Rfc3161Settings:
    """Table ``settings`` of a ``tsa`` connector named ``rfc3161``."""

    url: str
    trust_anchors: tuple[Path, ...]
    """PEM files of the authorities' certificates to which the stamp's has to lead."""
    policy: str | None = None
    """OID to ask for; None: the authority's own choice."""
    username: str | None = None
    password_file: Path | None = None
    """Owner-only; with ``username``, for HTTP authentication."""
    egress_allow: tuple[str, ...] = ()
    """``host:port`` on a private or loopback address, or without TLS, that may be reached."""
    timeout: float = 10.0
    """Seconds for the whole of a request."""
    max_clock_difference: int = 300
    """Seconds by which the stamp's time may differ from ours."""

    def faults(self) -> list[str]:
        """What the types cannot say."""
        found = []
        try:
            parts = urlsplit(self.url)
        except ValueError:
            return ["url cannot be read"]
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            found.append("url is an http or https URL without credentials")
        if not self.trust_anchors:
            found.append("trust_anchors names at least one file")
        if (self.username is None) != (self.password_file is None):
            found.append("username and password_file go together")
        if self.username is not None and parts.scheme != "https":
            found.append("a password is sent over https only")
        if not 0 < self.timeout <= 60 or not 1 <= self.max_clock_difference <= 86_400:
            found.append("timeout is above 0 and at most 60, max_clock_difference is 1 to 86400")
        return found


class _Reply(core.Sequence):  # type: ignore[misc] # asn1crypto is untyped
    """TimeStampResp (RFC 3161 2.4.2); asn1crypto's own takes the token for mandatory."""

    _fields: ClassVar = [("status", tsp.PKIStatusInfo), ("time_stamp_token", cms.ContentInfo, {"optional": True})]


class Rfc3161:
    """A :class:`connectors.ports.tsa.TimestampAuthority`."""

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        clock: Clock | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Read the trust anchors; nothing is requested yet.

        :param settings: see :class:`Rfc3161Settings`.
        :raises foundation.errors.SettingsError: all faults of the settings.
        :raises foundation.errors.SecretFileError: the password's file is missing or open to others.
        :raises ValueError: a trust anchor cannot be read.
        """
        self._settings = from_table(Rfc3161Settings, settings, base=Path())
        self._anchors = read_anchors(self._settings.trust_anchors)
        self._clock = clock or SystemClock()
        self._random = random
        self._egress = Egress(allow=self._settings.egress_allow)
        password = self._settings.password_file
        self._login = None if password is None else (self._settings.username or "", read_secret(password).decode())

    def stamp(self, imprint: bytes, hash_name: HashName, nonce: int | None = None) -> TimestampToken:
        """See :meth:`connectors.ports.tsa.TimestampAuthority.stamp`."""
        if len(imprint) != IMPRINT_OCTETS[hash_name]:
            raise TsaRefused("the imprint is not of its hash function's length")
        if nonce is None:
            nonce = int.from_bytes(self._random(_NONCE_OCTETS), "big")
        token = _token_of(self._post(_request(imprint, hash_name, nonce, self._settings.policy)))
        found = verify(token, imprint, hash_name, self._anchors)
        self._check_own(token, found, nonce)
        return found

    def _check_own(self, token: bytes, found: TimestampToken, nonce: int) -> None:
        info = cms.ContentInfo.load(token)["content"]["encap_content_info"]["content"].parsed
        if info["nonce"].native != nonce:
            raise TsaAnswerInvalid("the stamp has another nonce: it was made for another request")
        if self._settings.policy is not None and found.policy != self._settings.policy:
            raise TsaAnswerInvalid("the stamp was made under another policy")
        if not _close(found.at, self._clock.now(), self._settings.max_clock_difference):
            raise TsaAnswerInvalid("the stamp's time is far from ours")

    def _post(self, body: bytes) -> bytes:
        settings = self._settings
        deadline = time.monotonic() + settings.timeout
        headers = {
            "Content-Type": "application/timestamp-query",
            "Accept": "application/timestamp-reply",
            "Accept-Encoding": "identity",
        }
        try:
            with self._egress.session(settings.timeout) as session:
                response = session.post(
                    settings.url, data=body, headers=headers, auth=self._login, allow_redirects=False, stream=True
                )
                with response:
                    _check_status(response)
                    return _read(response, deadline)
        except requests.TooManyRedirects as error:  # the guarded session allows none
            raise TsaAnswerInvalid("the authority answered with a redirect") from error
        except (requests.RequestException, HTTPError, EgressRefused, OSError) as error:
            raise TsaUnavailable(f"the authority cannot be reached ({type(error).__name__})") from error


def _request(imprint: bytes, hash_name: HashName, nonce: int, policy: str | None) -> bytes:
    fields: dict[str, Any] = {
        "version": "v1",
        "message_imprint": {"hash_algorithm": {"algorithm": hash_name}, "hashed_message": imprint},
        "nonce": nonce,
        "cert_req": True,
    }
    if policy is not None:
        fields["req_policy"] = policy
    encoded: bytes = tsp.TimeStampReq(fields).dump()
    return encoded


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == 429 or status >= 500:
        raise TsaUnavailable(f"the authority answered {status}")
    if status >= 400:
        raise TsaRefused(f"the authority answered {status}")
    if status != 200 or response.headers.get("Content-Type", "").partition(";")[0] != "application/timestamp-reply":
        raise TsaAnswerInvalid("the answer is not a time-stamp reply")


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, within a size and a time: one octet now and then does not keep us here (PKI-03)."""
    body = bytearray()
    while piece := response.raw.read1(_MAX_ANSWER):
        body += piece
        if len(body) > _MAX_ANSWER:
            raise TsaAnswerInvalid(f"the answer is longer than {_MAX_ANSWER} octets")
        if time.monotonic() > deadline:
            raise TsaUnavailable("the answer did not end in time")
    return bytes(body)


def _token_of(answer: bytes) -> bytes:
    """The token of a reply that grants it as it was asked for (RFC 3161 2.4.2)."""
    try:
        reply = _Reply.load(answer, strict=True)
        status = reply["status"]["status"].native
        failures = reply["status"]["fail_info"].native or set()
        token: bytes = reply["time_stamp_token"].dump()
    except (ValueError, TypeError) as error:
        raise TsaAnswerInvalid("the answer is not a time-stamp reply") from error
    if status == "granted":
        return token
    summary = f"the authority said {status} ({', '.join(sorted(failures)) or 'no reason given'})"
    if status == "granted_with_mods":
        raise TsaAnswerInvalid(summary)
    raise TsaUnavailable(summary) if failures & _TEMPORARY or status == "waiting" else TsaRefused(summary)


def _close(one: datetime, other: datetime, seconds: int) -> bool:
    return abs(one - other) <= timedelta(seconds=seconds)
