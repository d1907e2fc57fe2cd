"""Signed checkpoints of the identity provider's audit chain, with a key in a file of its own."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Engine

from auditlog.chain import ORIGIN
from auditlog.kept import Checkpointer, Made
from auditlog.notes import origin_of
from foundation.clock import Clock
from idp.errors import KeyUnavailable
from idp.storage.audit import TABLES
from idp.storage.engine import reading
from idp.storage.keys import KeyStore

SIDE: Final = "idp"


class Checkpoints:
    """Makes them.  Thread-safe."""

    def __init__(self, engine: Engine, keys: KeyStore, issuer: str, clock: Clock) -> None:
        self._engine = engine
        self._keys = keys
        self._maker = Checkpointer(TABLES, origin_of(issuer, SIDE), self, clock)

    def make(self) -> Made | None:
        """Sign where the chain stands; None: it is empty.

        :raises KeyUnavailable: the key cannot be used.
        :raises AuditError: the chain is not whole.
        """
        return self._maker.make(lambda: reading(self._engine), self._engine.begin)

    def checkpoint_key(self) -> bytes:
        """DER SubjectPublicKeyInfo.

        :raises KeyUnavailable: its file is missing or unusable.
        """
        return self._key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign_checkpoint(self, text: bytes) -> bytes:
        """Sign a checkpoint's text and nothing that does not begin as one.

        :raises KeyUnavailable: the key's file is missing or unusable.
        """
        return self._key().sign(ORIGIN.encode() + text, ec.ECDSA(hashes.SHA256()))

    def _key(self) -> ec.EllipticCurvePrivateKey:
        key = self._keys.checkpoint_key().key.raw_value
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyUnavailable("the checkpoint key is not on P-256")
        return key
