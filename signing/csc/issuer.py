"""The identity provider as the API sees it: its keys, and whether a token still lives.

A signature alone would keep a revoked token alive until it expires, so each is introspected as well (RFC 7662), and the
answer is kept for at most five seconds.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from contract.errors import SadInvalid
from contract.sad import Sad, decode
from foundation import claims as read
from foundation.claims import check_not_expired
from foundation.clock import Clock
from foundation.errors import JoseError
from foundation.jose import MAX_TOKEN_OCTETS, VerificationKey, import_verification_key, verify_compact
from foundation.log import get
from signing.csc import errors
from signing.csc.facade import INTROSPECTION, JWKS, TOKEN, Facade, FacadeRefused, FacadeUnavailable
from signing.csc.remembered import SECONDS, Remembered
from signing.csc.service_token import ACCESS_TOKEN_TYPE, SERVICE_SCOPE, ServiceToken, service_token_of
from signing.settings import IssuerSettings

_KEYS_SECONDS: Final = 300.0
_KEYS_RETRY_SECONDS: Final = 5.0
"""An unknown ``kid`` makes us look again, but not more often than this: anybody can send one."""
_CACHE_ENTRIES: Final = 4096
_MAX_SERVICE_TOKEN: Final = 8 * 1024

_log = get(__name__)


EXTENSION_GRANT: Final = "urn:privyseal:params:oauth:grant-type:extend-transaction"


@dataclass(slots=True)
class _Cached:
    active: bool
    until: float


class Issuer:
    """Verifies service tokens, and SADs where they are the bearer of a query.  Thread-safe.

    :param monotonic: seconds of a clock that is never set, for the caches.
    """

    def __init__(
        self,
        settings: IssuerSettings,
        resource: str,
        clock: Clock,
        facade: Facade,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._resource = resource
        self._clock = clock
        self._facade = facade
        self._monotonic = monotonic
        self._sad_keys = tuple(import_verification_key(path.read_bytes()) for path in settings.sad_keys)
        self._keys: tuple[VerificationKey, ...] = ()
        self._keys_until = 0.0
        self._keys_retry = 0.0
        self._cache: OrderedDict[bytes, _Cached] = OrderedDict()
        seconds = min(SECONDS, settings.introspection_cache_seconds)
        self._sads: Remembered[Sad] = Remembered(seconds=seconds, monotonic=monotonic)
        self._tokens: Remembered[Mapping[str, Any]] = Remembered(seconds=seconds, monotonic=monotonic)
        self._lock = threading.Lock()

    def service_token(self, token: str, scope: str = SERVICE_SCOPE) -> ServiceToken:
        """Verify a service token, or an access token of another scope.

        :raises errors.InvalidToken: :raises errors.ExpiredToken: it is not good.
        :raises errors.TemporarilyUnavailable: the identity provider cannot be asked.
        """
        try:
            claims = self._tokens.of(token, lambda: self._verified(token))
            verdict = service_token_of(
                claims, issuer=self._settings.url, resource=self._resource, now=self._clock.now(), scope=scope
            )
            if not self._active(token):
                raise errors.ExpiredToken
        except (FacadeUnavailable, FacadeRefused) as error:
            _log.error("the identity provider cannot be asked", extra={"fields": {"reason": str(error)}})
            raise errors.TemporarilyUnavailable(errors.ISSUER_UNREACHABLE) from error
        return verdict

    def sad(self, token: str) -> Sad:
        """Verify a SAD that is the bearer of a query; nothing is spent.

        :raises errors.InvalidToken: not one of the pinned issuer's, or no key is pinned here.
        :raises errors.ExpiredToken: ``exp`` has been reached.
        """
        try:
            sad = self._sads.of(token, lambda: decode(token, self._sad_keys))
            if sad.iss != self._settings.url:
                raise errors.InvalidToken
            check_not_expired(sad.exp, self._clock.now())
        except SadInvalid as error:
            raise errors.InvalidToken from error
        except JoseError as error:
            raise errors.ExpiredToken from error
        return sad

    def extend(self, sad: str) -> tuple[str, int]:
        """A SAD in another one's place, and the seconds that it lives.

        :raises errors.InvalidRequest: the identity provider gives none for this one.
        :raises errors.TemporarilyUnavailable: it cannot be asked.
        """
        try:
            answer = self._facade.post(TOKEN, {"grant_type": EXTENSION_GRANT, "sad": sad})
            seconds = read.integer(answer, "expires_in", low=1, high=3600)
            return read.text(answer, "access_token", max_length=MAX_TOKEN_OCTETS), seconds
        except FacadeRefused as error:
            raise errors.invalid("SAD") from error
        except (FacadeUnavailable, JoseError) as error:
            _log.error("the identity provider cannot be asked", extra={"fields": {"reason": str(error)}})
            raise errors.TemporarilyUnavailable(errors.ISSUER_UNREACHABLE) from error

    def _verified(self, token: str) -> dict[str, Any]:
        try:
            return self._verify(token, self._current_keys(refresh=False))
        except JoseError:
            keys = self._current_keys(refresh=True)
        try:
            return self._verify(token, keys)
        except JoseError as error:
            raise errors.InvalidToken from error

    @staticmethod
    def _verify(token: str, keys: tuple[VerificationKey, ...]) -> dict[str, Any]:
        return verify_compact(token, keys, {ACCESS_TOKEN_TYPE}, max_octets=_MAX_SERVICE_TOKEN)

    def _current_keys(self, *, refresh: bool) -> tuple[VerificationKey, ...]:
        with self._lock:
            now = self._monotonic()
            stale = now >= self._keys_until or (refresh and now >= self._keys_retry)
            if not stale:
                return self._keys
            # Others go on with the keys there are while one asks.
            self._keys_retry = now + _KEYS_RETRY_SECONDS
        keys = self._fetch_keys()
        with self._lock:
            self._keys = keys
            self._keys_until = self._monotonic() + _KEYS_SECONDS
        return keys

    def _fetch_keys(self) -> tuple[VerificationKey, ...]:
        entries = self._facade.get(JWKS).get("keys")
        if not isinstance(entries, list):
            raise FacadeUnavailable("the key set is not one")
        keys = []
        for entry in entries[:16]:
            try:
                keys.append(import_verification_key(entry))
            except JoseError:
                continue  # a kind that we do not use; a token under it is refused
        return tuple(keys)

    def _active(self, token: str) -> bool:
        key = hashlib.sha256(token.encode()).digest()
        with self._lock:
            cached = self._cache.get(key)
            if cached is not None and self._monotonic() < cached.until:
                return cached.active
        # Counted from before the question: the answer may already be old when it arrives.
        until = self._monotonic() + self._settings.introspection_cache_seconds
        answer = self._facade.post(INTROSPECTION, {"token": token, "token_type_hint": "access_token"})
        active = answer.get("active") is True
        with self._lock:
            self._cache[key] = _Cached(active, until)
            self._cache.move_to_end(key)
            while len(self._cache) > _CACHE_ENTRIES:
                self._cache.popitem(last=False)
        return active
