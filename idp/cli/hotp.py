"""``privyseal idp hotp``: code devices (RFC 4226) that the operator bought, until somebody carries them."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.clock import epoch
from idp.authn.hotp_file import read_devices, serial_of
from idp.cli.common import account_of, add, database, group, new_id, secret_text, transaction
from idp.errors import InputRefused, UnknownDevice
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from idp.storage.authenticators import NewAuthenticator
    from idp.storage.keys import KeyStore
    from idp.storage.seal import Sealer


def add_commands(commands: Any) -> None:
    """Add ``hotp ...``."""
    hotp = group(commands, "hotp", "code devices")
    imported = add(hotp, "import", _import, "add devices with their seeds; all of the file or none")
    imported.add_argument("--file", type=Path, required=True, metavar="FILE", help="owner-only CSV file")
    add(hotp, "list", _list, "devices that nobody carries")
    assigned = add(hotp, "assign", _assign, "give a device to a person, who need not bind it themselves")
    assigned.add_argument("--username", required=True)
    assigned.add_argument("--serial", required=True)


@contextmanager
def _keys(settings: IdpSettings) -> Iterator[KeyStore]:
    from idp.storage.keys import KeyStore

    with database(settings) as engine:
        yield KeyStore(engine, settings.key_dir)


def _import(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import boxes, hotp_devices
    from idp.storage.audit import DatabaseAudit

    devices = read_devices(secret_text(options.file))
    with _keys(settings) as keys, transaction(settings) as (connection, seals):
        for device in devices:
            box = boxes.close(keys.secret, secrets.token_bytes, hotp_devices.about(device.serial), device.seed)
            kept = hotp_devices.Device(device.serial, box, device.digits, device.counter)
            hotp_devices.add(connection, seals, kept, options.clock.now())
        DatabaseAudit(options.clock).record(connection, "hotp.imported", devices=len(devices))
    return {"imported": len(devices)}


def _list(settings: IdpSettings, _options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import hotp_devices
    from idp.storage.engine import reading

    with database(settings) as engine, reading(engine) as connection:
        found = hotp_devices.everything(connection)
    return {"devices": [{"serial": serial, "digits": digits} for serial, digits in found]}


def _assign(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.notices import notify_change
    from idp.storage import authenticators
    from idp.storage.audit import DatabaseAudit
    from idp.storage.outbox import Outbox

    serial, now = serial_of(options.serial), options.clock.now()
    if serial is None:
        raise InputRefused("a serial number is 1 to 64 letters, digits and ._/-")
    with _keys(settings) as keys, transaction(settings) as (connection, seals):
        account = account_of(connection, options.username)
        new = _taken(connection, seals, keys, account.id, serial)
        told = notify_change(
            connection,
            seals,
            account_id=account.id,
            factor="hotp",
            change="added",
            now=now,
            random=secrets.token_bytes,
        )
        authenticators.bind(connection, seals, new, now)
        Outbox(seals, options.clock, secrets.token_bytes).authenticator_changed(connection, account.id)
        DatabaseAudit(options.clock).record(
            connection,
            "hotp.assigned",
            account_id=account.id,
            authenticator_id=new.id,
            serial=serial,
            not_before=epoch(now),
        )
    return {"account_id": account.id, "serial": serial, "notices": told}


def _taken(
    connection: Connection, seals: Sealer, keys: KeyStore, account_id: str, serial: str
) -> NewAuthenticator:
    """The device as an authenticator of this account; nobody else's from now on.

    :raises UnknownDevice: there is none of that serial number, or somebody carries it.
    """
    from idp.storage import boxes, hotp_devices
    from idp.storage.authenticators import NewAuthenticator

    device = hotp_devices.find(connection, seals, serial)
    if device is None:
        raise UnknownDevice("there is no device of that serial number which nobody carries")
    hotp_devices.take(connection, serial)
    seed, authenticator_id = boxes.unlock(keys.secret, hotp_devices.about(serial), device.secret_box), new_id()
    return NewAuthenticator(
        authenticator_id,
        account_id,
        "hotp",
        label=serial,
        data={"serial": serial, "digits": device.digits},
        secret_box=boxes.close(keys.secret, secrets.token_bytes, (authenticator_id, account_id, "hotp"), seed),
        lookup=hotp_devices.lookup_of(serial),
        counter=device.counter,
    )
