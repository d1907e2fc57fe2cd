"""An operator's private key in a file: PKCS#8 PEM, owner-only, encrypted where there is a passphrase."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from contract.errors import OperationInvalid
from contract.operation import operator_key
from foundation.errors import JoseError
from foundation.files import read_secret, write_secret
from foundation.jose import Algorithm, SigningKey, export_signing_key, generate_signing_key, import_signing_key
from operators.errors import KeyFileUnusable


def make_key(path: Path, algorithm: Algorithm, passphrase: bytes | None) -> SigningKey:
    """A new key, in a new file.

    :raises SecretFileError: the file exists or cannot be made.
    """
    key = generate_signing_key(algorithm)
    private = load_pem_private_key(export_signing_key(key), None)
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    write_secret(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return key


def load_key(path: Path, passphrase: bytes | None) -> SigningKey:
    """The key of a file.

    :raises SecretFileError: the file is missing, or others can read it.
    :raises KeyFileUnusable: it is no operator's key, or the passphrase is wrong, missing or not needed.
    """
    data = read_secret(path)
    try:
        private = load_pem_private_key(data, passphrase)
        plain = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key = import_signing_key(plain)
        operator_key(key.verification_key().as_jwk())
    except (ValueError, TypeError, JoseError, OperationInvalid):
        # Not chained: what the library says may come from the key.
        raise KeyFileUnusable(f"{path}: no operator's key, or the passphrase does not open it") from None
    return key
