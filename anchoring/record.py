"""An anchor: a checkpoint of a chain, and a stamp that tells when it was so.  Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field

from anchoring.errors import AnchorFileUnusable
from auditlog.chain import Checkpoint
from auditlog.errors import CheckpointInvalid


@dataclass(frozen=True, slots=True)
class Anchor:
    """A line of the file of anchors."""

    checkpoint: Checkpoint
    token: bytes = field(repr=False)
    """TimeStampToken (RFC 3161 2.4.2), DER, over :func:`imprint_of` the checkpoint."""

    def to_json(self) -> str:
        """One line of JSON: the checkpoint's own members, and ``token`` in base64."""
        members = json.loads(self.checkpoint.to_json())
        return json.dumps({**members, "token": base64.b64encode(self.token).decode()}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Anchor:
        """Read what :meth:`to_json` wrote.

        :raises AnchorFileUnusable: anything else.
        """
        try:
            value = json.loads(line)
            token = base64.b64decode(value.pop("token"), validate=True)
            return cls(Checkpoint.from_json(json.dumps(value)), token)
        except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, CheckpointInvalid) as error:
            raise AnchorFileUnusable("a line of the anchors is none that this process wrote") from error


def imprint_of(checkpoint: Checkpoint) -> bytes:
    """What is stamped: SHA-256 of the checkpoint's line (:meth:`auditlog.chain.Checkpoint.to_json`), 32 octets."""
    return hashlib.sha256(checkpoint.to_json().encode()).digest()
