"""Passwords that nobody may choose because guessers try them first (NIST SP 800-63B 5.1.1.2, r4 3.1.1.2).

Shipped is a list of the twenty thousand most frequent ones of six characters or more, by the frequency lists of zxcvbn
(MIT licence, Dropbox and contributors), which come from passwords that were made public.
"""

from __future__ import annotations

import gzip
import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

from foundation.errors import SettingsError

_SHIPPED: Final = Path(__file__).parents[1] / "data" / "common-passwords.txt.gz"
_MAX_OCTETS: Final = 64 * 1024 * 1024


def folded(text: str) -> str:
    """As passwords are compared: NFC, and without regard to case."""
    return unicodedata.normalize("NFC", text).casefold()


@cache
def shipped() -> frozenset[str]:
    """The list that comes with this program, folded; read once."""
    return frozenset(gzip.decompress(_SHIPPED.read_bytes()).decode().split("\n"))


@cache
def read(path: Path) -> frozenset[str]:
    """An operator's list, folded; read once.

    :raises SettingsError: it cannot be read, is not UTF-8, or has more than 64 MiB.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MAX_OCTETS:
            raise SettingsError((f"password.blocklist_file: {path}: more than 64 MiB",))
        lines = data.decode("utf-8").splitlines()
    except OSError as error:
        raise SettingsError((f"password.blocklist_file: {path}: cannot be read ({error.strerror})",)) from error
    except UnicodeDecodeError as error:
        raise SettingsError((f"password.blocklist_file: {path}: not UTF-8",)) from error
    return frozenset(folded(line.strip()) for line in lines if line.strip())
