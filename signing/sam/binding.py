"""Whether a request shows the key to which its SAD is bound (``cnf``).  Pure.

A DPoP proof the module verifies itself: whoever carries the request, the web tier included, cannot make one.  Of a TLS
client certificate it sees nothing but the thumbprint that the web tier says it saw: that holds off whoever stole the
SAD elsewhere, and proves nothing against the web tier itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from contract.sad import Sad
from foundation.dpop import verify_proof
from foundation.errors import JoseError
from signing.sam.errors import BindingRefused


@dataclass(frozen=True, slots=True)
class Possession:
    """What came with a request to show whose it is."""

    dpop: str | None = field(default=None, repr=False)
    """A DPoP proof (RFC 9449 4.1), its octets as the client sent them."""
    certificate: str | None = None
    """``x5t#S256`` (RFC 8705 3.1) of the client certificate that the web tier was told of."""


def verify_binding(
    sad: Sad, token: str, shown: Possession, *, method: str, uris: tuple[str, ...], now: datetime
) -> str | None:
    """Verify that the key to which the SAD is bound was shown with this request (SAD-14).

    :param token: the SAD's octets, of which a proof holds the hash.
    :param uris: of the operation, as clients see them: the module's own settings, not the web tier's word.
    :returns: what has to be spent with it so that the same proof serves once; ``None`` where there is no proof.
    :raises BindingRefused: it was not.
    """
    bound = sad.cnf
    if bound is None:
        return None
    if bound.method == "x5t#S256":
        if shown.certificate is None or not bound.is_of(shown.certificate):
            raise BindingRefused("the SAD is bound to a client certificate that was not shown")
        return None
    if shown.dpop is None:
        raise BindingRefused("the SAD is bound to a key, and there is no proof of it")
    try:
        proof = verify_proof(shown.dpop, method=method, uris=uris, now=now, token=token)
    except JoseError as error:
        raise BindingRefused(f"the proof of possession is not one for this request: {error}") from error
    if not bound.is_of(proof.jkt):
        raise BindingRefused("the proof of possession is of another key")
    # Within its transaction: nobody can use up the proofs of somebody else's.
    return hashlib.sha256(f"{sad.iss}\n{sad.txn}\n{proof.use}".encode()).hexdigest()
