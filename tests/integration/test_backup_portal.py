"""A backup of the portal: people's documents come back to them and nobody else, and nobody is signed in."""

from __future__ import annotations

import io
import secrets
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from archive import envelope, side
from archive.errors import ArchiveForeign, NotWritten
from archive.records import Summary
from foundation.clock import FixedClock, SystemClock, epoch
from portal import backup as portal_backup
from portal.backup import KEPT, TRANSIENT, backup_side
from portal.cli import main as portal
from portal.errors import SealBroken
from portal.settings import KeepingSettings, LimitSettings, PortalSettings
from portal.store import documents, keys, sessions
from portal.store.database import create_tables, for_snapshot, open_engine
from portal.store.documents import Document, Outcome
from portal.store.tables import metadata
from tests.integration.portal_world import PDF

SECRET, PUBLIC = envelope.new_identity()
LARGE = secrets.token_bytes(13 << 20)
"""In base64 longer than a line of any other side's backup may be."""
CLOCK = FixedClock(SystemClock().now())
KEEP = KeepingSettings()
LIMITS = LimitSettings()


def settings(directory: Path, database_url: str) -> PortalSettings:
    directory.mkdir(exist_ok=True)
    return PortalSettings(
        public_url="https://documents.example.org",
        issuer="https://idp.example.org",
        csc_base="https://sign.example.org/csc/v2",
        client_id="portal",
        client_key_file=directory / "client.pem",
        key_file=directory / "portal.key",
        mode="development",
        database_url=database_url,
    )


@pytest.fixture(params=["from", "into"])
def both(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str
) -> tuple[PortalSettings, PortalSettings]:
    """A portal with documents, and an empty one; the one or the other on each database."""
    urls = [database_url, f"sqlite:///{tmp_path / 'other.sqlite'}"]
    if request.param == "into":
        urls.reverse()
    there = settings(tmp_path / "there", urls[0])
    keys.make(there.key_file)
    engine = open_engine(there)
    create_tables(engine)
    bring(engine, there, "a1", "alice", PDF)
    bring(engine, there, "b1", "bob", LARGE)
    bring(engine, there, "b2", "bob", PDF, seconds=10)
    seal = keys.load(there.key_file, secrets.token_bytes)
    with engine.begin() as connection:
        now = epoch(CLOCK.now())
        sessions.begin(connection, seal, "token", subject="alice", service_token="t", now=now, keep=KEEP)
        sessions.remember(connection, seal, "token", "state", {}, until=now + 600)
    engine.dispose()
    here = settings(tmp_path / "here", urls[1])
    here.key_file.write_bytes(there.key_file.read_bytes())
    here.key_file.chmod(0o600)
    return there, here


def bring(
    engine: Engine, its: PortalSettings, document_id: str, subject: str, content: bytes, seconds: int = 3600
) -> None:
    seal, now = keys.load(its.key_file, secrets.token_bytes), epoch(CLOCK.now())
    owners = sessions.owner_marks(seal, subject)
    made = Document(document_id, owners[0], f"{document_id}.pdf", len(content), "0" * 64, now, now + seconds)
    with engine.begin() as connection:
        documents.add(connection, seal, LIMITS, made, content, owners=owners)


def written(its: PortalSettings) -> io.BytesIO:
    file = io.BytesIO()
    made = backup_side(its, CLOCK)
    try:
        side.backup(made, file, [envelope.recipient(PUBLIC)], CLOCK.now(), lambda _table, _rows: None)
    finally:
        close(made)
    file.seek(0)
    return file


def restored(its: PortalSettings, file: io.BytesIO, clock: FixedClock = CLOCK) -> Summary:
    made = backup_side(its, clock)
    try:
        return side.restore(made, file, envelope.identities(SECRET), lambda _table, _rows: None)
    finally:
        close(made)


def close(made: side.Side) -> None:
    made.engine.dispose()
    made.reading.dispose()


def found(its: PortalSettings, subject: str) -> dict[str, bytes]:
    seal, engine = keys.load(its.key_file, secrets.token_bytes), open_engine(its)
    with engine.connect() as connection:
        mine = documents.everyone_of(connection, seal, sessions.owner_marks(seal, subject), epoch(CLOCK.now()))
        contents = {each.id: documents.content_of(connection, seal, each, "original") for each in mine}
    engine.dispose()
    return contents


def test_every_table_is_either_kept_or_left_out() -> None:
    assert set(metadata.tables) == KEPT | TRANSIENT
    for name in KEPT:
        assert not {key.column.table.name for key in metadata.tables[name].foreign_keys} & TRANSIENT, name


def test_documents_come_back_to_their_persons_and_nobody_is_signed_in(
    both: tuple[PortalSettings, PortalSettings],
) -> None:
    there, here = both
    file = written(there)
    for secret in (PDF, LARGE, b"a1.pdf"):
        assert secret[:64] not in file.getvalue()
    summary = side.verify(file, envelope.identities(SECRET))
    assert dict(summary.rows) == {"portal_schema": 1, "portal_documents": 3, "portal_contents": 3}
    file.seek(0)
    restored(here, file)
    assert found(here, "alice") == {"a1": PDF}
    assert found(here, "bob") == {"b1": LARGE, "b2": PDF}
    engine = open_engine(here)
    with engine.connect() as connection:
        for name in TRANSIENT:
            assert connection.scalar(select(func.count()).select_from(metadata.tables[name])) == 0
    engine.dispose()


def test_what_has_expired_by_now_does_not_come_back(both: tuple[PortalSettings, PortalSettings]) -> None:
    there, here = both
    restored(here, written(there), FixedClock(CLOCK.now() + timedelta(seconds=10)))
    assert set(found(here, "bob")) == {"b1"}


def test_with_other_keys_nothing_is_restored_and_with_former_ones_all_is(
    both: tuple[PortalSettings, PortalSettings],
) -> None:
    there, here = both
    file = written(there)
    own = here.key_file.read_bytes()
    here.key_file.write_bytes(b"k" * 43)
    with pytest.raises(SealBroken):
        restored(here, file)
    here.key_file.write_bytes(own)
    keys.rotate(here.key_file, CLOCK.now())
    file.seek(0)
    restored(here, file)
    assert found(here, "alice") == {"a1": PDF}


def test_with_todays_key_alone_nothing_is_restored_where_what_was_brought_needs_a_former_one(
    both: tuple[PortalSettings, PortalSettings],
) -> None:
    """Signed after the exchange: the description is sealed with today's key, the original is not."""
    there, here = both
    former = keys.rotate(there.key_file, CLOCK.now())
    seal, engine, now = keys.load(there.key_file, secrets.token_bytes), open_engine(there), epoch(CLOCK.now())
    with engine.begin() as connection:
        for subject in ("alice", "bob"):
            for each in documents.everyone_of(connection, seal, sessions.owner_marks(seal, subject), now):
                outcome = Outcome("Ades-B-T", subject, 3)
                documents.store_signed(connection, seal, each, b"new", outcome=outcome, now=now, until=now + 3600)
    engine.dispose()
    file = written(there)
    here.key_file.write_bytes(there.key_file.read_bytes())
    with pytest.raises(SealBroken):
        restored(here, file)
    beside = here.key_file.with_name(former.name)
    beside.write_bytes(former.read_bytes())
    beside.chmod(0o600)
    file.seek(0)
    restored(here, file)
    assert found(here, "alice") == {"a1": PDF}


def test_ADM_06_another_portals_backup_is_refused(both: tuple[PortalSettings, PortalSettings]) -> None:
    there, here = both
    with pytest.raises(ArchiveForeign):
        restored(replace(here, public_url="https://other.example.org"), written(there))


def test_all_that_a_backup_reads_is_of_one_moment(both: tuple[PortalSettings, PortalSettings]) -> None:
    there, _ = both
    counted = select(func.count()).select_from(metadata.tables["portal_documents"])
    reading, engine = for_snapshot(there), open_engine(there)
    with reading.connect() as reader:
        assert reader.scalar(counted) == 3
        bring(engine, there, "c1", "carol", PDF)
        assert reader.scalar(counted) == 3
    with reading.connect() as reader:
        assert reader.scalar(counted) == 4
    reading.dispose()
    engine.dispose()


def test_a_row_that_nobody_could_read_again_is_not_written(
    both: tuple[PortalSettings, PortalSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archive.records._LARGER_LINES", {})
    with pytest.raises(NotWritten):
        written(both[0])


def test_the_commands_write_and_restore(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "portal.toml"
    config.write_text(
        f"""mode = "development"
public_url = "https://documents.example.org"
issuer = "https://idp.example.org"
csc_base = "https://sign.example.org/csc/v2"
client_id = "portal"
client_key_file = "client.pem"
key_file = "portal.key"
database_url = "sqlite:///{tmp_path / "portal.sqlite"}"
"""
    )
    assert portal(["init", "--config", str(config)]) == 0
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_text(SECRET)
    file, key = str(tmp_path / "portal.age"), str(tmp_path / "key")
    given = ["--config", str(config)]
    assert portal_backup.backup([*given, "--recipient", PUBLIC, "--output", file]) == 0
    assert portal_backup.restore([*given, "--identity", key, file]) == 1, "there are rows"
    for each in tmp_path.glob("portal.sqlite*"):
        each.unlink()
    assert portal(["keys", "rotate", *given]) == 0
    assert portal_backup.restore([*given, "--identity", key, file]) == 0
    assert "Everybody signs in again" in capsys.readouterr().err
    assert portal(["keys", "retire", *given]) == 0
    assert "deleted" in capsys.readouterr().out
    assert portal(["keys", "retire", *given]) == 0
    assert "there is no former key" in capsys.readouterr().out
