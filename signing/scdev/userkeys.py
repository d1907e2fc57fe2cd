"""Users' keys inside a worker: generated and wrapped, unwrapped and used, wrapped anew, destroyed.

Session objects, so that they end with the process whatever becomes of it; or objects of the token that stay there
(:mod:`signing.scdev.tokenkeys`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pkcs11 import MGF, Attribute, Mechanism, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import KeyHandleInvalid, ObjectHandleInvalid, PKCS11Error, TemplateInconsistent

from signing.sam.algorithms import SHA256, SHA384, SHA512, KeyProfile
from signing.sam.ports import ON_TOKEN
from signing.scdev import pairs, tokenkeys
from signing.scdev.cache import HandleCache, Held, name_of
from signing.scdev.fitting import DIGEST_LENGTHS, digest_info, ecdsa_der, ecdsa_input
from signing.scdev.objects import UNWRAPPED, USER_KEY
from signing.scdev.refused import Refused, code_of, expect, refusal, told
from signing.scdev.returncodes import WRAPPED_CODES, ends_worker, may_be_the_blob
from signing.scdev.wrapping import Kek, Keks, mechanism_named

_PSS: Final = {
    SHA256: (Mechanism.SHA256, MGF.SHA256),
    SHA384: (Mechanism.SHA384, MGF.SHA384),
    SHA512: (Mechanism.SHA512, MGF.SHA512),
}
# python-pkcs11 puts capabilities into the template that a private key cannot have; DEFAULT takes them out again.
_LEFT_OUT: Final[dict[Any, Any]] = {Attribute.ENCRYPT: DEFAULT, Attribute.VERIFY: DEFAULT, Attribute.WRAP: DEFAULT}
_EXTRACTABLE: Final = {Attribute.EXTRACTABLE: True}


@dataclass(frozen=True, slots=True)
class Blob:
    """A wrapped key, with all that is needed to unwrap it; or where on the token it is found."""

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
        keks: Keks,
        current: str,
        cache: tuple[int, float],
        *,
        works: Callable[[], bool],
        give_up: Callable[[], None],
    ) -> None:
        """Nothing is done yet.

        :param current: id of the KEK that wraps new keys.
        :param cache: how many handles are kept, and for how many seconds.
        :param works: whether the token does something else; tells an altered blob from a lost device.
        :param give_up: called where a key could not be destroyed: it dies with the process only.
        """
        self._session = session
        self._keks = keks
        self._current = current
        self._wrap = ""
        self._works = works
        self._give_up = give_up
        self._cache = HandleCache(cache[0], cache[1], destroy=self._destroy, now=time.monotonic)

    def begin(self, profile: KeyProfile, mechanisms: Sequence[str]) -> None:
        """Settle on a mechanism for new keys: the first by which a key is made, wrapped, unwrapped and read back.

        :raises Refused: there is none.
        """
        refused = Refused("operation_not_permitted", "the token offers no mechanism to wrap keys with")
        for self._wrap in mechanisms:
            try:
                octets, kek_id, mechanism, *_ = self.generate(profile)
                self._destroy(self._unwrap(Blob(profile, kek_id.decode(), mechanism.decode(), octets)))
            except Refused as error:
                if ends_worker(error.kind):
                    raise
                refused = error
            else:
                return
        raise refused

    def expire(self) -> float | None:
        """Destroy what has been kept for long enough; gives the seconds until the next time, or None."""
        return self._cache.expire()

    def sign(self, blob: Blob, scheme: str, hash_alg: str, digests: Sequence[bytes]) -> list[bytes]:
        """Sign each digest with the key, which is unwrapped or looked for first unless it is at hand."""
        name = blob.name()
        held = self._cache.take(name)
        kept = held is not None
        held = held or self._opened(blob)
        values: list[bytes] = []
        try:
            for digest in digests:
                values.append(_value(held.handle, blob.profile, scheme, hash_alg, digest))
        except PKCS11Error as error:
            self._cache.end(held)
            raise _failed(error, values, kept=kept) from error
        self._cache.keep(name, held)
        return values

    def generate(self, profile: KeyProfile) -> list[bytes]:
        """A key pair: wrapped, then destroyed.

        :returns: the blob, the KEK's id, the mechanism, the private key's attributes as they were read back, and the
            public key's parts, see :func:`signing.scdev.pairs.public_parts`.
        """
        kek = self._current_kek()
        born = {**_with_trusted(kek), **USER_KEY, **_EXTRACTABLE}
        public, private = pairs.generate(self._session, profile, born)
        try:
            asserted = {**born, Attribute.ALWAYS_SENSITIVE: True}
            expect(private, "a user's key at its birth", asserted)
            octets = kek.key.wrap_key(private, mechanism=mechanism_named(self._wrap))
            parts = pairs.public_parts(public, profile)
        except PKCS11Error as error:
            raise refusal(error, "C_WrapKey", sent=False) from error
        finally:
            self._destroy(private)
            self._destroy(public)
        return [octets, self._current.encode(), self._wrap.encode(), told(asserted), *parts]

    def rewrap(self, blob: Blob) -> list[bytes]:
        """Wrap a key with the KEK and by the mechanism of new keys; it never leaves the token but wrapped.

        The blob that comes out is unwrapped and wrapped once more: the mechanisms give one key one blob, so that the
        same octets show that both hold the same key, without anything being signed with it.

        :returns: the new blob, the KEK's id, the mechanism.
        :raises Refused: a KEK's unwrap template allows nothing that could be wrapped again; or the token has not
            made the same key of it.
        """
        kek, mechanism = self._current_kek(), mechanism_named(self._wrap)
        if not kek.trusted:
            raise Refused("operation_not_permitted", "the KEK is not CKA_TRUSTED: nothing is wrapped anew with it")
        octets = self._wrapped_anew(blob, kek, mechanism)
        again = self._wrapped_anew(Blob(blob.profile, self._current, self._wrap, octets), kek, mechanism)
        if again != octets:
            raise Refused("operation_not_permitted", "the token does not wrap one key to one blob: cannot be verified")
        return [octets, self._current.encode(), self._wrap.encode()]

    def examine(self, blob: Blob) -> list[bytes]:
        """Unwrap a key, read its attributes back, destroy it.

        :returns: the attributes.
        :raises Refused: it is not as a user's key has to be, or the token says of it what it can say of its own only.
        """
        key, kek = self._unwrap(blob), self._keks.get(blob.kek_id)
        try:
            expect(key, "a key from elsewhere", UNWRAPPED)
        except PKCS11Error as error:
            raise refusal(error, "the attributes of an unwrapped key", sent=False) from error
        finally:
            self._destroy(key)
        return [told({**({} if kek is None else _with_trusted(kek)), **USER_KEY, **UNWRAPPED})]

    def keks(self) -> list[bytes]:
        """Three fields a KEK: its id, whether it is trusted, whether new keys are wrapped by it."""
        found: list[bytes] = []
        try:
            for kek_id, kek in sorted(self._keks.all().items()):
                found += [kek_id.encode(), _flag(kek.trusted), _flag(kek_id == self._current)]
        except PKCS11Error as error:
            raise refusal(error, "the KEKs", sent=False) from error
        return found

    def generate_kept(self, profile: KeyProfile, realm: str, identifier: bytes) -> list[bytes]:
        """A key pair whose private key stays on the token; see :mod:`signing.scdev.tokenkeys`."""
        return tokenkeys.generate(self._session, profile, realm, identifier, self._destroy)

    def kept(self, realm: str) -> list[bytes]:
        """CKA_IDs of an installation's keys on the token."""
        return tokenkeys.kept(self._session, realm)

    def destroy_kept(self, realm: str, identifier: bytes) -> None:
        """End one of them for good."""
        tokenkeys.destroy(self._session, realm, identifier)

    # Inside

    def _current_kek(self) -> Kek:
        kek = self._keks.get(self._current)
        if kek is None:
            raise Refused("operation_not_permitted", "the KEK for new keys is gone")
        return kek

    def _opened(self, blob: Blob) -> Held:
        if blob.mechanism == ON_TOKEN:
            return self._cache.new(tokenkeys.find(self._session, blob.profile, blob.octets), stays=True)
        return self._cache.new(self._unwrap(blob))

    def _unwrap(self, blob: Blob, change: Mapping[Any, Any] | None = None) -> Any:
        """A session object, which is the key that its row says, and may what it has to; else it is destroyed unused.

        :param change: of :data:`USER_KEY`.
        """
        kek, mechanism = self._keks.get(blob.kek_id), mechanism_named(blob.mechanism)
        if kek is None:
            raise Refused("wrapped_key_refused", "no KEK of that id is on the token")
        if mechanism is None:
            raise Refused("wrapped_key_refused", "wrapped by a mechanism that is not known")
        # In this order: SoftHSM2 takes no attribute of a key that it has just been told is not MODIFIABLE.
        attributes = {**_with_trusted(kek), **USER_KEY, **(change or {})}
        try:
            key = kek.key.unwrap_key(
                ObjectClass.PRIVATE_KEY,
                pairs.KEY_TYPES[blob.profile.kind],
                blob.octets,
                mechanism=mechanism,
                template={**_LEFT_OUT, **attributes},
            )
        except PKCS11Error as error:
            if change is not None and isinstance(error, TemplateInconsistent):
                raise Refused(
                    "operation_not_permitted", "the KEK's CKA_UNWRAP_TEMPLATE lets no key be wrapped again"
                ) from error
            code = code_of(error)
            if code in WRAPPED_CODES or (may_be_the_blob(code) and self._works()):
                raise Refused("wrapped_key_refused", f"C_UnwrapKey: {type(error).__name__}", code) from error
            raise refusal(error, "C_UnwrapKey", sent=False) from error
        try:
            expect(key, "a user's key", attributes)
            if not pairs.is_of(key, blob.profile):
                raise Refused("wrapped_key_refused", "the key that was unwrapped is not of the profile")
        except PKCS11Error as error:
            self._destroy(key)
            raise refusal(error, "the attributes of an unwrapped key", sent=False) from error
        except Refused:
            self._destroy(key)
            raise
        return key

    def _wrapped_anew(self, blob: Blob, kek: Kek, mechanism: Any) -> bytes:
        key = self._unwrap(blob, _EXTRACTABLE)
        try:
            return bytes(kek.key.wrap_key(key, mechanism=mechanism))
        except PKCS11Error as error:
            raise refusal(error, "C_WrapKey", sent=False) from error
        finally:
            self._destroy(key)

    def _destroy(self, key: Any) -> None:
        """A key that cannot be destroyed dies with the process, so the process is not used again."""
        try:
            key.destroy()
        except PKCS11Error:
            self._give_up()


def _with_trusted(kek: Kek) -> dict[Any, Any]:
    """Where there is a trusted KEK, nothing else may ever wrap the key."""
    return {Attribute.WRAP_WITH_TRUSTED: True} if kek.trusted else {}


def _flag(value: bool) -> bytes:
    return b"1" if value else b"0"


def _failed(error: PKCS11Error, values: Sequence[bytes], *, kept: bool) -> Refused:
    if values:
        # Whatever the code says of this digest, there are signatures of those before it.
        refused = refusal(error, "C_Sign", sent=True)
        return Refused("device_lost", f"{refused}, after {len(values)} values", refused.rv)
    if kept and isinstance(error, (KeyHandleInvalid, ObjectHandleInvalid)):
        # Of C_SignInit, which alone is given a handle: the token has not got the key any more, and nothing was signed.
        return refusal(error, "C_SignInit", sent=False)
    return refusal(error, "C_Sign", sent=True)


def _value(key: Any, profile: KeyProfile, scheme: str, hash_alg: str, digest: bytes) -> bytes:
    if scheme == "ecdsa":
        return ecdsa_der(key.sign(ecdsa_input(profile, digest), mechanism=Mechanism.ECDSA))
    if scheme == "rsa-pss":
        parameters = (*_PSS[hash_alg], DIGEST_LENGTHS[hash_alg])
        return bytes(key.sign(digest, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters))
    return bytes(key.sign(digest_info(hash_alg, digest), mechanism=Mechanism.RSA_PKCS))
