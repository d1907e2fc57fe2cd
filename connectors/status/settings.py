"""Settings of the status connector ``http``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class HttpStatusSettings:
    """Table ``settings`` of a ``status`` connector named ``http``."""

    egress_allow: tuple[str, ...] = ()
    """``host:port`` on a private or loopback address that may be asked."""
    prefer: Literal["ocsp", "crl"] = "ocsp"
    """What is asked first; the other where it does not serve."""
    ocsp_method: Literal["post", "get"] = "post"
    """``get``: where the address then has 255 octets or fewer (RFC 6960 A.1), for responders behind caches."""
    ocsp_nonce: Literal["required", "if_answered", "never"] = "if_answered"
    """RFC 9654.  ``never``: none is sent; a cache in between could not answer otherwise."""
    timeout_seconds: float = 4.0
    """For one address, from the connection to the answer's end."""
    deadline_seconds: float = 15.0
    """For all that is asked about one certificate."""
    cache_seconds: int = 3600
    """How long an answer serves again, at most; never beyond its nextUpdate."""
    max_age_seconds: int = 7 * 24 * 60 * 60
    """From an answer's thisUpdate; what is older says nothing, whatever its nextUpdate."""
    max_crl_octets: int = 16 * 1024 * 1024
    concurrent: int = 8
    """Who asks authorities at one time; half as many again wait for a place, further ones are told at once: whoever
    asks or waits holds a thread of the server's (DOS-03)."""

    def faults(self) -> Iterator[str]:
        """Bounds."""
        if not 0.1 <= self.timeout_seconds <= self.deadline_seconds <= 60:
            yield "timeout_seconds is at least 0.1 and at most deadline_seconds, which is at most 60"
        if not 0 <= self.cache_seconds <= 24 * 60 * 60:
            yield "cache_seconds is 0 to 86400"
        if not 60 <= self.max_age_seconds <= 31 * 24 * 60 * 60:
            yield "max_age_seconds is 60 to 2678400"
        if not 64 * 1024 <= self.max_crl_octets <= 256 * 1024 * 1024:
            yield "max_crl_octets is 65536 to 268435456"
        if not 1 <= self.concurrent <= 64:
            yield "concurrent is 1 to 64"
        if self.ocsp_nonce == "required" and self.ocsp_method == "get":
            yield "ocsp_nonce required goes with ocsp_method post: what caches keep has no nonce of ours"
