"""What the core needs from outside: a signature creation device.

The storage ports stand in :mod:`signing.sam.store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from signing.errors import SigningError
from signing.sam.algorithms import KeyProfile, SignatureAlgorithm
from signing.sam.errors import ScdevUnavailable


class DeviceError(SigningError):
    """Base of what a device answers when it does not do what was asked; never raised itself."""

    code = "device_error"
    certainly_not_signed: ClassVar[bool] = False
    """True only where it is certain that C_Sign was never sent: the reservation may then be released."""


class DeviceUnavailable(DeviceError):
    """The device could not be reached, and nothing was sent to it."""

    code = "device_unavailable"
    certainly_not_signed = True


class DeviceLost(DeviceError):
    """The device or its worker failed, or the deadline passed, after the operation may have been sent."""

    code = "device_lost"


class WrappedKeyRefused(DeviceError):
    """The wrapped key cannot be unwrapped: truncated, altered, or wrapped under another key."""

    code = "wrapped_key_refused"
    certainly_not_signed = True


class OperationNotPermitted(DeviceError):
    """Key, mechanism or lengths do not fit: permanent, not worth a retry."""

    code = "operation_not_permitted"
    certainly_not_signed = True


class MacInvalid(DeviceError):
    """A row's MAC does not verify."""

    code = "row_integrity"
    certainly_not_signed = True


class PinRefused(DeviceError):
    """The device refused the PIN.  Never retried: a second try brings the token closer to being locked."""

    code = "pin_refused"
    certainly_not_signed = True


ON_TOKEN: Final = "token"
"""In the place of a mechanism: the key is not wrapped but stays on the token."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A user's private key as it leaves the device: wrapped by the KEK, useless without the device.

    Of a key that stays on the token (``mechanism`` is :data:`ON_TOKEN`) only what it is found by leaves.
    """

    blob: bytes = field(repr=False)
    """The wrapped key; or the CKA_ID of one that stays on the token."""
    kek_id: str
    """Which KEK wrapped it (CKA_ID in hexadecimal); empty for a key that stays on the token."""
    profile: str
    """Name in :data:`signing.sam.algorithms.KEY_PROFILES`."""
    mechanism: str = "aes-kwp"
    """How it was wrapped: a token that comes to offer another mechanism still unwraps what is there."""


@dataclass(frozen=True, slots=True)
class WrappingKey:
    """A KEK on the token."""

    kek_id: str
    """CKA_ID in hexadecimal."""
    trusted: bool
    current: bool
    """Whether new keys are wrapped by it."""


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A new key pair."""

    wrapped: WrappedKey
    public_key: bytes
    """DER SubjectPublicKeyInfo (RFC 5280 4.1.2.7)."""
    attributes: tuple[str, ...] = ()
    """What the private key may, as the device told when it was born: PKCS#11 attributes such as ``SENSITIVE=TRUE``."""


class SignatureDevice(Protocol):
    """The signature creation device (SCDev).

    Every call may raise :class:`DeviceUnavailable`, :class:`DeviceLost`, :class:`PinRefused`.
    """

    def generate(self, profile: KeyProfile, realm: str | None = None) -> GeneratedKey:
        """Generate a key pair inside the device; the device's own word that it is sensitive was asked for (KEY-07).

        :param realm: None: the key is given back wrapped, and nothing stays on the token.  Else it stays there as an
            object of that installation, until :meth:`destroy_kept`; whoever does not come to record it has left an
            orphan, which :meth:`kept` shows.
        """
        ...

    def rewrap(self, key: WrappedKey) -> WrappedKey:
        """The same key, wrapped as new ones are.  It is verified that both blobs hold the same key.

        :raises WrappedKeyRefused: the blob does not unwrap.
        :raises OperationNotPermitted: the key stays on the token, or a KEK or the token does not allow it.
        """
        ...

    def examine(self, key: WrappedKey) -> tuple[str, ...]:
        """What a wrapped key may once it is unwrapped, as the device told then; nothing is signed with it.

        It is as a user's key has to be, but for where it comes from: that, a wrapped key does not show.

        :raises WrappedKeyRefused: the blob does not unwrap, or holds another kind of key than the profile's.
        :raises OperationNotPermitted: the key stays on the token, or the device makes something else of it.
        """
        ...

    def wrapping_keys(self) -> tuple[WrappingKey, ...]:
        """The KEKs that are on the token now."""
        ...

    def kept(self, realm: str) -> frozenset[bytes]:
        """What the keys are found by that stay on the token for an installation: ``blob`` of their rows.

        A key is there a moment before its row is.
        """
        ...

    def destroy_kept(self, realm: str, blob: bytes) -> None:
        """Destroy a key that stays on the token for an installation; does nothing where there is none."""
        ...

    def sign(self, key: WrappedKey, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> tuple[bytes, ...]:
        """Unwrap, unless the device has the key at hand, and sign each digest in order.

        :returns: one value a digest: DER ``Ecdsa-Sig-Value`` (RFC 3279 2.2.3), or the RSA signature's octets.
        :raises WrappedKeyRefused: the blob does not unwrap.
        :raises OperationNotPermitted: algorithm, key and digest length do not fit together.
        """
        ...

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-256 with the row key, which never leaves the device (32 octets)."""
        ...

    def verify_mac(self, message: bytes, tag: bytes) -> None:
        """:raises MacInvalid: the tag is not that of the message."""
        ...

    def canary(self) -> None:
        """Make and verify one signature with the device's own canary key, to prove that it works."""
        ...

    def checkpoint_key(self) -> bytes:
        """Public key of the key that signs checkpoints of the audit chain, on P-256; DER SubjectPublicKeyInfo."""
        ...

    def sign_checkpoint(self, text: bytes) -> bytes:
        """Sign a checkpoint of the audit chain, with a key that serves nothing else.

        :param text: what comes after :data:`auditlog.chain.ORIGIN`, which the device itself puts in front, so that no
            text that it is given can be anything else than a checkpoint's.
        :returns: ECDSA with SHA-256, DER ``Ecdsa-Sig-Value`` (RFC 3279 2.2.3).
        :raises OperationNotPermitted: too long.
        """
        ...

    def read_data(self, label: str) -> tuple[bytes, ...]:
        """Values of the data objects of that label; none where there is none, in no order."""
        ...

    def add_data(self, label: str, value: bytes) -> None:
        """Put one more data object of that label there: private, and kept when power is lost.

        What is there stays, so that whoever dies in between leaves the old value, or both.

        :raises OperationNotPermitted: too long.
        """
        ...

    def remove_data(self, label: str, value: bytes) -> None:
        """Remove the data objects of that label which hold exactly this; does nothing where there is none."""
        ...


@contextmanager
def device_errors() -> Iterator[None]:
    """Outside of signing nothing is spent: whatever became of the call, it is safe to say that the device failed.

    :raises ScdevUnavailable: for any error of the device.
    """
    try:
        yield
    except DeviceError as error:
        raise ScdevUnavailable("the device did not do what was asked") from error
