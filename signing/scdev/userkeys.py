"""Users' keys inside a worker: generated and wrapped, unwrapped and used, destroyed.

Session objects all of them, so that they end with the process whatever becomes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import KeyHandleInvalid, PKCS11Error

from signing.sam.algorithms import SHA256, SHA384, SHA512, KeyProfile
from signing.scdev.cache import HandleCache, name_of
from signing.scdev.fitting import DIGEST_LENGTHS, digest_info, ecdsa_der, ecdsa_input
from signing.scdev.objects import EC_PARAMETERS, P256, USER_KEY
from signing.scdev.refused import Refused, code_of, expect, refusal
from signing.scdev.returncodes import WRAPPED_CODES

WRAPS: Final = {"aes-kwp": Mechanism.AES_KEY_WRAP_PAD, "aes-kw": Mechanism.AES_KEY_WRAP}
"""PKCS#11's mechanisms by the names that stand beside a blob."""

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


@dataclass(frozen=True, slots=True)
class Blob:
    """A wrapped key, with all that is needed to unwrap it."""

    profile: KeyProfile
    kek_id: str
    mechanism: str
    octets: bytes

    def name(self) -> bytes:
        """What its handle is kept under."""
        return name_of(self.kek_id, self.mechanism, self.profile.name, self.octets)


class UserKeys:
    """What is done with users' keys in one session.  One thread."""

    def __init__(
        self,
        session: Any,
        keks: Mapping[str, Any],
        current: str,
        wrap: str,
        cache: tuple[int, float],
        *,
        works: Callable[[], bool],
        give_up: Callable[[], None],
    ) -> None:
        """Nothing is done yet.

        :param keks: by CKA_ID in hexadecimal.
        :param current: which of them wraps new keys.
        :param wrap: name in :data:`WRAPS`, of the mechanism for new keys.
        :param cache: how many handles are kept, and for how many seconds.
        :param works: whether the token does something else; tells an altered blob from a lost device.
        :param give_up: called where a key could not be destroyed: it dies with the process only.
        """
        self._session = session
        self._keks = keks
        self._current = current
        self._wrap = wrap
        self._works = works
        self._give_up = give_up
        self._cache = HandleCache(cache[0], cache[1], destroy=self._destroy, now=time.monotonic)

    def expire(self) -> float | None:
        """Destroy what has been kept for long enough; gives the seconds until the next time, or None."""
        return self._cache.expire()

    def check(self, profile: KeyProfile) -> None:
        """Make a key, wrap it, unwrap it, and read back what it may: once, before the worker is used."""
        octets, kek_id, mechanism, *_ = self.generate(profile)
        self._destroy(self._unwrap(Blob(profile, kek_id.decode(), mechanism.decode(), octets)))

    def sign(self, blob: Blob, scheme: str, hash_alg: str, digests: Sequence[bytes]) -> list[bytes]:
        """Sign each digest with the key, which is unwrapped first unless it is at hand."""
        name = blob.name()
        held = self._cache.take(name)
        kept = held is not None
        held = held or self._cache.new(self._unwrap(blob))
        values: list[bytes] = []
        try:
            for digest in digests:
                values.append(_value(held.handle, blob.profile, scheme, hash_alg, digest))
        except PKCS11Error as error:
            self._destroy(held.handle)
            raise _failed(error, values, kept=kept) from error
        self._cache.keep(name, held)
        return values

    def generate(self, profile: KeyProfile) -> list[bytes]:
        """A key pair: wrapped, then destroyed.

        :returns: the blob, the KEK's id, the mechanism, and the public key: the EC point (DER OCTET STRING), or
            modulus and exponent.
        """
        kek = self._keks[self._current]
        born = {**USER_KEY, Attribute.EXTRACTABLE: True}
        if kek.get_attributes([Attribute.TRUSTED]).get(Attribute.TRUSTED):
            born[Attribute.WRAP_WITH_TRUSTED] = True
        try:
            public, private = self._key_pair(profile, born)
        except PKCS11Error as error:
            raise refusal(error, "C_GenerateKeyPair", sent=False) from error
        try:
            expect(private, "a user's key at its birth", {**born, Attribute.ALWAYS_SENSITIVE: True})
            octets = kek.wrap_key(private, mechanism=WRAPS[self._wrap])
            parts = (
                [public[Attribute.EC_POINT]]
                if profile.kind == "EC"
                else [public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT]]
            )
        except PKCS11Error as error:
            raise refusal(error, "C_WrapKey", sent=False) from error
        finally:
            self._destroy(private)
            self._destroy(public)
        return [octets, self._current.encode(), self._wrap.encode(), *parts]

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

    def _unwrap(self, blob: Blob) -> Any:
        kek, mechanism = self._keks.get(blob.kek_id), WRAPS.get(blob.mechanism)
        if kek is None:
            raise Refused("wrapped_key_refused", "no KEK of that id is on the token")
        if mechanism is None:
            raise Refused("wrapped_key_refused", "wrapped by a mechanism that is not known")
        try:
            key = kek.unwrap_key(
                ObjectClass.PRIVATE_KEY,
                _KEY_TYPES[blob.profile.kind],
                blob.octets,
                mechanism=mechanism,
                template=_IN_USE,
            )
        except PKCS11Error as error:
            if code_of(error) in WRAPPED_CODES or self._works():
                raise Refused("wrapped_key_refused", f"C_UnwrapKey: {type(error).__name__}") from error
            raise refusal(error, "C_UnwrapKey", sent=False) from error
        self._check_unwrapped(key, blob.profile)
        return key

    def _check_unwrapped(self, key: Any, profile: KeyProfile) -> None:
        """The key is what its row says, and may what it has to; else it is destroyed unused."""
        try:
            expect(key, "a user's key", USER_KEY)
            if not _is_of(key, profile):
                raise Refused("wrapped_key_refused", "the key that was unwrapped is not of the profile")
        except PKCS11Error as error:
            self._destroy(key)
            raise refusal(error, "the attributes of an unwrapped key", sent=False) from error
        except Refused:
            self._destroy(key)
            raise

    def _destroy(self, key: Any) -> None:
        """A key that cannot be destroyed dies with the process, so the process is not used again."""
        try:
            key.destroy()
        except PKCS11Error:
            self._give_up()


def _is_of(key: Any, profile: KeyProfile) -> bool:
    if profile.kind == "EC":
        return bytes(key[Attribute.EC_PARAMS]) == EC_PARAMETERS[profile.curve or P256]
    return int.from_bytes(key[Attribute.MODULUS], "big").bit_length() == profile.bits


def _failed(error: PKCS11Error, values: Sequence[bytes], *, kept: bool) -> Refused:
    if values:
        # Whatever the code says of this digest, there are signatures of those before it.
        return Refused("device_lost", f"{refusal(error, 'C_Sign', sent=True)}, after {len(values)} values")
    if kept and isinstance(error, KeyHandleInvalid):
        # Of C_SignInit alone (PKCS #11 2.40, 5.13): the token forgot its session objects, and nothing was signed.
        return refusal(error, "C_SignInit", sent=False)
    return refusal(error, "C_Sign", sent=True)


def _value(key: Any, profile: KeyProfile, scheme: str, hash_alg: str, digest: bytes) -> bytes:
    if scheme == "ecdsa":
        return ecdsa_der(key.sign(ecdsa_input(profile, digest), mechanism=Mechanism.ECDSA))
    if scheme == "rsa-pss":
        parameters = (*_PSS[hash_alg], DIGEST_LENGTHS[hash_alg])
        return bytes(key.sign(digest, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters))
    return bytes(key.sign(digest_info(hash_alg, digest), mechanism=Mechanism.RSA_PKCS))
