"""Secrets on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from foundation.errors import SecretFileError
from foundation.files import MAX_SECRET_BYTES, read_secret, write_secret


def test_a_written_secret_is_owner_only_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    write_secret(path, b"s3cret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_secret(path) == b"s3cret"


def test_one_newline_at_the_end_is_the_editors(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    write_secret(path, b"s3cret\n\n")
    assert read_secret(path) == b"s3cret\n"


def test_a_secret_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    write_secret(path, b"first")
    with pytest.raises(SecretFileError):
        write_secret(path, b"second")
    assert read_secret(path) == b"first"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "pin"
    write_secret(path, b"s3cret")
    path.chmod(mode)
    with pytest.raises(SecretFileError) as caught:
        read_secret(path)
    assert "s3cret" not in str(caught.value)


def test_links_folders_empty_and_missing_files_are_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "pin", b"s3cret")
    (tmp_path / "link").symlink_to(tmp_path / "pin")
    (tmp_path / "folder").mkdir(mode=0o700)
    write_secret(tmp_path / "empty", b"\n")
    write_secret(tmp_path / "large", b"x" * (MAX_SECRET_BYTES + 1))
    for name in ("link", "folder", "empty", "large", "missing"):
        with pytest.raises(SecretFileError):
            read_secret(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")
def test_a_secret_of_another_user_is_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "pin", b"s3cret")
    os.chown(tmp_path / "pin", 65534, 65534)
    with pytest.raises(SecretFileError):
        read_secret(tmp_path / "pin")
