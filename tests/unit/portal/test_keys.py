"""The sealing key exchanged: nothing is lost by it, the former one seals nothing more, and no key goes too soon."""

from __future__ import annotations

import hashlib
import secrets
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, update

from foundation.errors import SecretFileError
from portal.errors import KeyFileUnusable, NoSuchDocument, QuotaReached, SealBroken
from portal.settings import KeepingSettings, LimitSettings
from portal.store import documents, keys, sessions
from portal.store.documents import Document, Outcome
from portal.store.seal import Sealer
from portal.store.tables import contents, metadata

AT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
NOW = 1_000_000
PDF = b"%PDF-1.7 a contract %%EOF"
FEW = LimitSettings(documents=2)


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = create_engine("sqlite://")
    metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    keys.make(tmp_path / "portal.key")
    return tmp_path / "portal.key"


def seal_of(file: Path) -> Sealer:
    return keys.load(file, secrets.token_bytes)


def bring(engine: Engine, seal: Sealer, document_id: str, subject: str = "alice") -> Document:
    owners = sessions.owner_marks(seal, subject)
    digest = hashlib.sha256(PDF).hexdigest()
    made = Document(document_id, owners[0], "a.pdf", len(PDF), digest, brought=NOW, until=NOW + 100)
    with engine.begin() as connection:
        documents.add(connection, seal, FEW, made, PDF, owners=owners)
    return made


def ids(engine: Engine, seal: Sealer, subject: str = "alice") -> list[str]:
    with engine.connect() as connection:
        found = documents.everyone_of(connection, seal, sessions.owner_marks(seal, subject), NOW)
        assert all(documents.content_of(connection, seal, each, "original") == PDF for each in found)
    return [each.id for each in found]


def test_what_was_sealed_before_is_its_persons_as_before_and_counts_for_them(
    engine: Engine, file: Path
) -> None:
    bring(engine, seal_of(file), "1")
    before = file.read_bytes()
    former = keys.rotate(file, AT)
    assert (former.name, former.read_bytes()) == ("portal.key.former-20261129T120000Z", before)
    assert file.read_bytes() != before
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(former.stat().st_mode) == 0o600
    after = seal_of(file)
    assert ids(engine, after) == ["1"]
    assert ids(engine, after, "mallory") == []
    bring(engine, after, "2")
    assert sorted(ids(engine, after)) == ["1", "2"]
    with pytest.raises(QuotaReached):
        bring(engine, after, "3")
    with engine.begin() as connection:
        found = documents.find(connection, after, sessions.owner_marks(after, "alice"), "1", NOW)
        outcome = Outcome("Ades-B-T", "Alice", 3)
        documents.store_signed(connection, after, found, b"new", outcome=outcome, now=NOW, until=NOW + 100)
        assert documents.content_of(connection, after, found, "signed") == b"new"
        with pytest.raises(NoSuchDocument):
            documents.remove(connection, sessions.owner_marks(after, "mallory"), "1")
        documents.remove(connection, sessions.owner_marks(after, "alice"), "1")
    assert ids(engine, after) == ["2"]


def test_nothing_is_sealed_with_a_former_key_and_nobody_is_signed_in_by_it(engine: Engine, file: Path) -> None:
    before = seal_of(file)
    with engine.begin() as connection:
        sessions.begin(
            connection, before, "token", subject="alice", service_token="t", now=NOW, keep=KeepingSettings()
        )
    keys.rotate(file, AT)
    after = seal_of(file)
    with pytest.raises(SealBroken):
        before.open(after.seal(b"x", "a"), "a")
    assert after.open(before.seal(b"x", "a"), "a") == b"x"
    with pytest.raises(SealBroken):
        after.open(before.seal(b"x", "a"), "b")
    with engine.connect() as connection:
        assert sessions.find(connection, after, "token", NOW, KeepingSettings()) is None
    assert after.mark("form token", "token") != before.mark("form token", "token")


def test_a_former_key_goes_when_no_document_needs_it_and_not_before(engine: Engine, file: Path) -> None:
    assert keys.retire(file, engine) == keys.Retired((), ())
    bring(engine, seal_of(file), "1")
    first = keys.rotate(file, AT)
    second = keys.rotate(file, AT + timedelta(seconds=1))
    assert keys.former_files(file) == (second, first)
    assert keys.retire(file, engine) == keys.Retired((second,), (first,))
    assert ids(engine, seal_of(file)) == ["1"]
    # Its signed form is sealed with today's key, and the original still with the former one.
    after = seal_of(file)
    with engine.begin() as connection:
        found = documents.find(connection, after, sessions.owner_marks(after, "alice"), "1", NOW)
        outcome = Outcome("Ades-B-T", "Alice", 3)
        documents.store_signed(connection, after, found, b"new", outcome=outcome, now=NOW, until=NOW + 500)
    assert keys.retire(file, engine).kept == (first,)
    with engine.begin() as connection:
        documents.purge(connection, NOW + 500)
    assert keys.retire(file, engine).gone == (first,)
    assert keys.former_files(file) == ()


def test_where_something_opens_with_no_key_none_is_deleted(engine: Engine, file: Path) -> None:
    bring(engine, seal_of(file), "1")
    former = keys.rotate(file, AT)
    with engine.begin() as connection:
        connection.execute(update(contents).values(sealed=b"x" * 40))
    with pytest.raises(SealBroken):
        keys.retire(file, engine)
    assert keys.former_files(file) == (former,)


def test_what_cannot_be_deleted_is_said_in_words(
    engine: Engine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.rotate(file, AT)

    def refused(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(SecretFileError, match="Permission denied"):
        keys.retire(file, engine)


def test_a_key_is_exchanged_whole_or_not_at_all(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    keys.rotate(file, AT)
    now = file.read_bytes()
    with pytest.raises(KeyFileUnusable):
        keys.rotate(file, AT)
    assert file.read_bytes() == now
    # What a crash left is no key, and in nobody's way.
    (tmp_path / "portal.key.new").write_bytes(b"half")
    keys.rotate(file, AT + timedelta(seconds=1))
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "portal.key", "portal.key.former-20261129T120000Z", "portal.key.former-20261129T120001Z",
    ]  # fmt: skip
    assert keys.former_files(file)[1].read_bytes() == before
    with pytest.raises(SecretFileError):
        keys.rotate(tmp_path / "nothing", AT)
