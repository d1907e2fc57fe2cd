"""The state directory and its files belong to one user."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from devservices.errors import StateUnusable
from devservices.profiles import Issuer, ca_name, root_certificate
from devservices.state import (
    open_directory,
    read_certificate,
    read_key,
    secret_file,
    write_certificate,
    write_key,
    write_whole,
)
from foundation.errors import SecretFileError


def test_a_new_directory_is_private_and_opens_again(tmp_path: Path) -> None:
    open_directory(tmp_path / "a" / "b")
    open_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_file_in_the_directorys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable, match="cannot be used"):
        open_directory(tmp_path / "file")


def test_somebody_elses_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_directory(tmp_path / "state")
    owner = (tmp_path / "state").stat().st_uid
    monkeypatch.setattr("devservices.state.os.geteuid", lambda: owner + 1)
    with pytest.raises(StateUnusable, match="belongs to user"):
        open_directory(tmp_path / "state")


def test_keys_and_certificates_come_back_as_they_were_written(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    write_key(tmp_path / "a.key", key)
    certificate = root_certificate(Issuer("root", ca_name("a"), key), 1, datetime(2026, 3, 1, tzinfo=UTC))
    write_certificate(tmp_path / "a.crt", certificate)
    assert read_key(tmp_path / "a.key").private_numbers() == key.private_numbers()
    assert read_certificate(tmp_path / "a.crt") == certificate
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_no_half_written_file_stays_behind_a_replacement(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old, longer content", 0o600)
    write_whole(tmp_path / "file", b"new", 0o600)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_no_key_or_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    write_whole(tmp_path / "junk.key", b"junk", 0o600)
    other = ed25519.Ed25519PrivateKey.generate()
    write_whole(
        tmp_path / "other.key", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600
    )
    with pytest.raises(StateUnusable, match="not a private key"):
        read_key(tmp_path / "junk.key")
    with pytest.raises(StateUnusable, match="not an elliptic-curve key"):
        read_key(tmp_path / "other.key")


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.crt").write_bytes(b"junk")
    for name in ("junk.crt", "missing.crt"):
        with pytest.raises(StateUnusable, match="cannot be read as a certificate"):
            read_certificate(tmp_path / name)


def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    assert secret_file(tmp_path / "token", b"first") == b"first"
    assert secret_file(tmp_path / "token", b"second") == b"first"
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(SecretFileError):
        secret_file(tmp_path / "token", b"third")
