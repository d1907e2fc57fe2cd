"""Which signature algorithms a kind of key serves, by OID, and what the module is able to do at all."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from asn1crypto import algos

from contract.digests import HASH_LENGTHS
from foundation.clock import Clock, epoch
from signing.link.client import SamClient
from signing.link.errors import LinkError
from signing.link.messages import OfferedKey

ECDSA_WITH_SHA: Final = {256: "1.2.840.10045.4.3.2", 384: "1.2.840.10045.4.3.3", 512: "1.2.840.10045.4.3.4"}
"""By the length of the digest in bits (RFC 5758 3.2)."""
RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
RSA_WITH_SHA: Final = ("1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13")
_BY_LENGTH: Final[Mapping[int, str]] = {
    32: "2.16.840.1.101.3.4.2.1",
    48: "2.16.840.1.101.3.4.2.2",
    64: "2.16.840.1.101.3.4.2.3",
}
_REMEMBERED_SECONDS: Final = 60


class _Key(Protocol):
    @property
    def key_bits(self) -> int:
        """Curve size or modulus length."""
        ...

    @property
    def schemes(self) -> tuple[str, ...]:
        """What it may be used for."""
        ...


def sign_algorithms(key: _Key) -> list[str]:
    """OIDs with which a key may be asked to sign: the specific ones first, and of those its own size's."""
    found: list[str] = []
    if "ecdsa" in key.schemes:
        found.extend(sorted(ECDSA_WITH_SHA.values(), key=lambda oid: (oid != ECDSA_WITH_SHA.get(key.key_bits), oid)))
    if "rsa-pss" in key.schemes:
        found.append(RSASSA_PSS)
    if "rsa-pkcs1-v1_5" in key.schemes:
        found.extend((*RSA_WITH_SHA, RSA_ENCRYPTION))
    return found


def all_algorithms(keys: Iterable[_Key]) -> list[str]:
    """What any of the keys serves, in the order of the keys, each once."""
    return list(dict.fromkeys(oid for key in keys for oid in sign_algorithms(key)))


def algorithm_parameters(algorithms: Iterable[str]) -> list[str]:
    """The parameters that go with an algorithm that has some: DER in base64 (RFC 4055 3.1)."""
    if RSASSA_PSS not in algorithms:
        return []
    return [base64.b64encode(_pss(name)).decode() for name in ("sha256", "sha384", "sha512")]


def _pss(name: str) -> bytes:
    salt = {"sha256": 32, "sha384": 48, "sha512": 64}[name]
    mask = {"algorithm": "mgf1", "parameters": {"algorithm": name}}
    parameters = {"hash_algorithm": {"algorithm": name}, "mask_gen_algorithm": mask, "salt_length": salt}
    return bytes(algos.RSASSAPSSParams(parameters).dump())


def hash_algorithm_of(digests: Iterable[bytes]) -> str | None:
    """The SHA-2 function whose digests have this length; None where they have none's, or not all the same.

    Version 1 has no way to name one when it authorises (CSC API 1.0.4.0 11.6).
    """
    lengths = {len(digest) for digest in digests}
    return _BY_LENGTH.get(lengths.pop()) if len(lengths) == 1 else None


def fits(digests: Iterable[bytes], hash_algorithm: str) -> bool:
    """Whether digests have the length of a hash function's."""
    return all(len(digest) == HASH_LENGTHS.get(hash_algorithm) for digest in digests)


class OfferedKeys:
    """The kinds of key that the module has, as it last said.  Thread-safe."""

    def __init__(self, sam: SamClient, clock: Clock) -> None:
        self._sam, self._clock = sam, clock
        self._lock = threading.Lock()
        self._known: tuple[OfferedKey, ...] | None = None
        self._asked_at = 0

    def get(self) -> tuple[OfferedKey, ...]:
        """At most a minute old, or older where the module does not answer.

        :raises LinkError: it does not, and never has.
        """
        now = epoch(self._clock.now())
        with self._lock:
            if self._known is not None and now - self._asked_at < _REMEMBERED_SECONDS:
                return self._known
        try:
            found = self._sam.offered_keys()
        except LinkError:
            if self._known is None:
                raise
            found = self._known
        with self._lock:
            self._known, self._asked_at = found, now
        return found
