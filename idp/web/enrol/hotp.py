"""Binding a code device that the operator imported: its serial number, and two codes that it shows one after the other.

Two codes prove the device and tell where its counter is; a serial number alone is printed for everybody to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from idp.authn import hotp
from idp.authn.hotp_file import serial_of
from idp.errors import EnrolmentRefused
from idp.storage import boxes, hotp_devices
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.engine import reading
from idp.storage.enrolments import Enrolment
from idp.web.enrol.registry import Enroller, Prepared
from idp.web.services import services

KIND: Final = "hotp"


def _prepare(_enrolment_id: str, _account: Account) -> Prepared:
    return Prepared()


def _values(_enrolment: Enrolment, _account: Account) -> Mapping[str, Any]:
    return {}


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    """A device that is not there and a wrong code are one refusal: nobody learns which serial numbers there are."""
    serial = serial_of(form.get("serial", ""))
    with reading(services().engine) as connection:
        device = None if serial is None else hotp_devices.find(connection, services().seals, serial)
    if device is None:
        raise EnrolmentRefused("there is no such device")
    secret = services().keys.secret
    seed = boxes.unlock(secret, hotp_devices.about(device.serial), device.secret_box)
    typed = (form.get("code", "")[:24], form.get("second", "")[:24])
    window = services().settings.codes.hotp_resync_window
    counter = hotp.resynchronise(seed, device.digits, typed, device.counter, window)
    if counter is None:
        raise EnrolmentRefused("the codes are not the device's")
    return NewAuthenticator(
        enrolment.id,
        account.id,
        KIND,
        label=form.get("label", "") or device.serial,
        data={"serial": device.serial, "digits": device.digits},
        secret_box=boxes.close(secret, services().random, (enrolment.id, account.id, KIND), seed),
        lookup=hotp_devices.lookup_of(device.serial),
        counter=counter,
    )


def _bound(connection: Connection, _enrolment: Enrolment, new: NewAuthenticator) -> None:
    hotp_devices.take(connection, str(new.data["serial"]))


ENROLLER: Final = Enroller(KIND, "enrol_hotp.html", _prepare, _values, _confirm, _bound)
