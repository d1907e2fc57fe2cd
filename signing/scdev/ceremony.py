"""The program that prepares a token: ``python -m signing.scdev.ceremony <descriptor>``.

It runs for one request in a process of its own, so that neither the PKCS#11 module nor the security officer's PIN is
ever in a process that goes on to serve.  The request comes over a socket whose descriptor is the only argument.

How the KEK becomes trusted where it can (SoftHSM2): CKA_TRUSTED may be set by the security officer only, who may not
make private objects.  So the officer generates it as a public *session* object (it never reaches the disk), the
user copies it to a private, unmodifiable token object, and the original is destroyed.  CKA_TRUSTED survives the copy.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from signing.scdev.cryptoki import CKU_SO, CKU_USER, Cryptoki
from signing.scdev.errors import (
    CeremonyFailed,
    CryptokiError,
    TokenError,
    TokenExists,
    TokenKeysExist,
    TokenMissing,
    TokenPinRefused,
)
from signing.scdev.frames import pack, receive
from signing.scdev.hardening import harden_process
from signing.scdev.objects import (
    CANARY_LABEL,
    CHECKPOINT_LABEL,
    EC_PARAMETERS,
    KEK_LABEL,
    MAC_LABEL,
    P256,
    REWRAPPABLE,
    USER_KEY,
)
from signing.scdev.returncodes import PIN_CODES

_NOTHING: Final[dict[int, object]] = dict.fromkeys(
    (
        Attribute.ENCRYPT,
        Attribute.DECRYPT,
        Attribute.SIGN,
        Attribute.VERIFY,
        Attribute.WRAP,
        Attribute.UNWRAP,
        Attribute.DERIVE,
    ),
    False,
)
_KEPT: Final[dict[int, object]] = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


@dataclass(frozen=True, slots=True)
class _KekKind:
    trusted: bool
    rewraps: bool
    """Whether another trusted KEK can wrap what this one has unwrapped."""

    def unwrap_template(self) -> Mapping[int, object]:
        # Without a trusted KEK, WRAP_WITH_TRUSTED would keep a key from being wrapped by any.
        return REWRAPPABLE if self.trusted and self.rewraps else USER_KEY


def _init_token(module: Cryptoki, label: str, slot: int | None, so_pin: bytes, user_pin: bytes) -> None:
    slots = module.slots()
    if label in slots.values():
        raise TokenExists(f"a token labelled {label} exists; it is not initialised again")
    free = [number for number, known in slots.items() if known is None]
    if slot is not None and slot not in free:
        raise TokenMissing(f"slot {slot} has no token that is still to be initialised")
    if not free:
        raise TokenMissing("no slot has a token that is still to be initialised")
    module.init_token(free[0] if slot is None else slot, label, so_pin)
    session = module.open(_slot_of(module, label))
    module.login(session, CKU_SO, so_pin)
    module.init_pin(session, user_pin)
    module.logout(session)
    module.close_session(session)


def _slot_of(module: Cryptoki, label: str) -> int:
    """The slot of a token; looked up anew each time, as SoftHSM2 renumbers slots when it initialises one."""
    slots = [number for number, known in module.slots().items() if known == label]
    if len(slots) != 1:
        raise TokenMissing(f"{len(slots)} tokens are labelled {label}; exactly one is needed")
    return slots[0]


def _create_server_keys(module: Cryptoki, label: str, so_pin: bytes, user_pin: bytes, kind: _KekKind) -> dict[str, str]:
    session = module.open(_slot_of(module, label))
    _refuse_second_time(module, session, user_pin)
    mac_id, canary_id, checkpoint_id = (secrets.token_bytes(16) for _ in range(3))
    kek_id = _make_kek(module, session, so_pin, user_pin, kind)
    mac_key = module.generate_key(
        session,
        Mechanism.GENERIC_SECRET_KEY_GEN,
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
            Attribute.VALUE_LEN: 32,
            **_token_object(MAC_LABEL, mac_id),
            **_NOTHING,
            **_KEPT,
            Attribute.SIGN: True,
            Attribute.VERIFY: True,
        },
    )
    _check_kept(module, session, mac_key)
    for named, key_id in ((CANARY_LABEL, canary_id), (CHECKPOINT_LABEL, checkpoint_id)):
        _check_kept(module, session, _generate_signing_key(module, session, named, key_id))
    module.logout(session)
    module.close_session(session)
    return {
        "kek_id": kek_id,
        "mac_key_id": mac_id.hex(),
        "canary_id": canary_id.hex(),
        "checkpoint_id": checkpoint_id.hex(),
    }


def _create_kek(module: Cryptoki, label: str, so_pin: bytes, user_pin: bytes, kind: _KekKind) -> dict[str, str]:
    """One more, beside those that are there."""
    session = module.open(_slot_of(module, label))
    module.login(session, CKU_USER, user_pin)
    if not module.find(session, {Attribute.LABEL: KEK_LABEL.encode()}):
        raise TokenMissing("the token holds no KEK: create the server's keys first")
    module.logout(session)
    kek_id = _make_kek(module, session, so_pin, user_pin, kind)
    module.logout(session)
    module.close_session(session)
    return {"kek_id": kek_id}


def _make_kek(module: Cryptoki, session: int, so_pin: bytes, user_pin: bytes, kind: _KekKind) -> str:
    """With nobody logged in before, and the user afterwards; gives its CKA_ID in hexadecimal."""
    kek_id = secrets.token_bytes(16)
    place: dict[int, object] = {Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.MODIFIABLE: False}
    if kind.trusted:
        module.login(session, CKU_SO, so_pin)
        officers = {**_officers(), Attribute.TRUSTED: True}
        original = _generate_kek(module, session, kek_id, officers, kind.unwrap_template())
        module.logout(session)
        module.login(session, CKU_USER, user_pin)
        kek = module.copy(session, original, place)
        module.destroy(session, original)
        if not module.flag(session, kek, Attribute.TRUSTED):
            raise CeremonyFailed("the token did not keep CKA_TRUSTED in the copy")
    else:
        module.login(session, CKU_USER, user_pin)
        kek = _generate_kek(module, session, kek_id, place, kind.unwrap_template())
    _check_kept(module, session, kek)
    return kek_id.hex()


def _generate_signing_key(module: Cryptoki, session: int, label: str, key_id: bytes) -> int:
    """A key pair on P-256 of the server's own, which signs and does nothing else."""
    _, private = module.generate_key_pair(
        session,
        Mechanism.EC_KEY_PAIR_GEN,
        {
            **_token_object(label, key_id),
            Attribute.PRIVATE: False,
            Attribute.EC_PARAMS: EC_PARAMETERS[P256],
            Attribute.VERIFY: True,
        },
        {
            **_token_object(label, key_id),
            **_KEPT,
            Attribute.SIGN: True,
            Attribute.SIGN_RECOVER: False,
            Attribute.DECRYPT: False,
            Attribute.UNWRAP: False,
            Attribute.DERIVE: False,
        },
    )
    return private


def _refuse_second_time(module: Cryptoki, session: int, user_pin: bytes) -> None:
    module.login(session, CKU_USER, user_pin)
    for label in (KEK_LABEL, MAC_LABEL, CANARY_LABEL, CHECKPOINT_LABEL):
        if module.find(session, {Attribute.LABEL: label.encode()}):
            raise TokenKeysExist(f"the token holds an object labelled {label} already")
    module.logout(session)


def _officers() -> dict[int, object]:
    """What the security officer may make: public, and here for the session only."""
    return {Attribute.TOKEN: False, Attribute.PRIVATE: False}


def _generate_kek(
    module: Cryptoki, session: int, kek_id: bytes, place: Mapping[int, object], unwraps_to: Mapping[int, object]
) -> int:
    """AES-256, wraps and unwraps, nothing else; what it unwraps can only become a user's key."""
    return module.generate_key(
        session,
        Mechanism.AES_KEY_GEN,
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE_LEN: 32,
            Attribute.LABEL: KEK_LABEL.encode(),
            Attribute.ID: kek_id,
            **_NOTHING,
            **_KEPT,
            Attribute.WRAP: True,
            Attribute.UNWRAP: True,
            Attribute.UNWRAP_TEMPLATE: unwraps_to,
            **place,
        },
    )


def _token_object(label: str, object_id: bytes) -> dict[int, object]:
    return {
        Attribute.LABEL: label.encode(),
        Attribute.ID: object_id,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.MODIFIABLE: False,
        Attribute.COPYABLE: False,
    }


def _check_kept(module: Cryptoki, session: int, key: int) -> None:
    """Read back, because tokens have been seen to take a template and not to obey it."""
    for attribute, wanted in ((Attribute.SENSITIVE, True), (Attribute.EXTRACTABLE, False)):
        if module.flag(session, key, attribute) is not wanted:
            raise CeremonyFailed(f"the token did not obey the template: {attribute.name}")


def _answer(request: list[bytes]) -> list[bytes]:
    operation, options, so_pin, user_pin = request
    settings = json.loads(options)
    label = str(settings["label"])
    try:
        module = Cryptoki(Path(settings["module"]))
        if operation == b"exists":
            return [b"ok", json.dumps(label in module.slots().values()).encode()]
        if operation == b"init":
            _init_token(module, label, settings["slot"], so_pin, user_pin)
            return [b"ok", b"null"]
        kek = _KekKind(trusted=bool(settings["trusted"]), rewraps=bool(settings["rewraps"]))
        create = _create_kek if operation == b"kek" else _create_server_keys
        keys = create(module, label, so_pin, user_pin, kek)
        return [b"ok", json.dumps(keys).encode()]
    except CryptokiError as error:
        kind = TokenPinRefused if error.rv in PIN_CODES else CeremonyFailed
        return [b"error", kind.__name__.encode(), str(error).encode()]
    except TokenError as error:
        return [b"error", type(error).__name__.encode(), str(error).encode()]


def main(arguments: list[str]) -> int:
    """Answer one request and end."""
    harden_process()
    with socket.socket(fileno=int(arguments[1])) as line:
        line.sendall(pack(_answer(receive(line))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
