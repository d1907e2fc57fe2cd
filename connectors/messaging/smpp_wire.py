"""SMPP 3.4 on the wire: what is sent, what comes back, and what a status means.  Pure but for the codec's library.

Of ``smpplib`` its PDUs are used and nothing else: its client has no deadline over a dialogue, matches no answer to its
question, connects over IPv4 alone, checks no name in a certificate, writes texts into the log, and cuts characters in
two.  What its parser makes of malformed octets, of whatever exception, is :class:`BadPdu` here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from smpplib import consts, smpp

from connectors.ports.messaging import (
    DeliveryState,
    GatewayMisconfigured,
    GatewayUnavailable,
    MessagingError,
    Receipt,
    RecipientRefused,
)
from connectors.ports.sms_text import SEPTETS, SEPTETS_OF_MANY, UNITS, UNITS_OF_MANY, gsm_codes, split, ucs2_codes

HEADER: Final = 16
MAX_PDU: Final = 64 * 1024
MOST_PARTS: Final = 10
_GSM: Final = 0x00
_LATIN1: Final = 0x03
_UCS2: Final = 0x08
_UDHI: Final = 0x40
_IS_RECEIPT: Final = 0x04
_MESSAGE_TYPE: Final = 0x3C
_RECEIPT: Final = re.compile(rb"\bid:([^ ]{1,65}) .*?\bstat:([A-Z]{1,10})", re.IGNORECASE | re.DOTALL)
_FAILED: Final = frozenset({b"EXPIRED", b"DELETED", b"UNDELIV", b"REJECTD"})
_FAILED_STATES: Final = frozenset({3, 4, 5, 8})
_DELIVERED_STATE: Final = 2

Long = Literal["udh", "payload"]
Alphabet = Literal["gsm7", "latin1"]


class BadPdu(Exception):
    """The other end does not speak SMPP 3.4."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one submit_sm carries."""

    octets: bytes = field(repr=False)
    data_coding: int
    esm_class: int = 0
    in_payload: bool = False
    """In ``message_payload`` instead of ``short_message`` (SMPP 3.4 5.3.2.32)."""


@dataclass(frozen=True, slots=True)
class Pdu:
    """A PDU that came."""

    command: str
    status: int
    sequence: int
    parsed: Any = field(repr=False)

    @property
    def message_id(self) -> str:
        """Of a submit_sm_resp; empty where it has none."""
        value = getattr(self.parsed, "message_id", None) or b""
        text = value.decode("ascii", "replace")
        return text if text.isprintable() else ""


def parts_of(text: str, reference: int, *, alphabet: Alphabet = "gsm7", long: Long = "udh") -> tuple[Part, ...]:
    """A text in parts that each fit a message, or in one with a payload.

    :param reference: 0 to 255, the same for the parts of one text (TS 23.040 9.2.3.24.1).
    :raises RecipientRefused: it takes more than :data:`MOST_PARTS`.
    """
    codes, coding, single, many = _encoded(text, alphabet)
    sizes = [len(code) if coding != _UCS2 else len(code) // 2 for code in codes]
    if sum(sizes) <= single:
        return (Part(b"".join(codes), coding),)
    if long == "payload":
        return (Part(b"".join(codes), coding, in_payload=True),)
    spans = split(sizes, many)
    if len(spans) > MOST_PARTS:
        raise RecipientRefused("the text is too long")
    return tuple(
        Part(bytes([5, 0, 3, reference, len(spans), number]) + b"".join(codes[begin:end]), coding, _UDHI)
        for number, (begin, end) in enumerate(spans, start=1)
    )


def _encoded(text: str, alphabet: Alphabet) -> tuple[tuple[bytes, ...], int, int, int]:
    if alphabet == "gsm7":
        codes = gsm_codes(text)
        if codes is not None:
            return codes, _GSM, SEPTETS, SEPTETS_OF_MANY
    elif text.isascii() or all(ord(character) < 0x100 for character in text):
        return tuple(character.encode("latin-1") for character in text), _LATIN1, 140, 134
    return ucs2_codes(text), _UCS2, UNITS, UNITS_OF_MANY


class _Numbered:
    """Gives the library the number that a PDU is to have."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence

    def next_sequence(self) -> int:
        """That number."""
        return self.sequence


def encode(command: str, sequence: int, **parameters: Any) -> bytes:
    """The octets of a PDU."""
    made = smpp.make_pdu(command, client=_Numbered(sequence), **parameters)
    made.sequence = sequence
    octets: bytes = made.generate()
    return octets


def frames(buffer: bytearray) -> Iterator[Pdu]:
    """Take the whole PDUs out of a buffer.

    :raises BadPdu: what is there cannot be one.
    """
    while len(buffer) >= 4:
        (length,) = struct.unpack(">L", buffer[:4])
        if not HEADER <= length <= MAX_PDU:
            raise BadPdu("a length that no PDU has")
        if len(buffer) < length:
            return
        octets = bytes(buffer[:length])
        del buffer[:length]
        yield _decode(octets)


def _decode(octets: bytes) -> Pdu:
    try:
        parsed = smpp.parse_pdu(octets, client=_Numbered(0), allow_unknown_opt_params=True)
        return Pdu(str(parsed.command), int(parsed.status), int(parsed.sequence), parsed)
    except Exception as error:  # noqa: BLE001 - the library's parser raises whatever it trips over
        raise BadPdu(type(error).__name__) from None


def receipt_in(pdu: Pdu) -> Receipt | None:
    """What a deliver_sm tells of a message of ours (SMPP 3.4, 4.6 and appendix B); None: it is something else.

    The rest of its text may quote the message, and is not kept.
    """
    if pdu.command != "deliver_sm" or (getattr(pdu.parsed, "esm_class", 0) or 0) & _MESSAGE_TYPE != _IS_RECEIPT:
        return None
    text = getattr(pdu.parsed, "short_message", None) or getattr(pdu.parsed, "message_payload", None) or b""
    found = _RECEIPT.search(text)
    reference = getattr(pdu.parsed, "receipted_message_id", None) or (found[1] if found else b"")
    state = getattr(pdu.parsed, "message_state", None)
    word = found[2].upper() if found else b""
    name = reference.rstrip(b"\0").decode("ascii", "replace")
    if not name or not name.isprintable():
        return None
    if state == _DELIVERED_STATE or (state is None and word == b"DELIVRD"):
        return Receipt(name, DeliveryState.DELIVERED)
    failed = state in _FAILED_STATES if state is not None else word in _FAILED
    return Receipt(name, DeliveryState.FAILED if failed else DeliveryState.PENDING)


_LATER: Final = {
    consts.SMPP_ESME_RTHROTTLED: "throttles",
    consts.SMPP_ESME_RMSGQFUL: "has a full queue",
    consts.SMPP_ESME_RSYSERR: "has a fault",
    consts.SMPP_ESME_RX_T_APPN: "cannot now",
    consts.SMPP_ESME_RALYBND: "still holds a former connection",
    consts.SMPP_ESME_RSUBMITFAIL: "could not submit",
}


def refusal(status: int) -> MessagingError:
    """What a status other than ESME_ROK means (SMPP 3.4 5.1.3): the message was not taken, for certain."""
    summary = f"the SMS centre answered {status:#06x}"
    if status in _LATER:
        return GatewayUnavailable(f"{summary}: it {_LATER[status]}")
    if status == consts.SMPP_ESME_RINVDSTADR:
        return RecipientRefused(summary)
    return GatewayMisconfigured(summary)
