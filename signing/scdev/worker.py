"""The process in which PKCS#11 lives: ``python -m signing.scdev.worker <descriptor>``.

One thread, one login, one session, one operation at a time, over the line whose descriptor is the only argument.  A
call that hangs cannot be cancelled, so everything here may be killed at any moment: nothing but the server's own
keys outlives the process, user keys being session objects.

Requests and answers (fields of a frame, see :mod:`signing.scdev.frames`)::

    open      settings (JSON), digest        -> ready, canary's EC point, canary signature
    sign      profile, scheme, hash, KEK id, blob, digest...  -> ok, value...
    generate  profile                        -> ok, blob, KEK id, public parts...
    mac       message                        -> ok, tag
    read-data, add-data, remove-data         label[, value] -> ok[, value...]
    canary    digest                         -> ok, signature
    any                                      -> error, kind, text

``ok-last`` instead of ``ok``: the answer is good, the worker is not; it ends.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import PKCS11Error

from foundation.errors import SecretFileError
from foundation.files import read_secret
from signing.sam.algorithms import KEY_PROFILES, SHA256, SHA384, SHA512, KeyProfile
from signing.scdev import data
from signing.scdev.errors import CryptokiError, FrameBroken
from signing.scdev.fitting import DIGEST_LENGTHS, digest_info, ecdsa_der, ecdsa_input
from signing.scdev.frames import pack, receive
from signing.scdev.hardening import harden_process
from signing.scdev.locking import LockingLibrary
from signing.scdev.objects import CANARY_LABEL, EC_PARAMETERS, KEK_LABEL, MAC_LABEL, P256, USER_KEY
from signing.scdev.returncodes import (
    CKR_GENERAL_ERROR,
    WRAPPED_CODES,
    Kind,
    ends_worker,
    kind_of,
)

_CODES: Final[dict[str, int]] = {
    "ArgumentsBad": 0x07,
    "AttributeReadOnly": 0x10,
    "AttributeTypeInvalid": 0x12,
    "AttributeValueInvalid": 0x13,
    "DataInvalid": 0x20,
    "DataLenRange": 0x21,
    "EncryptedDataInvalid": 0x40,
    "EncryptedDataLenRange": 0x41,
    "KeySizeRange": 0x62,
    "KeyTypeInconsistent": 0x63,
    "KeyFunctionNotPermitted": 0x68,
    "KeyNotWrappable": 0x69,
    "KeyUnextractable": 0x6A,
    "MechanismInvalid": 0x70,
    "MechanismParamInvalid": 0x71,
    "PinIncorrect": 0xA0,
    "PinInvalid": 0xA1,
    "PinLenRange": 0xA2,
    "PinExpired": 0xA3,
    "PinLocked": 0xA4,
    "TemplateIncomplete": 0xD0,
    "TemplateInconsistent": 0xD1,
    "UserPinNotInitialized": 0x102,
    "WrappedKeyInvalid": 0x110,
    "WrappedKeyLenRange": 0x112,
}
"""Return codes by python-pkcs11's exceptions, as far as they mean anything but a loss."""

_UNMAPPED: Final = re.compile(r"Unmapped error code (0x[0-9a-fA-F]{1,8})")
_WRAPS: Final = {"aes-kwp": Mechanism.AES_KEY_WRAP_PAD, "aes-kw": Mechanism.AES_KEY_WRAP}
_PSS: Final = {
    SHA256: (Mechanism.SHA256, MGF.SHA256),
    SHA384: (Mechanism.SHA384, MGF.SHA384),
    SHA512: (Mechanism.SHA512, MGF.SHA512),
}
_KEY_TYPES: Final = {"EC": KeyType.EC, "RSA": KeyType.RSA}

# python-pkcs11 puts capabilities into the template that a private key cannot have; DEFAULT takes them out again.
_IN_USE: Final[dict[Any, Any]] = {
    Attribute.ENCRYPT: DEFAULT,
    Attribute.VERIFY: DEFAULT,
    Attribute.WRAP: DEFAULT,
    **USER_KEY,
}
_PUBLIC: Final[dict[Any, Any]] = {
    Attribute.TOKEN: False,
    Attribute.ENCRYPT: False,
    Attribute.WRAP: False,
    Attribute.VERIFY: True,
}


class _Refused(Exception):
    """The answer to a request is an error; never leaves this module."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind: Kind = kind


def _code(error: PKCS11Error) -> int:
    """Codes that python-pkcs11 has no class for (CKR_KEY_FUNCTION_NOT_PERMITTED among them) are in its text."""
    unmapped = _UNMAPPED.fullmatch(str(error))
    if unmapped is not None:
        return int(unmapped[1], 16)
    return _CODES.get(type(error).__name__, CKR_GENERAL_ERROR)


def _refusal(error: PKCS11Error, what: str, *, sent: bool) -> _Refused:
    """An exception's own text is left out: only its kind is known to carry nothing."""
    code = _code(error)
    return _Refused(kind_of(code, sent=sent), f"{what}: {type(error).__name__} ({code:#x})")


class Device:
    """The logged-in token and the handles of the server's keys."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """:raises _Refused: whatever keeps the token from being used."""
        self._usable = True
        self._wrap = _WRAPS[settings["key_wrap"]]
        self._session = _login(settings)
        try:
            self._keks = self._find_keks(require_trusted=bool(settings["require_trusted_kek"]))
            self._kek_id = self._current_kek(settings["kek_id"])
            self._mac_key = self._only(MAC_LABEL, ObjectClass.SECRET_KEY)
            _expect(self._mac_key, MAC_LABEL, {**_KEPT, Attribute.SIGN: True})
            self._canary_key = self._only(CANARY_LABEL, ObjectClass.PRIVATE_KEY)
            self.canary_point = bytes(
                self._only(CANARY_LABEL, ObjectClass.PUBLIC_KEY)[Attribute.EC_POINT]
            )
            self._check_key_in_use()
        except PKCS11Error as error:
            raise _refusal(error, "the server's keys cannot be used", sent=False) from error

    def _find_keks(self, *, require_trusted: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        wanted = {Attribute.LABEL: KEK_LABEL, Attribute.CLASS: ObjectClass.SECRET_KEY}
        for key in self._session.get_objects(wanted):
            _expect(key, KEK_LABEL, {**_KEPT, **_WRAP_ONLY})
            if require_trusted:
                _expect(key, KEK_LABEL, {Attribute.TRUSTED: True})
            found[bytes(key[Attribute.ID]).hex()] = key
        return found

    def _current_kek(self, chosen: str | None) -> str:
        if chosen is None and len(self._keks) == 1:
            return next(iter(self._keks))
        if chosen not in self._keks:
            raise _Refused(
                "operation_not_permitted",
                f"the token holds {len(self._keks)} KEKs; name the one to use if there are several",
            )
        return chosen

    def _only(self, label: str, kind: ObjectClass) -> Any:
        found = list(self._session.get_objects({Attribute.LABEL: label, Attribute.CLASS: kind}))
        if len(found) != 1:
            raise _Refused(
                "operation_not_permitted", f"the token holds {len(found)} objects labelled {label}, not one"
            )
        return found[0]

    def _check_key_in_use(self) -> None:
        """Make a key, wrap it, unwrap it, and read back what it may: once, before the worker is used."""
        blob, kek_id, *_ = self.generate(KEY_PROFILES["ec-p256"])
        key = self._unwrap(KEY_PROFILES["ec-p256"], kek_id.decode(), blob)
        try:
            _expect(key, "a user's key", USER_KEY)
        finally:
            key.destroy()

    def usable(self) -> bool:
        """Whether another operation may be tried in this process."""
        return self._usable

    def give_up(self) -> None:
        """After this the process ends; its session objects end with it."""
        self._usable = False

    # Operations

    def sign(
        self, profile: KeyProfile, scheme: str, hash_alg: str, wrapped: tuple[str, bytes], digests: Sequence[bytes]
    ) -> list[bytes]:
        """Unwrap, sign each digest, destroy."""
        key = self._unwrap(profile, *wrapped)
        values: list[bytes] = []
        try:
            for digest in digests:
                values.append(self._value(key, profile, scheme, hash_alg, digest))
        except PKCS11Error as error:
            refused = _refusal(error, "C_Sign", sent=True)
            if values:
                # Whatever the code says of this digest, there are signatures of those before it.
                refused = _Refused("device_lost", f"{refused}, after {len(values)} values")
            raise refused from error
        finally:
            self._destroy(key)
        return values

    def generate(self, profile: KeyProfile) -> list[bytes]:
        """A key pair as session objects: wrapped, then destroyed.

        :returns: the blob, the KEK's id, and the public key: the EC point (DER OCTET STRING), or modulus and
            exponent.
        """
        kek = self._keks[self._kek_id]
        born = {
            **USER_KEY,
            Attribute.EXTRACTABLE: True,
            Attribute.WRAP_WITH_TRUSTED: bool(kek[Attribute.TRUSTED]),
        }
        try:
            public, private = self._key_pair(profile, born)
        except PKCS11Error as error:
            raise _refusal(error, "C_GenerateKeyPair", sent=False) from error
        try:
            blob = kek.wrap_key(private, mechanism=self._wrap)
            parts = (
                [public[Attribute.EC_POINT]]
                if profile.kind == "EC"
                else [public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT]]
            )
        except PKCS11Error as error:
            raise _refusal(error, "C_WrapKey", sent=False) from error
        finally:
            self._destroy(private)
            self._destroy(public)
        return [blob, self._kek_id.encode(), *parts]

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-256 with the row key."""
        try:
            return bytes(self._mac_key.sign(message, mechanism=Mechanism.SHA256_HMAC))
        except PKCS11Error as error:
            raise _refusal(error, "the row MAC", sent=False) from error

    def canary(self, digest: bytes) -> bytes:
        """DER signature of the canary key."""
        try:
            return ecdsa_der(self._canary_key.sign(digest, mechanism=Mechanism.ECDSA))
        except PKCS11Error as error:
            raise _refusal(error, "the canary", sent=False) from error

    def data(self, operation: bytes, label: str, values: Sequence[bytes]) -> list[bytes]:
        """Read, add or remove data objects."""
        try:
            if operation == b"read-data":
                return data.read(self._session, label)
            (data.add if operation == b"add-data" else data.remove)(self._session, label, *values)
        except PKCS11Error as error:
            raise _refusal(error, "a data object", sent=False) from error
        return []

    # Inside

    def _key_pair(self, profile: KeyProfile, born: dict[Any, Any]) -> tuple[Any, Any]:
        if profile.kind == "RSA":
            return self._session.generate_keypair(  # type: ignore[no-any-return] # untyped in the library
                KeyType.RSA, profile.bits, public_template=_PUBLIC, private_template=born
            )
        curve = self._session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: EC_PARAMETERS[profile.curve or P256]}, local=True
        )
        public = {kind: value for kind, value in _PUBLIC.items() if kind is not Attribute.ENCRYPT}
        return curve.generate_keypair(  # type: ignore[no-any-return] # untyped in the library
            public_template=public, private_template=born
        )

    def _unwrap(self, profile: KeyProfile, kek_id: str, blob: bytes) -> Any:
        kek = self._keks.get(kek_id)
        if kek is None:
            raise _Refused("wrapped_key_refused", "no KEK of that id is on the token")
        try:
            return kek.unwrap_key(
                ObjectClass.PRIVATE_KEY,
                _KEY_TYPES[profile.kind],
                blob,
                mechanism=self._wrap,
                template=_IN_USE,
            )
        except PKCS11Error as error:
            if _code(error) in WRAPPED_CODES or self._works():
                raise _Refused("wrapped_key_refused", f"C_UnwrapKey: {type(error).__name__}") from error
            raise _refusal(error, "C_UnwrapKey", sent=False) from error

    def _works(self) -> bool:
        """Tokens answer CKR_GENERAL_ERROR to an altered blob: the canary tells it from a lost device."""
        try:
            self.canary(bytes(32))
        except _Refused:
            return False
        return True

    def _value(self, key: Any, profile: KeyProfile, scheme: str, hash_alg: str, digest: bytes) -> bytes:
        if scheme == "ecdsa":
            return ecdsa_der(key.sign(ecdsa_input(profile, digest), mechanism=Mechanism.ECDSA))
        if scheme == "rsa-pss":
            parameters = (*_PSS[hash_alg], DIGEST_LENGTHS[hash_alg])
            return bytes(key.sign(digest, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters))
        return bytes(key.sign(digest_info(hash_alg, digest), mechanism=Mechanism.RSA_PKCS))

    def _destroy(self, key: Any) -> None:
        """A key that cannot be destroyed dies with the process, so the process is not used again."""
        try:
            key.destroy()
        except PKCS11Error:
            self.give_up()


_KEPT: Final = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False}
_WRAP_ONLY: Final = {
    Attribute.WRAP: True,
    Attribute.UNWRAP: True,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
    Attribute.SIGN: False,
    Attribute.DERIVE: False,
}


def _expect(key: Any, name: str, attributes: Mapping[Any, object]) -> None:
    """:raises _Refused: an attribute on the token is not what it has to be."""
    for attribute, wanted in attributes.items():
        if key[attribute] is not wanted:
            raise _Refused(
                "operation_not_permitted", f"{name}: CKA_{attribute.name} is not {str(wanted).upper()}"
            )


def _login(settings: Mapping[str, Any]) -> Any:
    """Open the session that stays; log in, once."""
    try:
        pin = read_secret(Path(settings["pin_file"])).decode("utf-8")
    except SecretFileError as error:
        raise _Refused("device_unavailable", f"the PIN's file: {error}") from error
    except UnicodeDecodeError:
        # Not chained: that exception carries the octets.
        raise _Refused("device_unavailable", "the PIN's file is not text in UTF-8") from None
    try:
        token = LockingLibrary(settings["module"]).get_token(token_label=settings["token_label"])
        return token.open(rw=True, user_pin=pin)
    except CryptokiError as error:
        raise _Refused("device_unavailable", str(error)) from error
    except PKCS11Error as error:
        raise _refusal(error, "the token cannot be opened", sent=False) from error


def _answer(device: Device, request: list[bytes]) -> list[bytes]:
    operation, *fields = request
    if operation == b"sign":
        profile, scheme, hash_alg, kek_id, blob, *digests = fields
        return device.sign(
            KEY_PROFILES[profile.decode()],
            scheme.decode(),
            hash_alg.decode(),
            (kek_id.decode(), blob),
            digests,
        )
    if operation == b"generate":
        return device.generate(KEY_PROFILES[fields[0].decode()])
    if operation == b"mac":
        return [device.mac(fields[0])]
    if operation in {b"read-data", b"add-data", b"remove-data"}:
        return device.data(operation, fields[0].decode(), fields[1:])
    if operation == b"canary":
        return [device.canary(fields[0])]
    raise _Refused("operation_not_permitted", "no such operation")


def _error(refused: _Refused) -> bytes:
    return pack([b"error", refused.kind.encode(), str(refused).encode()])


def serve(line: socket.socket) -> None:
    """Open the token as the first frame says, then answer until the line is closed or the device is lost."""
    _, settings, digest = receive(line)
    try:
        device = Device(json.loads(settings))
        line.sendall(pack([b"ready", device.canary_point, device.canary(digest)]))
    except _Refused as refused:
        line.sendall(_error(refused))
        return
    while device.usable():
        request = receive(line)
        try:
            answer = _answer(device, request)
        except _Refused as refused:
            if ends_worker(refused.kind):
                device.give_up()
            line.sendall(_error(refused))
        else:
            line.sendall(pack([b"ok" if device.usable() else b"ok-last", *answer]))


def main(arguments: list[str]) -> int:
    """Serve the line until it ends."""
    harden_process()
    try:
        with socket.socket(fileno=int(arguments[1])) as line:
            serve(line)
    except (FrameBroken, ConnectionError):
        # The supervisor has closed the line: that is how a worker is told to end.
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
