"""Tokens that are bound to a key or certificate of their client's: whether a request shows it (RFC 9449 7, RFC 8705 3).

Over a SAD that is to be spent nothing is decided here: the activation module verifies its proof itself.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from contract.confirmation import Confirmation
from foundation.clock import epoch
from foundation.dpop import DpopProof, verify_proof
from foundation.errors import JoseError
from signing.csc import errors

_MOST_REMEMBERED: Final = 100_000
"""Proofs of a minute.  Only what came with a good token is remembered: strangers do not fill this."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What came with a request to show a key."""

    uri: str = ""
    """Of the method, as clients see it."""
    proofs: tuple[str, ...] = field(default=(), repr=False)
    """Values of the ``DPoP`` headers."""
    certificate: str | None = None
    """``x5t#S256`` of the certificate of the connection; None: the client showed none."""

    @property
    def proof(self) -> str | None:
        """The one proof; two are as good as none (RFC 9449 4.3)."""
        return self.proofs[0] if len(self.proofs) == 1 else None


class UsedProofs:
    """Proofs of the last minute, in this process: another one might take the same proof once more.  Thread-safe."""

    def __init__(self, most: int = _MOST_REMEMBERED) -> None:
        self._until: dict[str, int] = {}
        self._most = most
        self._lock = threading.Lock()

    def add(self, proof: DpopProof, now: datetime) -> bool:
        """Remember a proof; False where it is known.

        :raises errors.TemporarilyUnavailable: there is no room for one more.
        """
        at = epoch(now)
        with self._lock:
            if len(self._until) >= self._most:
                self._until = {use: until for use, until in self._until.items() if until > at}
            if len(self._until) >= self._most:
                raise errors.TemporarilyUnavailable(errors.BUSY)
            if proof.use in self._until:
                return False
            self._until[proof.use] = proof.memorable_until
            return True


def check_scheme(bound: Confirmation | None, scheme: str) -> None:
    """A token that is bound by DPoP is presented under that scheme, and no other token is (RFC 9449 7.1, 7.2).

    :raises errors.InvalidToken: it is not.
    """
    if (scheme == "dpop") != (bound is not None and bound.method == "jkt"):
        raise errors.InvalidToken


def check_shown(
    bound: Confirmation | None, token: str, shown: Shown, *, scheme: str, used: UsedProofs, now: datetime
) -> None:
    """The key of a token that this service verifies itself was shown, in this very request.

    :raises errors.InvalidToken: presented in another way than it was given, or bound to another certificate.
    :raises errors.InvalidDpopProof: no proof, not one for this request, another key's, or used before.
    """
    check_scheme(bound, scheme)
    if bound is None:
        return
    if bound.method == "x5t#S256":
        if shown.certificate is None or not bound.is_of(shown.certificate):
            raise errors.InvalidToken
        return
    if shown.proof is None:
        raise errors.InvalidDpopProof
    try:
        proof = verify_proof(shown.proof, method="POST", uris=[shown.uri], now=now, token=token)
    except JoseError as error:
        raise errors.InvalidDpopProof from error
    if not bound.is_of(proof.jkt) or not used.add(proof, now):
        raise errors.InvalidDpopProof
