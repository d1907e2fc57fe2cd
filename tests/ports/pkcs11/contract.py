"""The clauses, each a function that raises where the token does not do it.

``python -m tests.ports.pkcs11.contract PROVIDER DIRECTORY`` prepares a token below the directory, tries all clauses and
prints JSON: by clause, null where it is fulfilled, else what was seen.  A process of its own for each provider, since a
module is initialised once a process.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import PKCS11Error

from signing.scdev.cryptoki import _UL, CKU_SO, CKU_USER, Cryptoki, _Mechanism, _table
from signing.scdev.errors import CryptokiError
from signing.scdev.fitting import digest_info, ecdsa_der
from signing.scdev.locking import open_library
from signing.scdev.objects import EC_PARAMETERS, P256, P384, USER_KEY
from signing.scdev.refused import code_of
from signing.scdev.returncodes import name_of_code
from tests.ports.pkcs11.providers import LABEL, PROVIDERS, SO_PIN, USER_PIN, Provider

DIGEST = hashlib.sha256(b"contract").digest()
SHA256_OID = "2.16.840.1.101.3.4.2.1"
NOT_FOR_PRIVATE: dict[Any, Any] = {Attribute.ENCRYPT: DEFAULT, Attribute.VERIFY: DEFAULT, Attribute.WRAP: DEFAULT}
PUBLIC: dict[Any, Any] = {
    Attribute.TOKEN: False, Attribute.ENCRYPT: False, Attribute.WRAP: False, Attribute.VERIFY: True,
}  # fmt: skip
CLAUSES: dict[str, Callable[[Token], None]] = {}


class UnfulfilledError(Exception):
    """The token did something else than the clause says."""


def clause(function: Callable[[Token], None]) -> Callable[[Token], None]:
    """A clause by its function's name."""
    CLAUSES[function.__name__] = function
    return function


def require(condition: object, seen: str) -> None:
    """:raises UnfulfilledError: the condition does not hold."""
    if not condition:
        raise UnfulfilledError(seen)


class Token:
    """The token, logged in, with a KEK of the contract's own."""

    def __init__(self, provider: Provider, directory: Path) -> None:
        self.library = open_library(str(provider.module), provider.parameters(directory))
        slots = self.library.get_slots(token_present=True)
        (self.token,) = [
            slot.get_token()
            for slot in slots
            if (slot.slot_id == provider.slot if provider.slot is not None else slot.get_token().label == LABEL)
        ]
        self._table = _table(provider.module)
        self.session: Any = self.token.open(rw=True, user_pin=USER_PIN.decode())

    def raw_decrypt(self, key: Any, octets: bytes) -> int:
        """C_DecryptInit and C_Decrypt by CKM_AES_ECB, which the library offers only for keys that may: the code."""
        init, decrypt = (ctypes.CFUNCTYPE(_UL)(self._table[position]) for position in (34, 35))
        mechanism = _Mechanism(Mechanism.AES_ECB, None, 0)
        session, out, length = _UL(self.session.handle), ctypes.create_string_buffer(4096), _UL(4096)
        code = init(session, ctypes.byref(mechanism), _UL(key.handle))
        return int(code or decrypt(session, octets, _UL(len(octets)), out, ctypes.byref(length)))

    def kek(self, **changes: Any) -> Any:
        template: dict[Any, Any] = {
            Attribute.TOKEN: False, Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False,
            Attribute.WRAP: True, Attribute.UNWRAP: True, Attribute.ENCRYPT: False, Attribute.DECRYPT: False,
            Attribute.SIGN: False, Attribute.VERIFY: False, Attribute.DERIVE: False,
        }  # fmt: skip
        template.update({getattr(Attribute, name): value for name, value in changes.items()})
        return self.session.generate_key(KeyType.AES, 256, template=template)

    def pair(self, kind: str, **changes: Any) -> tuple[Any, Any]:
        born: dict[Any, Any] = {**USER_KEY, Attribute.EXTRACTABLE: True}
        born.update({getattr(Attribute, name): value for name, value in changes.items()})
        if kind == "rsa":
            return self.session.generate_keypair(  # type: ignore[no-any-return] # untyped in the library
                KeyType.RSA, 3072, public_template=PUBLIC, private_template=born
            )
        parameters = EC_PARAMETERS[P384 if kind == "p384" else P256]
        curve = self.session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: parameters}, local=True)
        public = {name: value for name, value in PUBLIC.items() if name is not Attribute.ENCRYPT}
        return curve.generate_keypair(  # type: ignore[no-any-return] # untyped in the library
            public_template=public, private_template=born
        )

    def unwrap(self, kek: Any, kind: str, blob: bytes, mechanism: Mechanism, **changes: Any) -> Any:
        template: dict[Any, Any] = {**NOT_FOR_PRIVATE, **USER_KEY}
        template.update({getattr(Attribute, name): value for name, value in changes.items()})
        key_type = KeyType.RSA if kind == "rsa" else KeyType.EC
        return kek.unwrap_key(ObjectClass.PRIVATE_KEY, key_type, blob, mechanism=mechanism, template=template)


def refused(action: Callable[[], Any], what: str) -> None:
    """The token has to say no."""
    try:
        action()
    except PKCS11Error:
        return
    raise UnfulfilledError(what)


def verify_ec(public: Any, value: bytes, curve: ec.EllipticCurve, octets: int) -> None:
    point = bytes(public[Attribute.EC_POINT])[-(2 * octets + 1) :]
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    key.verify(ecdsa_der(value), DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


def rsa_public(public: Any) -> rsa.RSAPublicKey:
    numbers = (int.from_bytes(public[each], "big") for each in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
    return rsa.RSAPublicNumbers(*numbers).public_key()


# Keys and signatures


@clause
def ecdsa_p256(token: Token) -> None:
    public, private = token.pair("p256")
    verify_ec(public, private.sign(DIGEST, mechanism=Mechanism.ECDSA), ec.SECP256R1(), 32)


@clause
def ecdsa_p384(token: Token) -> None:
    public, private = token.pair("p384")
    verify_ec(public, private.sign(DIGEST, mechanism=Mechanism.ECDSA), ec.SECP384R1(), 48)


@clause
def ecdsa_with_sha256(token: Token) -> None:
    require(Mechanism.ECDSA_SHA256 in token.token.slot.get_mechanisms(), "CKM_ECDSA_SHA256 is not offered")
    public, private = token.pair("p256")
    verify_ec(public, private.sign(b"contract", mechanism=Mechanism.ECDSA_SHA256), ec.SECP256R1(), 32)


@clause
def rsa_pkcs1(token: Token) -> None:
    public, private = token.pair("rsa")
    value = private.sign(digest_info(SHA256_OID, DIGEST), mechanism=Mechanism.RSA_PKCS)
    rsa_public(public).verify(value, DIGEST, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


@clause
def rsa_pss(token: Token) -> None:
    public, private = token.pair("rsa")
    parameters = (Mechanism.SHA256, MGF.SHA256, 32)
    value = private.sign(DIGEST, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    rsa_public(public).verify(value, DIGEST, pss, Prehashed(hashes.SHA256()))


@clause
def hmac_sha256(token: Token) -> None:
    key = token.session.generate_key(
        KeyType.GENERIC_SECRET, 256, mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.SIGN: True,
                  Attribute.VERIFY: True, Attribute.ENCRYPT: False, Attribute.DECRYPT: False, Attribute.WRAP: False,
                  Attribute.UNWRAP: False},
    )  # fmt: skip
    first, second = (bytes(key.sign(b"row", mechanism=Mechanism.SHA256_HMAC)) for _ in range(2))
    require(len(first) == 32 and first == second, "the MAC has another length or changes")


# Wrapping


def round_trip(token: Token, kind: str, mechanism: Mechanism) -> None:
    kek = token.kek()
    public, private = token.pair(kind)
    blob = kek.wrap_key(private, mechanism=mechanism)
    private.destroy()
    again = token.unwrap(kek, kind, blob, mechanism)
    if kind == "rsa":
        value = again.sign(digest_info(SHA256_OID, DIGEST), mechanism=Mechanism.RSA_PKCS)
        rsa_public(public).verify(value, DIGEST, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    else:
        verify_ec(public, again.sign(DIGEST, mechanism=Mechanism.ECDSA), ec.SECP256R1(), 32)


# CKM_AES_KEY_WRAP is no clause: it takes whole blocks of 8 octets only, and how long a key's encoding is, is chance.
@clause
def wraps_rsa_by_aes_kwp(token: Token) -> None:
    round_trip(token, "rsa", Mechanism.AES_KEY_WRAP_PAD)


@clause
def wraps_ec_by_aes_kwp(token: Token) -> None:
    round_trip(token, "p256", Mechanism.AES_KEY_WRAP_PAD)


def wrapped(token: Token, kek: Any) -> bytes:
    """A key of the kind that all providers wrap."""
    _, private = token.pair("rsa")
    return bytes(kek.wrap_key(private, mechanism=Mechanism.AES_KEY_WRAP_PAD))


@clause
def an_altered_blob_is_refused(token: Token) -> None:
    kek = token.kek()
    blob = bytearray(wrapped(token, kek))
    blob[40] ^= 1
    refused(lambda: token.unwrap(kek, "rsa", bytes(blob), Mechanism.AES_KEY_WRAP_PAD), "an altered blob was unwrapped")


@clause
def an_altered_blob_has_a_code_of_its_own(token: Token) -> None:
    kek = token.kek()
    blob = bytearray(wrapped(token, kek))
    blob[40] ^= 1
    try:
        token.unwrap(kek, "rsa", bytes(blob), Mechanism.AES_KEY_WRAP_PAD)
    except PKCS11Error as error:
        require(code_of(error) in {0x40, 0x41, 0x110, 0x112}, name_of_code(code_of(error)))


@clause
def what_is_unwrapped_is_as_its_template_says(token: Token) -> None:
    kek = token.kek()
    key = token.unwrap(kek, "rsa", wrapped(token, kek), Mechanism.AES_KEY_WRAP_PAD)
    for attribute, value in USER_KEY.items():
        found = key[attribute]
        require(found == value, f"CKA_{Attribute(attribute).name} is {found}")


@clause
def what_is_not_extractable_is_not_wrapped(token: Token) -> None:
    kek = token.kek()
    _, private = token.pair("rsa", EXTRACTABLE=False)
    refused(lambda: kek.wrap_key(private, mechanism=Mechanism.AES_KEY_WRAP_PAD), "a key not EXTRACTABLE was wrapped")


@clause
def a_wrapping_key_does_not_decrypt(token: Token) -> None:
    kek = token.kek()
    blob = wrapped(token, kek)
    require(token.raw_decrypt(kek, blob[:32]), "a key without DECRYPT decrypted")


@clause
def a_key_cannot_be_given_what_it_was_born_without(token: Token) -> None:
    kek = token.kek(MODIFIABLE=False)

    def give() -> None:
        kek[Attribute.DECRYPT] = True

    refused(give, "a key that is not MODIFIABLE was given DECRYPT")


@clause
def an_unextractable_key_stays_so(token: Token) -> None:
    kek = token.kek()

    def release() -> None:
        kek[Attribute.EXTRACTABLE] = True

    refused(release, "EXTRACTABLE was set to true")


@clause
def a_sensitive_key_is_not_read(token: Token) -> None:
    refused(lambda: token.kek(EXTRACTABLE=True)[Attribute.VALUE], "the value of a SENSITIVE key was read")


@clause
def wrap_with_trusted_is_obeyed(token: Token) -> None:
    kek = token.kek()
    _, private = token.pair("rsa", WRAP_WITH_TRUSTED=True)
    refused(lambda: kek.wrap_key(private, mechanism=Mechanism.AES_KEY_WRAP_PAD), "wrapped by a key that is not TRUSTED")


@clause
def a_user_makes_no_trusted_key(token: Token) -> None:
    refused(lambda: token.kek(TRUSTED=True), "the user made a TRUSTED key")


# Objects and sessions


@clause
def private_data_objects_are_kept(token: Token) -> None:
    label = secrets.token_hex(8)
    made = token.session.create_object(
        {Attribute.CLASS: ObjectClass.DATA, Attribute.TOKEN: True, Attribute.PRIVATE: True,
         Attribute.MODIFIABLE: False, Attribute.APPLICATION: "privyseal", Attribute.LABEL: label,
         Attribute.VALUE: b"anchor" * 1000}
    )  # fmt: skip
    with token.token.open(rw=True) as other:
        wanted = {Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: label}
        found = [bytes(each[Attribute.VALUE]) for each in other.get_objects(wanted)]
    made.destroy()
    require(found == [b"anchor" * 1000], f"{len(found)} objects were found")


@clause
def one_login_serves_all_sessions(token: Token) -> None:
    with token.token.open(rw=True) as other:
        key = other.generate_key(KeyType.AES, 256, template={Attribute.TOKEN: False, Attribute.PRIVATE: True})
        require(key, "no key")


@clause
def token_objects_are_found_by_their_id(token: Token) -> None:
    identifier = secrets.token_bytes(16)
    token.kek(TOKEN=True, ID=identifier, LABEL="contract-kek")
    found = list(token.session.get_objects({Attribute.ID: identifier, Attribute.CLASS: ObjectClass.SECRET_KEY}))
    for each in found:
        each.destroy()
    require(len(found) == 1, f"{len(found)} keys were found")


@clause
def destroyed_session_objects_are_gone(token: Token) -> None:
    _, private = token.pair("p256")
    private.destroy()
    refused(lambda: private.sign(DIGEST, mechanism=Mechanism.ECDSA), "a key signed that was destroyed")


@clause
def the_token_says_what_it_wraps_with(token: Token) -> None:
    slot = token.token.slot
    flags = slot.get_mechanism_info(Mechanism.AES_KEY_WRAP_PAD).flags
    both = MechanismFlag.WRAP | MechanismFlag.UNWRAP
    require(flags & both == both, f"flags of CKM_AES_KEY_WRAP_PAD: {int(flags):#x}")


@clause
def a_wrong_pin_is_refused_as_one(token: Token) -> None:
    # The login belongs to process and token: this has to be last.
    token.session.close()
    try:
        token.token.open(rw=True, user_pin="not the PIN at all").close()
    except PKCS11Error as error:
        require(code_of(error) == 0xA0, name_of_code(code_of(error)))
        return
    raise UnfulfilledError("a wrong PIN was taken")


def prepare(provider: Provider, directory: Path) -> None:
    """A token with both PINs, in a process that then ends."""
    module = Cryptoki(provider.module, provider.parameters(directory))
    if provider.slot is None:
        slots = [number for number, label in module.slots().items() if label is None]
        module.init_token(slots[0], LABEL, SO_PIN)
        (slot,) = [number for number, label in module.slots().items() if label == LABEL]
        so_pin = SO_PIN
    else:
        slot, so_pin = provider.slot, b""
    session = module.open(slot)
    module.login(session, CKU_SO, so_pin)
    module.init_pin(session, USER_PIN)
    module.logout(session)
    module.login(session, CKU_USER, USER_PIN)
    module.close_session(session)


def run(provider: Provider, directory: Path) -> Mapping[str, str | None]:
    """Try all clauses."""
    token = Token(provider, directory)
    seen: dict[str, str | None] = {}
    for name, function in CLAUSES.items():
        try:
            function(token)
            seen[name] = None
        except UnfulfilledError as error:
            seen[name] = str(error)
        except PKCS11Error as error:
            seen[name] = name_of_code(code_of(error))
        except CryptokiError as error:
            seen[name] = name_of_code(error.rv)
        except Exception as error:
            seen[name] = type(error).__name__
    return seen


def main(step: str, name: str, directory: str) -> None:
    """Prepare, or try."""
    provider = PROVIDERS[name]
    if step == "prepare":
        prepare(provider, Path(directory))
    else:
        sys.stdout.write(json.dumps(run(provider, Path(directory))))


if __name__ == "__main__":
    main(*sys.argv[1:])
