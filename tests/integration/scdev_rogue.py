"""What somebody with the user PIN of the token can and cannot do: run as a program, answers with JSON.

    python -m tests.integration.scdev_rogue MODULE LABEL PIN_FILE BLOB_HEX

A program of its own because PKCS#11 is initialised once a process, with the configuration of one token.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid, PKCS11Error, TemplateInconsistent
from pkcs11.util.ec import encode_named_curve_parameters

from foundation.files import read_secret
from signing.scdev.locking import LockingLibrary

FLAGS = (
    "PRIVATE",
    "SENSITIVE",
    "EXTRACTABLE",
    "ALWAYS_SENSITIVE",
    "NEVER_EXTRACTABLE",
    "MODIFIABLE",
    "COPYABLE",
    "TRUSTED",
    "ENCRYPT",
    "DECRYPT",
    "SIGN",
    "VERIFY",
    "WRAP",
    "UNWRAP",
    "DERIVE",
    "TOKEN",
    "LOCAL",
    "WRAP_WITH_TRUSTED",
    "SIGN_RECOVER",
)
KWP = Mechanism.AES_KEY_WRAP_PAD
USE: dict[Any, Any] = {
    Attribute.ENCRYPT: DEFAULT,
    Attribute.VERIFY: DEFAULT,
    Attribute.WRAP: DEFAULT,
    # Before MODIFIABLE: SoftHSM2 takes no attribute of a key that it has just been told cannot be modified.
    Attribute.WRAP_WITH_TRUSTED: True,
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.SIGN_RECOVER: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
    Attribute.MODIFIABLE: False,
}
BORN: dict[Any, Any] = {
    Attribute.TOKEN: False,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: True,
    Attribute.WRAP_WITH_TRUSTED: True,
    Attribute.SIGN: True,
    Attribute.DERIVE: False,
}


class _Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", ctypes.c_ulong), ("parameter", ctypes.c_void_p), ("length", ctypes.c_ulong))


def flags(key: Any) -> dict[str, bool]:
    found = {}
    for name in FLAGS:
        try:
            found[name] = bool(key[Attribute[name]])
        except (AttributeTypeInvalid, AttributeSensitive):
            continue
    return found


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except PKCS11Error as error:
        return type(error).__name__ if type(error) is not PKCS11Error else str(error)
    return "SUCCEEDED"


def raw_decrypt(module: str, session: Any, key: Any, mechanism: int, blob: bytes) -> str:
    """C_DecryptInit and C_Decrypt without python-pkcs11, which offers no method where CKA_DECRYPT is false."""
    library = ctypes.CDLL(module)
    iv = ctypes.create_string_buffer(16)
    parameter = None if mechanism == Mechanism.AES_ECB else ctypes.addressof(iv)
    data = _Mechanism(mechanism, parameter, 16 if parameter else 0)
    handle, unsigned = ctypes.c_ulong(session.handle), ctypes.c_ulong
    code = library.C_DecryptInit(handle, ctypes.byref(data), unsigned(key.handle))
    if code:
        return hex(code)
    out, length = ctypes.create_string_buffer(4096), unsigned(4096)
    code = library.C_Decrypt(handle, blob, unsigned(len(blob)), out, ctypes.byref(length))
    return hex(code) if code else "SUCCEEDED"


def main(module: str, label: str, pin_file: str, blob: bytes) -> dict[str, object]:
    session = (
        LockingLibrary(module).get_token(token_label=label).open(rw=True, user_pin=read_secret(Path(pin_file)).decode())
    )

    def only(name: str, kind: ObjectClass) -> Any:
        (key,) = session.get_objects({Attribute.LABEL: name, Attribute.CLASS: kind})
        return key

    def unwrap(**change: bool) -> Any:
        template = {**USE, **{Attribute[name]: value for name, value in change.items()}}
        return kek.unwrap_key(ObjectClass.PRIVATE_KEY, KeyType.EC, blob, mechanism=KWP, template=template)

    def unwrap_with(template: dict[Any, Any]) -> Any:
        return kek.unwrap_key(ObjectClass.PRIVATE_KEY, KeyType.EC, blob, mechanism=KWP, template=template)

    kek = only("privyseal-kek", ObjectClass.SECRET_KEY)
    token_objects = len(list(session.get_objects({Attribute.TOKEN: True})))
    curve = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
    )
    _, born = curve.generate_keypair(private_template=BORN)
    rogue: Any = session.generate_key(KeyType.AES, 256, template={Attribute.WRAP: True, Attribute.UNWRAP: True})
    in_use = unwrap()
    # What a KEK unwraps that lets keys be wrapped again; with any other KEK, the key in use once more.
    try:
        extractable = unwrap(EXTRACTABLE=True)
    except TemplateInconsistent:
        extractable = None
    return {
        "token_objects": token_objects,
        "flags": {
            "kek": flags(kek),
            "mac": flags(only("privyseal-row-mac", ObjectClass.SECRET_KEY)),
            "canary": flags(only("privyseal-canary", ObjectClass.PRIVATE_KEY)),
            "checkpoint": flags(only("privyseal-checkpoint", ObjectClass.PRIVATE_KEY)),
            "in_use": flags(in_use),
            "extractable": None if extractable is None else flags(extractable),
            "born": flags(born),
        },
        "ids": [
            bytes(key[Attribute.ID]).hex()
            for key in session.get_objects({Attribute.TOKEN: True})
            if key[Attribute.CLASS] is not ObjectClass.PUBLIC_KEY
        ],
        "rewrapping": {}
        if extractable is None
        else {
            "wrapped_by_rogue": outcome(lambda: rogue.wrap_key(extractable, mechanism=KWP)),
            "wrapped_by_rogue_plainly": outcome(lambda: rogue.wrap_key(extractable, mechanism=Mechanism.AES_KEY_WRAP)),
            "value": outcome(lambda: extractable[Attribute.VALUE]),
            "made_not_sensitive": outcome(lambda: extractable.__setitem__(Attribute.SENSITIVE, False)),
            "made_for_any_to_wrap": outcome(lambda: extractable.__setitem__(Attribute.WRAP_WITH_TRUSTED, False)),
            "copied_for_any_to_wrap": outcome(lambda: extractable.copy({Attribute.WRAP_WITH_TRUSTED: False})),
            "copied_modifiable": outcome(lambda: extractable.copy({Attribute.MODIFIABLE: True})),
            "copied_in_clear": outcome(lambda: extractable.copy({Attribute.SENSITIVE: False})),
            "unwrapped_for_any_to_wrap": outcome(lambda: unwrap(EXTRACTABLE=True, WRAP_WITH_TRUSTED=False)),
            "unwrapped_extractable_in_clear": outcome(lambda: unwrap(EXTRACTABLE=True, SENSITIVE=False)),
            "unwrapped_extractable_onto_token": outcome(lambda: unwrap(EXTRACTABLE=True, TOKEN=True)),
            "unwrapped_extractable_for_decryption": outcome(lambda: unwrap(EXTRACTABLE=True, DECRYPT=True)),
        },
        "attempts": {
            "decrypt_ecb": raw_decrypt(module, session, kek, Mechanism.AES_ECB, blob),
            "decrypt_cbc": raw_decrypt(module, session, kek, Mechanism.AES_CBC, blob),
            "decrypt_cbc_pad": raw_decrypt(module, session, kek, Mechanism.AES_CBC_PAD, blob),
            "kek_value": outcome(lambda: kek[Attribute.VALUE]),
            "kek_made_decrypting": outcome(lambda: kek.__setitem__(Attribute.DECRYPT, True)),
            "kek_made_extractable": outcome(lambda: kek.__setitem__(Attribute.EXTRACTABLE, True)),
            "kek_copied_decrypting": outcome(lambda: kek.copy({Attribute.DECRYPT: True})),
            "kek_copied_modifiable": outcome(lambda: kek.copy({Attribute.MODIFIABLE: True})),
            "kek_wrapped_by_rogue": outcome(lambda: rogue.wrap_key(kek, mechanism=KWP)),
            "user_key_wrapped_by_rogue": outcome(lambda: rogue.wrap_key(born, mechanism=KWP)),
            "rogue_made_trusted": outcome(lambda: rogue.__setitem__(Attribute.TRUSTED, True)),
            "rogue_born_trusted": outcome(
                lambda: session.generate_key(KeyType.AES, 256, template={Attribute.TRUSTED: True})
            ),
            "born_without_wrap_with_trusted": outcome(lambda: born.__setitem__(Attribute.WRAP_WITH_TRUSTED, False)),
            "unwrapped_in_clear": outcome(lambda: unwrap(SENSITIVE=False)),
            "unwrapped_for_decryption": outcome(lambda: unwrap(DECRYPT=True)),
            "unwrapped_onto_token": outcome(lambda: unwrap(TOKEN=True)),
            "unwrapped_modifiable": outcome(lambda: unwrap(MODIFIABLE=True)),
            "unwrapped_saying_nothing": outcome(lambda: unwrap_with(dict.fromkeys(USE, DEFAULT))),
            "in_use_value": outcome(lambda: in_use[Attribute.VALUE]),
            "in_use_wrapped_again": outcome(lambda: kek.wrap_key(in_use, mechanism=KWP)),
            "in_use_made_extractable": outcome(lambda: in_use.__setitem__(Attribute.EXTRACTABLE, True)),
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3], bytes.fromhex(sys.argv[4]))))  # noqa: T201 - answer
