"""An in-memory signature device: port and refusals of the real one, with counters and scripted failures."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from auditlog.chain import ORIGIN
from signing.sam.algorithms import SHA256, SHA384, SHA512, KeyProfile, SignatureAlgorithm
from signing.sam.ports import (
    ON_TOKEN,
    DeviceError,
    GeneratedKey,
    MacInvalid,
    OperationNotPermitted,
    WrappedKey,
    WrappedKeyRefused,
    WrappingKey,
)
from signing.scdev.device import MAX_DATA
from signing.scdev.fitting import check_fits, profile_named

_HASHES: dict[str, hashes.HashAlgorithm] = {
    SHA256: hashes.SHA256(),
    SHA384: hashes.SHA384(),
    SHA512: hashes.SHA512(),
}
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CURVES: dict[int, ec.EllipticCurve] = {256: ec.SECP256R1(), 384: ec.SECP384R1()}

Operation = Literal[
    "generate", "sign", "mac", "verify_mac", "read_data", "add_data", "remove_data", "canary", "checkpoint_key",
    "sign_checkpoint", "rewrap", "examine", "kept", "destroy_kept",
]  # fmt: skip


class FakeDevice:
    """Keys are wrapped with AES-KWP (RFC 5649) under a key that lives as long as this object.

    ``signatures`` counts values made (also those lost on the way back), ``calls`` counts calls by name.
    Failures scripted by :meth:`fail_next` are consumed in order; :meth:`corrupt_next` spoils values.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mac_key = secrets.token_bytes(32)
        self._script: dict[str, deque[tuple[DeviceError, bool]]] = {}
        self._corrupt = 0
        self._data: dict[str, list[bytes]] = {}
        self._checkpoint_key = ec.generate_private_key(ec.SECP256R1())
        self._keks: dict[str, bytes] = {}
        self._kept: dict[tuple[str, bytes], _PrivateKey] = {}
        self.kek_id = self.new_kek()
        self.signatures = 0
        self.calls: Counter[str] = Counter()

    # Scripting

    def fail_next(self, operation: Operation, error: DeviceError, *, after: bool = False) -> None:
        """The next such call raises ``error``; with ``after`` only once the work is done (and counted)."""
        with self._lock:
            self._script.setdefault(operation, deque()).append((error, after))

    def corrupt_next(self, values: int = 1) -> None:
        """As many values as said come out with one bit wrong (KEY-12)."""
        with self._lock:
            self._corrupt += values

    def new_kek(self) -> str:
        """One more KEK, for new keys from now on."""
        self.kek_id = secrets.token_hex(16)
        self._keks[self.kek_id] = secrets.token_bytes(32)
        return self.kek_id

    # The port

    def generate(self, profile: KeyProfile, realm: str | None = None) -> GeneratedKey:
        lost = self._enter("generate")
        key: _PrivateKey
        if profile.kind == "EC":
            key = ec.generate_private_key(_CURVES[profile.bits])
        else:
            key = rsa.generate_private_key(65537, profile.bits)
        plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        if realm is None:
            wrapped = WrappedKey(aes_key_wrap_with_padding(self._keks[self.kek_id], plain), self.kek_id, profile.name)
        else:
            wrapped = WrappedKey(secrets.token_bytes(16), "", profile.name, ON_TOKEN)
            with self._lock:
                self._kept[realm, wrapped.blob] = key
        if lost is not None:
            raise lost
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return GeneratedKey(wrapped, public)

    def rewrap(self, key: WrappedKey) -> WrappedKey:
        lost = self._enter("rewrap")
        if key.mechanism == ON_TOKEN:
            raise OperationNotPermitted("a key that stays on the token is not wrapped")
        profile_named(key.profile)
        plain = self._unwrap(key).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        if lost is not None:
            raise lost
        return WrappedKey(aes_key_wrap_with_padding(self._keks[self.kek_id], plain), self.kek_id, key.profile)

    def examine(self, key: WrappedKey) -> tuple[str, ...]:
        lost = self._enter("examine")
        if key.mechanism == ON_TOKEN:
            raise OperationNotPermitted("a key that stays on the token is not wrapped")
        profile_named(key.profile)
        self._unwrap(key)
        if lost is not None:
            raise lost
        return ("ALWAYS_SENSITIVE=FALSE", "EXTRACTABLE=FALSE", "LOCAL=FALSE", "SENSITIVE=TRUE")

    def wrapping_keys(self) -> tuple[WrappingKey, ...]:
        return tuple(WrappingKey(kek_id, trusted=True, current=kek_id == self.kek_id) for kek_id in self._keks)

    def kept(self, realm: str) -> frozenset[bytes]:
        lost = self._enter("kept")
        if lost is not None:
            raise lost
        with self._lock:
            return frozenset(blob for of, blob in self._kept if of == realm)

    def destroy_kept(self, realm: str, blob: bytes) -> None:
        lost = self._enter("destroy_kept")
        with self._lock:
            self._kept.pop((realm, blob), None)
        if lost is not None:
            raise lost

    def sign(
        self, key: WrappedKey, algorithm: SignatureAlgorithm, digests: Sequence[bytes]
    ) -> tuple[bytes, ...]:
        lost = self._enter("sign")
        check_fits(profile_named(key.profile), algorithm, digests)
        private = self._unwrap(key)
        values = tuple(self._value(private, algorithm, digest) for digest in digests)
        if lost is not None:
            raise lost
        return values

    def mac(self, message: bytes) -> bytes:
        lost = self._enter("mac")
        tag = hmac.digest(self._mac_key, message, "sha256")
        if lost is not None:
            raise lost
        return tag

    def verify_mac(self, message: bytes, tag: bytes) -> None:
        lost = self._enter("verify_mac")
        if lost is not None:
            raise lost
        if not hmac.compare_digest(hmac.digest(self._mac_key, message, "sha256"), tag):
            raise MacInvalid("the row's MAC does not verify")

    def read_data(self, label: str) -> tuple[bytes, ...]:
        lost = self._enter("read_data")
        if lost is not None:
            raise lost
        with self._lock:
            return tuple(self._data.get(label, ()))

    def add_data(self, label: str, value: bytes) -> None:
        lost = self._enter("add_data")
        if not 0 < len(value) <= MAX_DATA:
            raise OperationNotPermitted("a data object's length")
        with self._lock:
            self._data.setdefault(label, []).append(value)
        if lost is not None:
            raise lost

    def remove_data(self, label: str, value: bytes) -> None:
        lost = self._enter("remove_data")
        with self._lock:
            self._data[label] = [each for each in self._data.get(label, []) if each != value]
        if lost is not None:
            raise lost

    def canary(self) -> None:
        lost = self._enter("canary")
        if lost is not None:
            raise lost

    def checkpoint_key(self) -> bytes:
        lost = self._enter("checkpoint_key")
        if lost is not None:
            raise lost
        return self._checkpoint_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign_checkpoint(self, text: bytes) -> bytes:
        lost = self._enter("sign_checkpoint")
        value = self._checkpoint_key.sign(ORIGIN.encode() + text, ec.ECDSA(hashes.SHA256()))
        if lost is not None:
            raise lost
        return value

    # Inside

    def _enter(self, operation: Operation) -> DeviceError | None:
        """Count the call; raise a scripted failure, or give it back where it is to come afterwards."""
        with self._lock:
            self.calls[operation] += 1
            waiting = self._script.get(operation)
            if not waiting:
                return None
            error, after = waiting.popleft()
        if after:
            return error
        raise error

    def _unwrap(self, key: WrappedKey) -> _PrivateKey:
        private: object
        if key.mechanism == ON_TOKEN:
            with self._lock:
                private = next((each for (_, blob), each in self._kept.items() if blob == key.blob), None)
        else:
            private = self._unwrapped(key)
        expected = ec.EllipticCurvePrivateKey if key.profile.startswith("ec-") else rsa.RSAPrivateKey
        if not isinstance(private, expected) or private.key_size != profile_named(key.profile).bits:
            raise WrappedKeyRefused("there is no such key, or it is not of the profile")
        return private

    def _unwrapped(self, key: WrappedKey) -> object:
        if key.kek_id not in self._keks:
            raise WrappedKeyRefused("the key was wrapped by another device")
        if key.mechanism != "aes-kwp":
            raise WrappedKeyRefused("wrapped by a mechanism that is not known")
        try:
            return load_der_private_key(aes_key_unwrap_with_padding(self._keks[key.kek_id], key.blob), None)
        except (InvalidUnwrap, ValueError) as error:
            raise WrappedKeyRefused("the wrapped key does not unwrap") from error

    def _value(self, key: _PrivateKey, algorithm: SignatureAlgorithm, digest: bytes) -> bytes:
        hashed = Prehashed(_HASHES[algorithm.hash_alg])
        if isinstance(key, ec.EllipticCurvePrivateKey):
            value = key.sign(digest, ec.ECDSA(hashed))
        elif algorithm.scheme == "rsa-pss":
            mgf = padding.MGF1(_HASHES[algorithm.hash_alg])
            value = key.sign(digest, padding.PSS(mgf, len(digest)), hashed)
        else:
            value = key.sign(digest, padding.PKCS1v15(), hashed)
        with self._lock:
            self.signatures += 1
            if self._corrupt:
                self._corrupt -= 1
                value = value[:-1] + bytes([value[-1] ^ 1])
        return value
