"""What goes into the confined process and comes out of it: JSON with the document behind it, and JSON.

What comes out is believed as little as the document that went in: chains are validated before anybody is asked about
them, and the report is handed on as it is.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from signing.ades.validate.policy import Circumstances, Revocation, ValidationPolicy
from signing.ades.validation_data import ValidationData
from signing.validation.errors import TooComplex

_LENGTH: Final = struct.Struct(">I")
NAME: Final = "document"
"""What a report for people calls the document."""
MAX_CHAINS: Final = 20
"""About which somebody may be asked for one document."""


@dataclass(frozen=True, slots=True)
class Task:
    """One document's validation."""

    policy: ValidationPolicy
    circumstances: Circumstances
    document: bytes = field(repr=False)

    def to_octets(self) -> bytes:
        """For the confined process."""
        outside = self.circumstances.outside
        head = {
            "anchors": _texts(self.policy.anchors),
            "timestamp_anchors": _texts(self.policy.timestamp_anchors),
            "revocation": self.policy.revocation,
            "at": self.circumstances.at.isoformat(),
            "certificates": _texts(outside.certificates),
            "ocsps": _texts(outside.ocsps),
            "crls": _texts(outside.crls),
        }
        encoded = json.dumps(head).encode()
        return _LENGTH.pack(len(encoded)) + encoded + self.document

    @classmethod
    def from_octets(cls, octets: bytes) -> Task:
        """In the confined process."""
        (length,) = _LENGTH.unpack_from(octets)
        start = _LENGTH.size
        head = json.loads(octets[start : start + length])
        policy = ValidationPolicy(
            _octets(head["anchors"]), _octets(head["timestamp_anchors"]), cast("Revocation", head["revocation"])
        )
        outside = ValidationData(_octets(head["certificates"]), _octets(head["ocsps"]), _octets(head["crls"]))
        return cls(policy, Circumstances(datetime.fromisoformat(head["at"]), outside), octets[start + length :])


@dataclass(frozen=True, slots=True)
class Result:
    """What the confined process says."""

    report: dict[str, Any]
    """See :func:`signing.ades.validate.report.as_json`."""
    text: str
    """For people."""
    chains: tuple[tuple[bytes, ...], ...] = field(repr=False)
    """Of signers and time-stamps, from the end entity's certificate to an anchor's, DER: nobody vouches for them."""

    def to_octets(self) -> bytes:
        """From the confined process."""
        chains = [_texts(each) for each in self.chains[:MAX_CHAINS]]
        return json.dumps({"report": self.report, "text": self.text, "chains": chains}).encode()

    @classmethod
    def from_octets(cls, octets: bytes) -> Result:
        """:raises TooComplex: this is no result: whatever the document did to the process, it has none."""
        try:
            told = json.loads(octets)
            chains = tuple(_octets(each) for each in told["chains"][:MAX_CHAINS])
            report, text = told["report"], told["text"]
            known = {"TOTAL_PASSED", "INDETERMINATE", "TOTAL_FAILED"}
            if report["verdict"]["indication"] not in known or not isinstance(text, str):
                raise ValueError("another form")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TooComplex("the document could not be validated") from error
        return cls(report, text, chains)


def _texts(found: tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(each).decode() for each in found]


def _octets(texts: Any) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(each, validate=True) for each in texts)
