"""Settings: what is refused, all at once; above all in production."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from foundation.errors import SettingsError
from foundation.files import write_secret
from foundation.jose import generate_signing_key
from foundation.settings import from_table
from signing.link.doors import SocketSettings
from signing.sam.credential import LONGEST_SAD_SECONDS
from signing.sam.errors import StateRefused
from signing.sam_app.parts import build, open_store
from signing.sam_app.process import ADMIN_MODE, PUBLIC_MODE, SamProcess
from signing.sam_settings import ProfileSettings, SamSettings
from signing.storage.engine import open_engine
from tests.fakes.device import FakeDevice
from tests.fakes.sam import ISSUER, NOW, Authority

DEVELOPMENT: dict[str, Any] = {
    "mode": "development",
    "realm": "test",
    "sam_id": "urn:privyseal:sam:test",
    "socket": "sam.sock",
    "admin_socket": "admin.sock",
    "database_url": "sqlite:///x.sqlite",
    "certificate_anchors": ["root.pem"],
    "issuers": {"idp": {"issuer": ISSUER, "keys": ["idp.pem"]}},
    "device": {"module": "libsofthsm2.so", "token_label": "test", "pin_file": "pins/user-pin"},
    "profiles": {"standard": {}},
}
OTHER_USER = os.geteuid() + 1000
PRODUCTION: dict[str, Any] = {
    **{name: value for name, value in DEVELOPMENT.items() if name != "database_url"},
    "mode": "production",
    "database_url_file": "url",
    "web_uid": OTHER_USER,
    "issuers": {"idp": {"issuer": "https://idp.example.org", "keys": ["idp.pem"]}},
    "device": {**DEVELOPMENT["device"], "module": "libvendor.so"},
}


def read(table: dict[str, Any], base: Path = Path("/etc/privyseal")) -> SamSettings:
    return from_table(SamSettings, table, base=base, prefix="SAM")


def test_development_and_production_settings_are_read() -> None:
    assert read(DEVELOPMENT).device.so_pin() == Path("/etc/privyseal/pins/so-pin")
    assert read({**DEVELOPMENT, "device": {**DEVELOPMENT["device"], "so_pin_file": "so"}}).device.so_pin().name == "so"
    assert read(PRODUCTION).reservation_deadline_seconds == 60


TLS = {"listen": "[2001:db8::1]:7443", "certificate": "link.pem", "key": "link.key", "peers": ["web.pem"]}


def test_production_with_a_web_tier_on_another_host_needs_no_user_for_it() -> None:
    table = {name: value for name, value in PRODUCTION.items() if name != "web_uid"}
    assert read({**table, "tls": TLS}).tls is not None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"device": DEVELOPMENT["device"]}, "SoftHSM"),
        ({"database_url": "sqlite:///x", "database_url_file": None}, "PostgreSQL"),
        ({"issuers": DEVELOPMENT["issuers"]}, "https"),
        ({"web_uid": None}, "web_uid"),
        ({"web_uid": 0}, "root"),
    ],
)
def test_SUP_05_production_refuses_development_stand_ins(change: dict[str, Any], fault: str) -> None:
    table = {name: value for name, value in {**PRODUCTION, **change}.items() if value is not None}
    with pytest.raises(SettingsError, match=fault):
        read(table)


def test_production_refuses_a_web_tier_with_the_modules_own_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert read({**PRODUCTION, "web_uid": 4322}).web_uid == 4322
    with pytest.raises(SettingsError, match="own user"):
        read({**PRODUCTION, "web_uid": 4321})


def test_SUP_05_production_refuses_softhsm_behind_a_link_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "libsofthsm2.so").touch()
    (tmp_path / "libvendor.so").symlink_to("libsofthsm2.so")
    with pytest.raises(SettingsError, match="SoftHSM"):
        read(PRODUCTION, tmp_path)


@pytest.mark.parametrize("url", ["sqlite:///x.sqlite", "sqlite+pysqlite:///x.sqlite"])
def test_SUP_05_production_refuses_sqlite_in_the_urls_file_too(tmp_path: Path, url: str) -> None:
    write_secret(tmp_path / "url", url.encode())
    with pytest.raises(StateRefused, match="PostgreSQL"):
        open_store(read(PRODUCTION, tmp_path))
    write_secret(tmp_path / "good", b"postgresql+psycopg://127.0.0.1/x")
    open_store(read({**PRODUCTION, "database_url_file": "good"}, tmp_path)).engine.dispose()


def test_AUD_11_the_text_of_a_database_error_does_not_quote_what_was_written(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'x.sqlite'}", "postgresql+psycopg://127.0.0.1/x"):
        engine = open_engine(url)
        assert engine.hide_parameters
        engine.dispose()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"database_url": "postgresql+psycopg://u:p@h/d"}, "SQLite only"),
        ({"database_url_file": "url"}, "one of"),
        ({"realm": ""}, "realm"),
        ({"issuers": {}}, "issuers"),
        ({"issuers": {"idp": {"issuer": ISSUER, "keys": []}}}, "without keys"),
        ({"issuers": {name: {"issuer": ISSUER, "keys": [f"{name}.pem"]} for name in "ab"}}, "two tables"),
        ({"certificate_anchors": []}, "certificate_anchors"),
        ({"reservation_deadline_seconds": 20}, "reservation_deadline_seconds"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_order_seconds": 0}, "max_order_seconds"),
        ({"device": {**DEVELOPMENT["device"], "workers": 0}}, "workers"),
        ({"device": {**DEVELOPMENT["device"], "deadline_seconds": 0.0}}, "deadline_seconds"),
        ({"profiles": {"p": {"key": "dsa"}}}, "key"),
        ({"profiles": {"p": {"multisign": 101}}}, "multisign"),
        ({"profiles": {"p": {"min_categories": 4}}}, "min_categories"),
        ({"profiles": {"p": {"min_categories": 1}}}, "SCAL2"),
        ({"profiles": {"p": {"max_sad_seconds": 0}}}, "max_sad_seconds"),
        ({"profiles": {"p": {"loa": "none"}}}, "loa"),
        ({"tls": {**TLS, "listen": "sam.example.org:7443"}}, "tls.listen"),
        ({"tls": {**TLS, "listen": "192.0.2.1"}}, "tls.listen"),
        ({"tls": {**TLS, "peers": []}}, "tls.peers"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_setting_that_cannot_be_is_named(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        read({**DEVELOPMENT, **change})


def test_a_database_url_is_no_part_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        read({**DEVELOPMENT, "database_url": "postgresql+psycopg://user:geheim@host/x"})
    assert "geheim" not in str(refused.value)


# Building


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root.pem").write_bytes(Authority().certificate.public_bytes(Encoding.PEM))
    key = generate_signing_key().verification_key()
    (tmp_path / "idp.pem").write_bytes(key.key.as_pem(private=False))
    return tmp_path


def settings_in(folder: Path, **changes: Any) -> SamSettings:
    return read({**DEVELOPMENT, "database_url": f"sqlite:///{folder / 'x.sqlite'}", **changes}, folder)


def test_the_parts_are_put_together(folder: Path) -> None:
    settings = settings_in(folder, web_uid=12345, max_order_seconds=60)
    # Literally: who may open a socket is not for a constant to change unseen.
    assert (PUBLIC_MODE, ADMIN_MODE) == (0o660, 0o600)
    open_store(settings).initialise("test", NOW)
    sam = build(settings, FakeDevice(), device_available=lambda: True)
    assert sam.policy.issuers[ISSUER]
    assert sam.policy.max_order_seconds == 60
    assert sam.policy.profiles["standard"].floor.min_categories == 2
    process = SamProcess(sam)
    public, admin = process._public[0]._settings, process._admin._settings
    assert len(process._public) == 1
    assert isinstance(public, SocketSettings)
    assert isinstance(admin, SocketSettings)
    assert (public.uids, public.mode) == (frozenset({os.geteuid(), 12345}), PUBLIC_MODE)
    assert (admin.uids, admin.mode) == (frozenset({os.geteuid(), 0}), ADMIN_MODE)
    sam.store.engine.dispose()


def test_keys_may_be_jwks(folder: Path) -> None:
    key = generate_signing_key().verification_key()
    (folder / "idp.pem").write_text(json.dumps(key.as_jwk()))
    settings = settings_in(folder)
    open_store(settings).initialise("test", NOW)
    assert build(settings, FakeDevice(), device_available=lambda: True).policy.issuers[ISSUER][0].kid == key.kid


def test_every_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "idp.pem").write_text("no key")
    (folder / "root.pem").unlink()
    settings = settings_in(folder)
    open_store(settings).initialise("test", NOW)
    with pytest.raises(SettingsError) as refused:
        build(settings, FakeDevice(), device_available=lambda: True)
    assert len(refused.value.faults) == 2


def test_another_realms_database_is_refused(folder: Path) -> None:
    open_store(settings_in(folder)).initialise("other", NOW)
    with pytest.raises(StateRefused):
        build(settings_in(folder), FakeDevice(), device_available=lambda: True)


def test_the_database_url_may_come_from_an_owner_only_file(folder: Path) -> None:
    write_secret(folder / "url", f"sqlite:///{folder / 'y.sqlite'}".encode())
    table = {name: value for name, value in DEVELOPMENT.items() if name != "database_url"}
    settings = read({**table, "database_url_file": "url"}, folder)
    open_store(settings).initialise("test", NOW)
    assert (folder / "y.sqlite").exists()


@pytest.mark.parametrize("uri", ["sign.example.org", "https://sign.example.org/?a", "https://sign.example.org/#a"])
def test_uris_of_proofs_are_uris_without_query(folder: Path, uri: str) -> None:
    assert settings_in(folder, dpop_htu=["http://localhost:8402/csc/v2/signatures/signHash"]).dpop_htu
    with pytest.raises(SettingsError):
        settings_in(folder, dpop_htu=[uri])


def test_SAD_06_no_credential_can_allow_a_sad_a_longer_life_than_revocations_are_kept_in_mind_for() -> None:
    longest = ProfileSettings(max_sad_seconds=LONGEST_SAD_SECONDS)
    assert list(longest.faults()) == []
    assert list(replace(longest, max_sad_seconds=LONGEST_SAD_SECONDS + 1).faults()) != []
