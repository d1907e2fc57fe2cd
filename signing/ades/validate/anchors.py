"""Trust anchors from files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from signing.ades.errors import AnchorsNotReadable

_MAX_OCTETS: Final = 4 * 1024 * 1024


def read_anchors(files: Iterable[Path]) -> tuple[bytes, ...]:
    """DER certificates from PEM files, each of which has at least one.

    :raises AnchorsNotReadable: a file cannot be read, or is of another kind; the text names it.
    """
    found: dict[bytes, None] = {}
    for path in files:
        try:
            with path.open("rb") as source:
                certificates = x509.load_pem_x509_certificates(source.read(_MAX_OCTETS))
        except (OSError, ValueError) as error:
            raise AnchorsNotReadable(f"{path}: no certificates in PEM can be read from it") from error
        found.update(dict.fromkeys(each.public_bytes(Encoding.DER) for each in certificates))
    return tuple(found)
