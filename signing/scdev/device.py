"""The signature device on PKCS#11: the port of the core, over supervised worker processes.

PKCS#11 itself is not loaded here, nor is the PIN ever in this process.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signing.sam.algorithms import KEY_PROFILES, KeyProfile, SignatureAlgorithm
from signing.sam.ports import (
    ON_TOKEN,
    DeviceLost,
    DeviceUnavailable,
    GeneratedKey,
    MacInvalid,
    OperationNotPermitted,
    WrappedKey,
    WrappedKeyRefused,
    WrappingKey,
)
from signing.scdev.fitting import check_fits, profile_named
from signing.scdev.settings import DeviceHealth, DeviceSettings
from signing.scdev.supervisor import Supervisor

_CURVES: Final[dict[int, ec.EllipticCurve]] = {256: ec.SECP256R1(), 384: ec.SECP384R1()}

MAX_BLOB: Final = 8192
"""Octets of a wrapped key; RSA-4096 takes fewer than 2,500."""
_IDENTIFIER_OCTETS: Final = 16
MAX_DATA: Final = 16 * 1024
"""Octets of a data object: what tokens with little room take too."""
MAX_CHECKPOINT: Final = 1024
"""Octets of a checkpoint's text."""
MAX_MESSAGE: Final = 1024 * 1024
"""Octets that a row MAC is made over."""


class Pkcs11Device:
    """:class:`signing.sam.ports.SignatureDevice` on a PKCS#11 token.  Thread-safe; as many calls at once as workers.

    Starts its workers at once and waits for the first canary signature.
    """

    def __init__(self, settings: DeviceSettings, given_up: Callable[[], bool] = lambda: False) -> None:
        """:param given_up: asked now and then until there is a worker: whether it is not waited for any longer.
        :raises PinRefused: the token refused the PIN; do not start again before it has been looked into.
        :raises DeviceUnavailable: no token, no module, no worker; or it was given up.
        :raises OperationNotPermitted: the server's keys are missing, several, or not as they have to be.
        """
        self._canary_point = b""
        self._supervisor = Supervisor(settings, self._verify_canary, given_up)

    def generate(self, profile: KeyProfile, realm: str | None = None) -> GeneratedKey:
        """Generate a key pair inside the device; see the port."""
        if KEY_PROFILES.get(profile.name) != profile:
            raise OperationNotPermitted("the profile is not one that is offered")
        if realm is None:
            blob, kek_id, mechanism, told, *parts = self._supervisor.call([b"generate", profile.name.encode()])
            key = WrappedKey(blob, kek_id.decode(), profile.name, mechanism.decode())
        else:
            identifier = secrets.token_bytes(_IDENTIFIER_OCTETS)
            told, *parts = self._supervisor.call([b"generate-kept", profile.name.encode(), realm.encode(), identifier])
            key = WrappedKey(identifier, "", profile.name, ON_TOKEN)
        public = _public_key(profile, parts)
        encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return GeneratedKey(key, encoded, tuple(told.decode().split()))

    def rewrap(self, key: WrappedKey) -> WrappedKey:
        """The same key, wrapped as new ones are; see the port."""
        profile_named(key.profile)
        _check_blob(key)
        if key.mechanism == ON_TOKEN:
            raise OperationNotPermitted("a key that stays on the token is not wrapped")
        blob, kek_id, mechanism = self._supervisor.call(
            [b"rewrap", key.profile.encode(), key.kek_id.encode(), key.mechanism.encode(), key.blob]
        )
        return WrappedKey(blob, kek_id.decode(), key.profile, mechanism.decode())

    def examine(self, key: WrappedKey) -> tuple[str, ...]:
        """What a wrapped key may once it is unwrapped; see the port."""
        profile_named(key.profile)
        _check_blob(key)
        if key.mechanism == ON_TOKEN:
            raise OperationNotPermitted("a key that stays on the token is not wrapped")
        (told,) = self._supervisor.call(
            [b"examine", key.profile.encode(), key.kek_id.encode(), key.mechanism.encode(), key.blob]
        )
        return tuple(told.decode().split())

    def wrapping_keys(self) -> tuple[WrappingKey, ...]:
        """The KEKs that are on the token now."""
        fields = self._supervisor.call([b"keks"])
        triples = zip(fields[0::3], fields[1::3], fields[2::3], strict=True)
        return tuple(
            WrappingKey(kek_id.decode(), trusted == b"1", current == b"1") for kek_id, trusted, current in triples
        )

    def kept(self, realm: str) -> frozenset[bytes]:
        """What the keys are found by that stay on the token for an installation."""
        return frozenset(self._supervisor.call([b"kept", realm.encode()]))

    def destroy_kept(self, realm: str, blob: bytes) -> None:
        """Destroy a key that stays on the token for an installation."""
        self._supervisor.call([b"destroy-kept", realm.encode(), blob])

    def sign(self, key: WrappedKey, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> tuple[bytes, ...]:
        """Unwrap once, unless a worker has the key at hand, and sign each digest in order.

        :raises WrappedKeyRefused: the blob does not unwrap.
        :raises OperationNotPermitted: algorithm, key and digest length do not fit together.
        :raises DeviceLost: no answer in time, or not as many values as digests.
        """
        check_fits(profile_named(key.profile), algorithm, digests)
        _check_blob(key)
        values = self._supervisor.call(
            [
                b"sign",
                key.profile.encode(),
                algorithm.scheme.encode(),
                algorithm.hash_alg.encode(),
                key.kek_id.encode(),
                key.mechanism.encode(),
                key.blob,
                *digests,
            ],
            near=key.blob,
        )
        if len(values) != len(digests):
            raise DeviceLost("the device did not give one value a digest")
        return tuple(values)

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-256 with the row key, which never leaves the device (32 octets)."""
        if len(message) > MAX_MESSAGE:
            raise OperationNotPermitted(f"a row has at most {MAX_MESSAGE} octets")
        (tag,) = self._supervisor.call([b"mac", message])
        return tag

    def verify_mac(self, message: bytes, tag: bytes) -> None:
        """Made anew in the device, compared here in constant time: tokens' C_Verify promise nothing of the kind.

        :raises MacInvalid: the tag is not that of the message.
        """
        if not hmac.compare_digest(self.mac(message), tag):
            raise MacInvalid("the row's MAC does not verify")

    def checkpoint_key(self) -> bytes:
        """Public key of the key that signs checkpoints; DER SubjectPublicKeyInfo.

        :raises DeviceLost: what the device gave is none.
        """
        (point,) = self._supervisor.call([b"checkpoint-key"])
        try:
            public = _ec_public_key(256, point)
        except ValueError as error:
            raise DeviceLost("the device gave no public key for checkpoints") from error
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign_checkpoint(self, text: bytes) -> bytes:
        """Sign a checkpoint; the worker puts the origin's first words in front.

        :raises OperationNotPermitted: empty, or longer than :data:`MAX_CHECKPOINT`.
        """
        if not 0 < len(text) <= MAX_CHECKPOINT:
            raise OperationNotPermitted(f"a checkpoint has 1 to {MAX_CHECKPOINT} octets")
        (value,) = self._supervisor.call([b"checkpoint", text])
        return value

    def read_data(self, label: str) -> tuple[bytes, ...]:
        """Values of the data objects of that label."""
        return tuple(self._supervisor.call([b"read-data", label.encode()]))

    def add_data(self, label: str, value: bytes) -> None:
        """Put one more data object of that label there.

        :raises OperationNotPermitted: empty, or longer than :data:`MAX_DATA`.
        """
        if not 0 < len(value) <= MAX_DATA:
            raise OperationNotPermitted(f"a data object holds 1 to {MAX_DATA} octets")
        self._supervisor.call([b"add-data", label.encode(), value])

    def remove_data(self, label: str, value: bytes) -> None:
        """Remove the data objects of that label which hold exactly this."""
        self._supervisor.call([b"remove-data", label.encode(), value])

    def canary(self) -> None:
        """Make and verify one signature with the device's own canary key."""
        digest = secrets.token_bytes(32)
        (value,) = self._supervisor.call([b"canary", digest])
        self._verify_canary(self._canary_point, digest, value)

    def health(self) -> DeviceHealth:
        """What is known without asking the device."""
        return self._supervisor.health()

    def worker_processes(self) -> tuple[int, ...]:
        """Process ids of the workers, for the operator and for fault tests."""
        return self._supervisor.processes()

    def close(self) -> None:
        """Let calls under way finish, then end the workers.  May be called twice."""
        self._supervisor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _verify_canary(self, point: bytes, digest: bytes, value: bytes) -> None:
        """:raises DeviceUnavailable: the signature is not the canary key's, or the key is another than at first."""
        if self._canary_point and not hmac.compare_digest(self._canary_point, point):
            raise DeviceUnavailable("the canary key is another than when the device was opened")
        try:
            public = _ec_public_key(256, point)
            public.verify(value, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        except (InvalidSignature, ValueError) as error:
            raise DeviceUnavailable("the canary signature does not verify") from error
        self._canary_point = point


def _check_blob(key: WrappedKey) -> None:
    if not 0 < len(key.blob) <= MAX_BLOB:
        raise WrappedKeyRefused("the wrapped key is empty or too long")


def _ec_public_key(bits: int, point: bytes) -> ec.EllipticCurvePublicKey:
    """CKA_EC_POINT is the uncompressed point in a DER OCTET STRING (PKCS #11 2.40 curves, 2.3.3).

    :raises ValueError: it is not, or the point is not on the curve.
    """
    octets = 2 * (bits // 8) + 1
    if len(point) < octets or point[:-octets] != bytes([0x04, octets]):
        raise ValueError("not an uncompressed point in an OCTET STRING")
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[bits], point[-octets:])


def _public_key(profile: KeyProfile, parts: Sequence[bytes]) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """:raises DeviceLost: what the device gave is no public key of the profile."""
    try:
        if profile.kind == "EC":
            (point,) = parts
            return _ec_public_key(profile.bits, point)
        modulus, exponent = (int.from_bytes(part, "big") for part in parts)
        if modulus.bit_length() != profile.bits:
            raise ValueError("the modulus has another length")
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise DeviceLost("the device gave no public key of the profile") from error
