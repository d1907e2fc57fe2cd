"""Seals for tests of the storage alone: keys that are derived from nothing but the purpose."""

from __future__ import annotations

import hashlib

from idp.storage.seal import Sealer


def make_sealer() -> Sealer:
    """A sealer; all of them have the same keys."""
    return Sealer(lambda purpose: hashlib.sha256(purpose.encode()).digest())
