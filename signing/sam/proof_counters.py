"""Counters of the devices that approve: one that goes back is a copy's.

Source: WebAuthn Level 3 7.2 step 22.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from contract import proof as proofs
from contract.sad import Sad
from foundation.clock import epoch
from signing.sam.errors import ProofCloned

_COUNTER: Final = slice(33, 37)
"""``signCount`` in the authenticator data (WebAuthn Level 3 6.1)."""
_MOST_COUNTED: Final = 100_000
"""Devices whose counter one process remembers; the ones longest unused are forgotten."""


@dataclass(frozen=True, slots=True)
class _Counted:
    count: int
    proof: str
    """SHA-256 of the signature: the same proof may come again, with another part of its digests."""
    seen_at: int


class ProofCounters:
    """The highest counter that each device has shown: a lower one later is a copy's.  Thread-safe.

    In memory: what this process has seen since it started.  A database would know longer, and whoever writes it could
    lower what it knows; a copied key that counts right, or not at all, is seen by neither.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._highest: dict[str, _Counted] = {}

    def take(self, sad: Sad, now: datetime) -> None:
        """Look at the counter of a proof that has been verified, and remember it.

        A proof that was begun before the higher one was seen is not a copy's: a person may approve two things, and
        their signatures be asked for in another order.

        :raises ProofCloned: two proofs with one counter, or one begun later with a lower one.
        """
        if sad.signer_proof is None:
            return
        proof = proofs.from_claim(sad.signer_proof)
        if proof.webauthn is None:
            return
        mine = _Counted(
            int.from_bytes(proof.webauthn.authenticator_data[_COUNTER], "big"),
            hashlib.sha256(proof.signature).hexdigest(),
            epoch(now),
        )
        with self._lock:
            highest = self._highest.get(proof.kid)
            if highest is None or mine.count > highest.count:
                if mine.count:
                    self._highest.pop(proof.kid, None)
                    self._highest[proof.kid] = mine
                    if len(self._highest) > _MOST_COUNTED:
                        del self._highest[next(iter(self._highest))]
                return
        if mine.proof == highest.proof or (mine.count < highest.count and proof.iat <= highest.seen_at):
            return
        raise ProofCloned("the device's counter goes back: there may be a copy of its key")
