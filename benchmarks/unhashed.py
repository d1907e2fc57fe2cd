"""An identity provider without argon2id, to learn what a login costs apart from it.

Nothing but the benchmark starts it: no setting of the product leads here, and it is not in what is shipped.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from foundation import log
from foundation.settings import load, process_environment
from idp.app import create_app
from idp.authn.password import Passwords
from idp.serving import served
from idp.settings import IdpSettings, PasswordSettings

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

PASSWORD_FILE = "PRIVYSEAL_BENCHMARK_PASSWORD"
"""The environment variable that names a file with the one password that everybody has."""


class Unhashed(Passwords):
    """Compares with one password that everybody has."""

    def __init__(self, settings: PasswordSettings, password: str) -> None:
        super().__init__(settings)
        self._only = hashlib.sha256(password.encode()).digest()

    def verify(self, encoded: str | None, password: str) -> bool:
        """Whether this is it, in a microsecond."""
        return encoded is not None and hmac.compare_digest(hashlib.sha256(password.encode()).digest(), self._only)

    def renewed(self, encoded: str, password: str) -> str | None:
        """Nothing: what is stored is argon2id's, and stays."""
        return None


def idp() -> WSGIApplication:
    """What ``wsgi:idp`` is, but for the hash."""
    environment = process_environment()
    settings = load(IdpSettings, Path(environment["PRIVYSEAL_IDP_CONFIG"]), prefix="IDP")
    if settings.production:
        raise RuntimeError("passwords without argon2id are for the benchmark only")
    password = Path(environment[PASSWORD_FILE]).read_text(encoding="utf-8")
    log.configure("idp")
    return served(create_app(settings, passwords=Unhashed(settings.password, password)))
