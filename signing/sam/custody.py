"""Rows that somebody else could have written: sealed with a key that never leaves the device, opened only if whole."""

from __future__ import annotations

from signing.sam.credential import Credential, SealedCredential, mac_octets
from signing.sam.errors import RowAltered
from signing.sam.ports import MacInvalid, SignatureDevice


def sealed(credential: Credential, device: SignatureDevice) -> SealedCredential:
    """The row with its MAC, as it goes into the database."""
    return SealedCredential(credential, device.mac(mac_octets(credential)))


def opened(row: SealedCredential, realm: str, device: SignatureDevice) -> Credential:
    """The credential of a row that is as it was written, here.

    :raises RowAltered: it was changed, put together from others (KEY-01 to 03), or belongs to another realm (KEY-05).
    """
    # 1. The MAC: nothing in the row is looked at before.
    try:
        device.verify_mac(mac_octets(row.credential), row.tag)
    except MacInvalid as error:
        raise RowAltered("the row's MAC does not verify") from error
    # 2. The realm: two installations may share a device, and with it the MAC key.
    if row.credential.realm != realm:
        raise RowAltered("the row belongs to another realm")
    return row.credential
