"""Hash functions for data to be signed, by OID, with their lengths.

CSC API 2.0.0.2 clause 7 (algorithms at least as strong as SHA-256): SHA-1 and MD5 are not here, so they are refused.
"""

from __future__ import annotations

from typing import Final

HASH_LENGTHS: Final[dict[str, int]] = {
    "2.16.840.1.101.3.4.2.1": 32,  # SHA-256
    "2.16.840.1.101.3.4.2.2": 48,  # SHA-384
    "2.16.840.1.101.3.4.2.3": 64,  # SHA-512
    "2.16.840.1.101.3.4.2.8": 32,  # SHA3-256
    "2.16.840.1.101.3.4.2.9": 48,  # SHA3-384
    "2.16.840.1.101.3.4.2.10": 64,  # SHA3-512
}
"""OID to digest length in octets."""

MAX_DIGESTS: Final = 100
"""Digests in one SAD: what fits into a header of 8 KB beside the other claims."""
