"""What the record of a signature says of the approval: evidence for whoever asks years later.

The SAD itself is not kept: it opens a key until it expires.  Its content is, without its signature, and the SHA-256 of
its octets, which the identity provider's own chain has as well: each side tells of one SAD under its own checkpoints.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from auditlog.chain import Fields
from contract.sad import EvidenceClaim, Sad

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_PIECE: Final = 500
"""Characters of a piece of what is longer than a field may be."""


def sad_record(sad: Sad, token: str) -> dict[str, Any]:
    """Fields of ``signature.intent``; digests, level and client are among the others there.

    :param token: the SAD as it came.
    """
    fields: Fields = {
        "sad_sha256": hashlib.sha256(token.encode()).hexdigest(),
        "aud": sad.aud,
        "iat": sad.iat,
        "exp": sad.exp,
        "sign_count": sad.sign_count,
        "hash_type": sad.hash_type,
        "acr": sad.acr,
        "amr": list(sad.amr),
        "auth_time": sad.auth_time,
        "evidence": [_compact(_members(item)) for item in sad.evidence],
        "policy": sad.policy.name,
    }
    if sad.in_band:
        fields = {**fields, "in_band": True}
    if sad.signer_proof is None:
        return dict(fields)
    claim = _compact(sad.signer_proof)
    return {**fields, "proof": [claim[at : at + _PIECE] for at in range(0, len(claim), _PIECE)]}


def _compact(value: Any) -> str:
    return _CANONICAL(value)


def _members(item: EvidenceClaim) -> dict[str, Any]:
    return {name: getattr(item, name) for name in EvidenceClaim.__slots__}
