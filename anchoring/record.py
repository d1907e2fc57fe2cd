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
from auditlog.notes import read_note


@dataclass(frozen=True, slots=True)
class Anchor:
    """A line of the file of anchors."""

    checkpoint: Checkpoint
    token: bytes = field(repr=False)
    """TimeStampToken (RFC 3161 2.4.2), DER, over :func:`imprint_of` the checkpoint and the note."""
    note: str = ""
    """The latest signed checkpoint (:mod:`auditlog.notes`) that no earlier anchor has; empty: there was none."""

    def to_json(self) -> str:
        """One line of JSON: the checkpoint's own members, ``note`` where there is one, and ``token`` in base64."""
        members = json.loads(_content(self.checkpoint, self.note))
        return json.dumps({**members, "token": base64.b64encode(self.token).decode()}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Anchor:
        """Read what :meth:`to_json` wrote.

        :raises AnchorFileUnusable: anything else.
        """
        try:
            value = json.loads(line)
            token = base64.b64decode(value.pop("token"), validate=True)
            note = value.pop("note", "")
            if note:
                read_note(note)
            return cls(Checkpoint.from_json(json.dumps(value)), token, note)
        except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, CheckpointInvalid) as error:
            raise AnchorFileUnusable("a line of the anchors is none that this process wrote") from error


def imprint_of(checkpoint: Checkpoint, note: str = "") -> bytes:
    """What is stamped: SHA-256 of the anchor's line as it would be without its token, 32 octets."""
    return hashlib.sha256(_content(checkpoint, note).encode()).digest()


def _content(checkpoint: Checkpoint, note: str) -> str:
    members = json.loads(checkpoint.to_json())
    return json.dumps({**members, "note": note} if note else members, separators=(",", ":"))
