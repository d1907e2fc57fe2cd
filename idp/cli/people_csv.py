"""Files of people: CSV (RFC 4180), UTF-8, one header line with columns that are known.  Pure.

A file that is not of this form is refused whole, before anything is done.  A row whose values are not accepted is
refused by itself, with its line, its column and the reason.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from idp.errors import InputRefused
from idp.policy.model import PROOFING
from idp.storage.accounts import NewAccount, check_new
from idp.storage.authenticators import check_address

REQUIRED: Final = ("username", "name")
OPTIONAL: Final = (
    "given_name",
    "surname",
    "country",
    "serial_number",
    "locale",
    "phone",
    "email",
    "proofing",
    "groups",
    "attributes",
)
MAX_OCTETS: Final = 32 * 1024 * 1024
MAX_ROWS: Final = 100_000
_MAX_FIELD: Final = 4096
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_SECRETS: Final = frozenset({"password", "passwd", "pin", "secret", "code", "password_hash"})


@dataclass(frozen=True, slots=True)
class Person:
    """What a row says."""

    line: int
    account: NewAccount
    phone: str | None
    email: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not taken, and why."""

    line: int
    column: str
    reason: str


def read(data: bytes) -> list[Person | Refused]:
    """The rows of a file, in its order.

    :raises InputRefused: the file is not of the form, and nothing of it is taken.
    """
    if len(data) > MAX_OCTETS:
        raise InputRefused(f"the file has more than {MAX_OCTETS} octets")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRefused(f"the file is not UTF-8: octet {error.start}") from error
    if "\0" in text:
        raise InputRefused("the file has a NUL")
    lines = _lines(text)
    header = next(lines, (0, []))[1]
    _check_header(header)
    seen: dict[str, int] = {}
    found = [_row(line, header, cells, seen) for line, cells in lines]
    if len(found) > MAX_ROWS:
        raise InputRefused(f"the file has more than {MAX_ROWS} rows: split it")
    return found


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line on which each begins; empty lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    began = 1
    try:
        for cells in reader:
            if cells:
                yield began, cells
            began = reader.line_num + 1
    except csv.Error as error:
        raise InputRefused(f"line {began}: not CSV (RFC 4180): {error}") from error


def _check_header(header: Sequence[str]) -> None:
    if not header:
        raise InputRefused("the file is empty: its first line names the columns")
    known = {*REQUIRED, *OPTIONAL}
    for name in header:
        if name.lower() in _SECRETS:
            raise InputRefused(
                f"column '{name}': no secret comes from a file; people set their own, with an activation code"
            )
        if name not in known:
            raise InputRefused(f"column {name[:64]!r} is unknown; known are {', '.join((*REQUIRED, *OPTIONAL))}")
    if len(set(header)) != len(header):
        raise InputRefused("a column is named twice")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise InputRefused(f"there is no column {' or '.join(missing)}")


def _row(line: int, header: Sequence[str], cells: Sequence[str], seen: dict[str, int]) -> Person | Refused:
    if len(cells) != len(header):
        return Refused(line, "", f"{len(cells)} cells where the header has {len(header)}")
    values = dict(zip(header, cells, strict=True))
    long = next((name for name, value in values.items() if len(value) > _MAX_FIELD), None)
    if long is not None:
        return Refused(line, long, f"longer than {_MAX_FIELD} characters")
    person = _person(line, values)
    if isinstance(person, Refused):
        return person
    former = seen.setdefault(person.account.username, line)
    if former != line:
        return Refused(line, "username", f"the same as on line {former}")
    return person


def _person(line: int, values: Mapping[str, str]) -> Person | Refused:
    column = ""
    try:
        column = "attributes"
        attributes = _attributes(values.get("attributes", ""))
        column = "proofing"
        proofing = values.get("proofing") or "none"
        if proofing not in PROOFING:
            raise InputRefused(f"proofing is one of {', '.join(PROOFING)}")
        addresses = {}
        for column, kind in (("phone", "sms_otp"), ("email", "email_otp")):
            addresses[column] = check_address(kind, values[column]) if values.get(column) else None
        account = NewAccount(
            username=values["username"].strip().lower(),
            name=values["name"],
            **{name: values.get(name) or None for name in OPTIONAL[:5]},
            proofing=proofing,
            groups=_several(values.get("groups", "")),
            attributes=attributes,
        )
        column = ""
        check_new(account)
    except InputRefused as error:
        return Refused(line, column or _column_of(str(error)), str(error))
    return Person(line, account, addresses["phone"], addresses["email"])


def _column_of(reason: str) -> str:
    """Which column :func:`idp.storage.accounts.check_new` speaks of."""
    said = {"user name": "username", "given name": "given_name", "surname": "surname", "country": "country"}
    said |= {"attribute": "attributes", "group": "groups", "a name": "name"}
    return next((column for words, column in said.items() if words in reason), "")


def _several(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(";") if part.strip()))


def _attributes(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for part in _several(text):
        name, sign, value = part.partition("=")
        if not sign:
            raise InputRefused("attributes are NAME=VALUE, with a semicolon between two")
        found[name.strip()] = (*found.get(name.strip(), ()), value.strip())
    return found


def write(rows: Iterable[Sequence[object]]) -> str:
    """CSV that a spreadsheet shows and does not run: a cell that could be a formula begins with an apostrophe."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    for row in rows:
        writer.writerow([_harmless(str(cell)) for cell in row])
    return text.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
