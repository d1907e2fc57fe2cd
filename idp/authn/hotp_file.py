"""The file of code devices that an operator imports: pure.

CSV in UTF-8 with a header: ``serial``, ``seed_hex`` or ``seed_base32``, and if need be ``counter`` (0 where left out)
and ``digits`` (6).  An error names the line and never what it says: the file is seeds.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from idp.authn.hotp import DIGITS, MAX_COUNTER, SEED_OCTETS
from idp.errors import InputRefused

MAX_DEVICES: Final = 100_000
_COLUMNS: Final = frozenset({"serial", "seed_hex", "seed_base32", "counter", "digits"})
_SERIAL: Final = re.compile(r"[A-Z0-9][A-Z0-9._/-]{0,63}\Z", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,15}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImportedDevice:
    """One line of the file."""

    serial: str
    seed: bytes = field(repr=False)
    digits: int
    counter: int


def serial_of(text: str) -> str | None:
    """A serial number as it is kept: capital letters, no blanks; None: it is none."""
    serial = "".join(text.split()).upper()
    return serial if _SERIAL.match(serial) else None


def read_devices(text: str) -> tuple[ImportedDevice, ...]:
    """The devices of a file, all or none.

    :raises InputRefused: something is wrong with a line, or a serial number is there twice.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
    try:
        names = frozenset(rows.fieldnames or ())
        if not names <= _COLUMNS or "serial" not in names or not names & {"seed_hex", "seed_base32"}:
            raise InputRefused("line 1: the header is serial, seed_hex or seed_base32, and optionally counter, digits")
        found: dict[str, ImportedDevice] = {}
        for row in rows:
            device = _device(row, rows.line_num)
            if device.serial in found:
                raise InputRefused(f"line {rows.line_num}: serial number {device.serial} is there twice")
            if len(found) >= MAX_DEVICES:
                raise InputRefused(f"a file has at most {MAX_DEVICES} devices")
            found[device.serial] = device
    except csv.Error as error:
        raise InputRefused(f"line {rows.line_num}: not CSV") from error
    if not found:
        raise InputRefused("there is no device in the file")
    return tuple(found.values())


def _device(row: Mapping[str, str | None], line: int) -> ImportedDevice:
    if "" in row:
        raise InputRefused(f"line {line}: more values than the header has names")
    serial = serial_of(row.get("serial") or "")
    if serial is None:
        raise InputRefused(f"line {line}: a serial number is 1 to 64 letters, digits and ._/-")
    digits = _number(row.get("digits"), 6, line, "digits")
    if digits not in DIGITS:
        raise InputRefused(f"line {line}: digits is 6, 7 or 8")
    counter = _number(row.get("counter"), 0, line, "counter")
    if counter >= MAX_COUNTER:
        raise InputRefused(f"line {line}: counter is below 2 to the power of 48")
    seed = _seed(row.get("seed_hex") or "", row.get("seed_base32") or "", line)
    return ImportedDevice(serial, seed, digits, counter)


def _seed(hexadecimal: str, base32: str, line: int) -> bytes:
    try:
        if hexadecimal.strip():
            seed = bytes.fromhex(hexadecimal)
        else:
            letters = "".join(base32.split()).upper().rstrip("=")
            seed = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (ValueError, binascii.Error):
        # Not "from error": its text may quote what it met.
        raise InputRefused(f"line {line}: the seed cannot be read") from None
    if len(seed) not in SEED_OCTETS:
        raise InputRefused(f"line {line}: a seed has {SEED_OCTETS.start} to {SEED_OCTETS.stop - 1} octets")
    return seed


def _number(text: str | None, otherwise: int, line: int, name: str) -> int:
    value = (text or "").strip()
    if not value:
        return otherwise
    if not _NUMBER.match(value):
        raise InputRefused(f"line {line}: {name} is a number")
    return int(value)
