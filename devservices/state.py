"""A service's state directory: private to one user, initialised by one process at a time, files written whole."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from devservices.errors import StateUnusable
from foundation.files import read_secret, write_secret


def open_directory(path: Path) -> None:
    """Make the directory (mode 0700) or check that the one there is ours and closed to others.

    :raises StateUnusable: it cannot be made, is no directory, is another user's, or is open to group or others.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise StateUnusable(f"{path}: cannot be used as a state directory ({error.strerror})") from error
    if status.st_uid != os.geteuid():
        raise StateUnusable(f"{path}: belongs to user {status.st_uid}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise StateUnusable(f"{path}: mode {stat.S_IMODE(status.st_mode):04o} lets others in; it must be 0700")


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, so that two services that start together do not both initialise it."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that a reader sees the old or the new content, never half of it."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Store a private key as unencrypted PKCS#8 PEM in an owner-only file."""
    write_whole(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Load a private key from its owner-only file.

    :raises foundation.errors.SecretFileError: the file is missing or open to others.
    :raises StateUnusable: it is not an elliptic-curve key.
    """
    try:
        key = load_pem_private_key(read_secret(path), None)
    except (ValueError, TypeError) as error:
        raise StateUnusable(f"{path}: not a private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StateUnusable(f"{path}: not an elliptic-curve key")
    return key


def write_certificate(path: Path, *certificates: x509.Certificate) -> None:
    """Store certificates as PEM, readable by everybody who reaches the directory."""
    write_whole(path, b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates), 0o644)


def read_certificate(path: Path) -> x509.Certificate:
    """Load the first certificate of a PEM file.

    :raises StateUnusable: missing or unreadable.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError, IndexError) as error:
        raise StateUnusable(f"{path}: cannot be read as a certificate") from error


def secret_file(path: Path, fresh: bytes) -> bytes:
    """The secret in an owner-only file; the file is made with ``fresh`` when there is none.

    :raises foundation.errors.SecretFileError: the file is open to others, a link, or cannot be made.
    """
    if not path.exists():
        write_secret(path, fresh + b"\n")
    return read_secret(path)
