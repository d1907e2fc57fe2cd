"""Code devices that the operator has and nobody carries yet: imported with their seeds, taken once by being bound."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, Text, delete, insert, select

from foundation.clock import epoch
from idp.errors import AlreadyExists
from idp.storage.models import authenticators, metadata
from idp.storage.seal import Sealer

hotp_devices: Final = Table(
    "hotp_devices",
    metadata,
    Column("serial", String(64), primary_key=True),
    Column("secret_box", Text, nullable=False),
    Column("digits", Integer, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seal", String(64), nullable=False, default=""),
    info={"sealed": ("serial", "secret_box", "digits", "counter", "created_at")},
)
_H: Final = hotp_devices.c


@dataclass(frozen=True, slots=True)
class Device:
    """A device that nobody carries."""

    serial: str
    secret_box: str = field(repr=False)
    digits: int
    counter: int
    """The next one that is expected."""


def about(serial: str) -> tuple[str, ...]:
    """What the box of a device's seed is for."""
    return ("hotp device", serial)


def lookup_of(serial: str) -> str:
    """By what a device that somebody carries is found: nobody binds it a second time."""
    return hashlib.sha256(f"hotp {serial}".encode()).hexdigest()


def add(connection: Connection, seals: Sealer, device: Device, now: datetime) -> None:
    """Add a device.

    :raises AlreadyExists: there is one of that serial number, or somebody carries it.
    """
    carried = select(authenticators.c.id).where(authenticators.c.lookup == lookup_of(device.serial))
    there = select(_H.serial).where(_H.serial == device.serial)
    if connection.execute(carried).first() or connection.execute(there).first():
        raise AlreadyExists(f"device {device.serial} is there already, or somebody carries it")
    values: dict[str, Any] = {
        "serial": device.serial,
        "secret_box": device.secret_box,
        "digits": device.digits,
        "counter": device.counter,
        "created_at": epoch(now),
    }
    connection.execute(insert(hotp_devices).values(**values, seal=seals.seal(hotp_devices, values)))


def find(connection: Connection, seals: Sealer, serial: str) -> Device | None:
    """The device of a serial number, if nobody carries it."""
    row = connection.execute(select(hotp_devices).where(_H.serial == serial)).one_or_none()
    if row is None or not seals.holds(hotp_devices, row):
        return None
    return Device(row.serial, row.secret_box, row.digits, row.counter)


def take(connection: Connection, serial: str) -> None:
    """Somebody carries it from now on: of two at once, one.

    :raises AlreadyExists: somebody else does.
    """
    if connection.execute(delete(hotp_devices).where(_H.serial == serial)).rowcount != 1:
        raise AlreadyExists("the device was bound meanwhile")


def everything(connection: Connection) -> tuple[tuple[str, int], ...]:
    """Serial numbers, each with its number of digits, of the devices that nobody carries."""
    rows = connection.execute(select(_H.serial, _H.digits).order_by(_H.serial))
    return tuple((row.serial, row.digits) for row in rows)
