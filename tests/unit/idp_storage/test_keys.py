"""Keys: next, current and retired; files that are missing or another's are named, not worked around."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from idp.errors import KeyUnavailable
from idp.storage.engine import create_tables, open_engine
from idp.storage.keys import KeyStore, create_keys, rotate_token_keys

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'idp.sqlite'}")
    create_tables(engine)
    create_keys(engine, tmp_path / "keys", now=NOW, random=bytes(32))
    yield engine
    engine.dispose()


def published(engine: Engine, directory: Path, now: datetime = NOW) -> set[str]:
    return {key.kid for key in KeyStore(engine, directory / "keys").token_verification_keys(now)}


def test_making_keys_again_makes_none(engine: Engine, tmp_path: Path) -> None:
    before = published(engine, tmp_path)
    assert create_keys(engine, tmp_path / "keys", now=NOW, random=bytes(32)) == ()
    assert published(engine, tmp_path) == before
    assert len(before) == 2


def test_every_key_file_is_its_owners_only(engine: Engine, tmp_path: Path) -> None:
    files = list((tmp_path / "keys").iterdir())
    assert len(files) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o710, 0o701])
def test_a_key_directory_that_others_may_enter_is_neither_filled_nor_used(
    engine: Engine, tmp_path: Path, mode: int
) -> None:
    open_to_others = tmp_path / "open"
    open_to_others.mkdir()
    open_to_others.chmod(mode)
    with pytest.raises(KeyUnavailable, match="0700"):
        create_keys(engine, open_to_others, now=NOW, random=bytes(32))
    assert list(open_to_others.iterdir()) == []
    (tmp_path / "keys").chmod(mode)
    for use in (KeyStore.activation_key, KeyStore.token_key, lambda keys: keys.secret("x")):
        with pytest.raises(KeyUnavailable, match="0700"):
            use(KeyStore(engine, tmp_path / "keys"))
    with pytest.raises(KeyUnavailable, match="0700"):
        rotate_token_keys(engine, tmp_path / "keys", now=NOW)


def test_a_key_directory_of_another_user_is_refused(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = (tmp_path / "keys").stat().st_uid
    monkeypatch.setattr("idp.storage.keys.os.geteuid", lambda: owner + 1)
    if owner == 0:
        os.chown(tmp_path / "keys", 12345, -1)
    with pytest.raises(KeyUnavailable, match="belongs to user"):
        KeyStore(engine, tmp_path / "keys").secret("x")


def test_the_database_of_one_machine_is_its_owners_only_whatever_the_umask(tmp_path: Path) -> None:
    former = os.umask(0o022)
    try:
        engine = open_engine(f"sqlite:///{tmp_path / 'own.sqlite'}")
        create_tables(engine)
        with engine.begin():
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("own.sqlite*")}
        engine.dispose()
    finally:
        os.umask(former)
    assert len(modes) == 3, "the database, its log and the log's index"
    assert set(modes.values()) == {0o600}


def test_JOS_04_a_key_is_published_before_it_signs_and_a_day_after(engine: Engine, tmp_path: Path) -> None:
    keys = KeyStore(engine, tmp_path / "keys")
    first = keys.token_key().kid
    waiting = (published(engine, tmp_path) - {first}).pop()
    assert rotate_token_keys(engine, tmp_path / "keys", now=NOW) == waiting
    # The same store, in a server that goes on running.
    assert keys.token_key().kid == waiting
    assert first in published(engine, tmp_path)
    rotate_token_keys(engine, tmp_path / "keys", now=NOW + timedelta(hours=24))
    assert first in published(engine, tmp_path)
    rotate_token_keys(engine, tmp_path / "keys", now=NOW + timedelta(hours=24, seconds=1))
    assert first not in published(engine, tmp_path)
    assert not (tmp_path / "keys" / f"token-{first}.pem").exists()


def test_JOS_04_a_retired_key_verifies_for_a_day_whether_or_not_anybody_rotates_again(
    engine: Engine, tmp_path: Path
) -> None:
    retired = KeyStore(engine, tmp_path / "keys").token_key().kid
    rotate_token_keys(engine, tmp_path / "keys", now=NOW)
    assert retired in published(engine, tmp_path, NOW + timedelta(hours=24))
    later = published(engine, tmp_path, NOW + timedelta(hours=24, seconds=1))
    assert retired not in later
    # Those in use do not age.
    assert published(engine, tmp_path, NOW + timedelta(days=365)) == later
    assert len(later) == 2


def test_the_activation_key_is_never_published(engine: Engine, tmp_path: Path) -> None:
    assert KeyStore(engine, tmp_path / "keys").activation_key().kid not in published(engine, tmp_path)


def test_derived_secrets_differ_by_purpose_and_are_the_same_in_another_process(engine: Engine, tmp_path: Path) -> None:
    one, other = (KeyStore(engine, tmp_path / "keys") for _ in range(2))
    assert one.secret("one-time codes") == other.secret("one-time codes")
    assert one.secret("one-time codes") != one.secret("form tokens")
    assert len(one.secret("x")) == 32


@pytest.mark.parametrize("content", [b"", b"zz", b"00" * 31])
def test_a_master_secret_that_is_damaged_is_refused(engine: Engine, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys" / "master.key").write_bytes(content)
    with pytest.raises(KeyUnavailable):
        KeyStore(engine, tmp_path / "keys").secret("x")


def test_a_key_file_that_others_can_read_is_refused(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "keys" / "activation.pem").chmod(0o640)
    with pytest.raises(KeyUnavailable):
        KeyStore(engine, tmp_path / "keys").activation_key()


def test_a_file_with_another_key_than_its_name_says_is_refused(engine: Engine, tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    current = KeyStore(engine, directory).token_key().kid
    (directory / f"token-{current}.pem").write_bytes((directory / "activation.pem").read_bytes())
    with pytest.raises(KeyUnavailable):
        KeyStore(engine, directory).token_key()


def test_before_init_there_are_no_keys(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'other.sqlite'}")
    create_tables(engine)
    with pytest.raises(KeyUnavailable):
        KeyStore(engine, tmp_path / "none").token_key()
    with pytest.raises(KeyUnavailable):
        rotate_token_keys(engine, tmp_path / "none", now=NOW)
    engine.dispose()
