"""portal.toml: everything that cannot be is said at once, and production takes no stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foundation.errors import SettingsError
from foundation.settings import from_table
from portal.settings import PortalSettings

GOOD: dict[str, Any] = {
    "public_url": "https://documents.example.org",
    "issuer": "https://id.example.org",
    "csc_base": "https://sign.example.org/csc/v2",
    "client_id": "portal",
    "client_key_file": "client.pem",
    "key_file": "portal.key",
    "database_url_file": "database-url",
}


def read(**changes: Any) -> PortalSettings:
    return from_table(PortalSettings, {**GOOD, **changes}, base=Path("/etc/privyseal"))


def test_without_a_mode_it_is_production_with_cookies_for_https_alone() -> None:
    settings = read()
    assert settings.production
    assert settings.secure_cookies
    assert settings.redirect_uri == "https://documents.example.org/callback"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"public_url": "http://documents.example.org"}, "public_url must be https"),
        ({"issuer": "http://id.example.org"}, "issuer must be https"),
        ({"csc_base": "http://sign.example.org/csc/v2"}, "csc_base must be https"),
        ({"public_url": "https://example.org/documents"}, "public_url has no path"),
        ({"issuer": "https://me@id.example.org"}, "issuer is an http or https address"),
        ({"csc_base": "https://sign.example.org/csc/v2/"}, "csc_base is an http or https address"),
        ({"database_url": "postgresql://db/portal"}, "exactly one of database_url and database_url_file"),
        ({"database_url": "sqlite:///portal.sqlite"}, "SQLite serves one process"),
        ({"languages": ["it"]}, "languages are some of"),
        ({"limits": {"file_octets": 10}}, "file_octets is from 1 KiB"),
        ({"limits": {"request_octets": 1}}, "request_octets is at least file_octets"),
        ({"limits": {"documents_at_once": 101}}, "documents_at_once is 1 to 100"),
        ({"keeping": {"document_seconds": 1}}, "document_seconds is from a minute"),
        ({"keeping": {"idle_seconds": 1}}, "idle_seconds is at least 60"),
        ({"keeping": {"request_seconds": 1}}, "request_seconds is 60"),
        ({"keeping": {"purge_seconds": 0}}, "purge_seconds is from a second"),
        ({"service_name": " "}, "service_name has 1"),
        ({"timeout_seconds": 0}, "timeout_seconds is 1"),
        ({"validate_url": "http://sign.example.org/validate"}, "validate_url must be https"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        read(**changes)
