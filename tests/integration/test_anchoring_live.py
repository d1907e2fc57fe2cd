"""The anchor process as people run it: a real time-stamping authority, a role that can only read, an auditor's check.

The auditor has a copy of one file, Python's standard library and OpenSSL (AUD-10).
"""

from __future__ import annotations

import ast
import json
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from psycopg import errors as refused
from sqlalchemy import Engine, MetaData, create_engine, delete, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from anchoring import cli, standalone
from auditlog.catalogue import Catalogue, Event
from auditlog.evidence import part, stamped
from auditlog.kept import Checkpointer
from auditlog.sql import AuditLog, AuditTables, audit_tables
from devservices import tsa
from foundation.clock import SystemClock
from foundation.files import write_secret
from tests.integration.devservices import RunningCa, running_ca, served
from tests.postgres import PostgresServer
from tests.unit.auditlog.test_kept import Key

ROOT = Path(__file__).parents[2]
GRANTS = ROOT / "deploy" / "sql" / "audit.sql"


@dataclass(frozen=True)
class World:
    """A chain on PostgreSQL that a server's role writes, and the settings of its anchor process."""

    owner: Engine
    server: Engine
    tables: AuditTables
    log: AuditLog
    config: Path
    anchors: Path
    exported: Path
    ca: RunningCa
    key: Key

    def sign(self) -> None:
        """A signed checkpoint, as the server makes one with its role."""
        maker = Checkpointer(self.tables, "example/sam", self.key, SystemClock())
        assert maker.make(self.server.connect, self.server.begin) is not None

    def write(self, count: int) -> None:
        for number in range(count):
            with self.server.begin() as connection:
                self.log.append(connection, "demo.event", {"number": number}, SystemClock().now())

    def once(self) -> int:
        return cli.main(["once", "--config", str(self.config), "--json"])


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    with running_ca(tmp_path_factory.mktemp("ca") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def tsa_url(ca: RunningCa, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tsa.build(tmp_path_factory.mktemp("tsa") / "state", ca.state)) as base:
        yield base


def grant(server: PostgresServer, url: str, names: dict[str, str]) -> None:
    """What ``deploy/sql/audit.sql`` does, with psql's variables filled in."""
    script = re.sub(r"(?m)^\\.*$", "", GRANTS.read_text())
    for name, role in names.items():
        script = script.replace(f':"{name}"', f'"{role}"')
    database = make_url(url).database
    with psycopg.connect(host=str(server.directory), user="privyseal", dbname=database, autocommit=True) as link:
        for role in names.values():
            link.execute(f'CREATE ROLE "{role}" LOGIN'.encode())
        link.execute(script.encode())


@pytest.fixture
def world(
    postgres_server: PostgresServer, postgres_url: str, ca: RunningCa, tsa_url: str, tmp_path: Path
) -> Iterator[World]:
    metadata = MetaData()
    tables = audit_tables(metadata)
    log = AuditLog(tables, Catalogue([Event("demo.event", "", frozenset({"number"}))]))
    owner = create_engine(postgres_url, poolclass=NullPool)
    with owner.begin() as connection:
        metadata.create_all(connection)
        log.initialise(connection)
    names = {part: f"{part}_{secrets.token_hex(4)}" for part in ("server", "anchor")}
    grant(postgres_server, postgres_url, names)
    write_secret(tmp_path / "url", postgres_url.replace("privyseal@", f"{names['anchor']}@").encode())
    (tmp_path / "export").mkdir()
    config = tmp_path / "anchor.toml"
    key = Key()
    public = key.key.public_key()
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    config.write_text(
        f"""\
mode = "production"
checkpoint_keys = ["key.pem"]
anchors_file = "anchors.jsonl"
database_url_file = "url"
export_dir = "export"
interval_seconds = 10

[tsa.development]
connector = "rfc3161"

[tsa.development.settings]
url = "{tsa_url}/tsa"
trust_anchors = ["{ca.state / "root.crt"}"]
egress_allow = ["{tsa_url.removeprefix("http://")}"]
"""
    )
    server = create_engine(postgres_url.replace("privyseal@", f"{names['server']}@"), poolclass=NullPool)
    yield World(owner, server, tables, log, config, tmp_path / "anchors.jsonl", tmp_path / "export", ca, key)
    with owner.begin() as connection:
        for role in names.values():
            connection.execute(text(f'DROP OWNED BY "{role}"'))
            connection.execute(text(f'DROP ROLE "{role}"'))


@pytest.mark.postgres
def test_the_servers_role_adds_records_and_can_change_none(world: World) -> None:
    world.write(2)
    world.sign()
    entries, head, checkpoints = world.tables.entries, world.tables.head, world.tables.checkpoints
    for statement in (
        delete(checkpoints),
        update(checkpoints).values(note=""),
        delete(entries),
        update(entries).values(fields="{}"),
        text("TRUNCATE audit_entries"),
        text("DROP TABLE audit_entries"),
        text("ALTER TABLE audit_entries DISABLE TRIGGER ALL"),
        delete(head),
    ):
        with pytest.raises(ProgrammingError) as error, world.server.begin() as connection:
            connection.execute(statement)
        assert isinstance(error.value.orig, refused.InsufficientPrivilege)
    world.write(1)


@pytest.mark.postgres
def test_the_anchors_role_only_reads(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write(1)
    assert world.once() == 0
    reader = create_engine((world.config.parent / "url").read_text(), poolclass=NullPool)
    added = text("INSERT INTO audit_entries VALUES (9, 9, 'demo.event', '{}', 'x', 'y')")
    for statement in (added, update(world.tables.head).values(sequence=0)):
        with pytest.raises(ProgrammingError) as error, reader.begin() as connection:
            connection.execute(statement)
        assert isinstance(error.value.orig, refused.InsufficientPrivilege)
    capsys.readouterr()


def audit(world: World, *more: str, script: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The auditor: this machine's own Python, isolated, with a copy of the one file."""
    copy = script or world.config.parent / "verify.py"
    if script is None:
        shutil.copy(standalone.__file__, copy)
    files = [str(path) for path in sorted(world.exported.glob("*.jsonl"))]
    return subprocess.run(
        [sys.executable, "-I", "-S", str(copy), "--anchors", str(world.anchors), *more, *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.postgres
def test_AUD_10_an_auditor_verifies_export_anchors_and_stamps_with_none_of_our_code(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for count in (3, 2):
        world.write(count)
        world.sign()
        assert world.once() == 0
    assert [json.loads(line)["fresh"] for line in capsys.readouterr().out.splitlines()] == [3, 2]
    roots = ("--tsa-roots", str(world.ca.state / "root.crt"))
    good = audit(world, *roots)
    assert (good.returncode, good.stdout.startswith("ok: 5 records")) == (0, True), good.stdout + good.stderr
    assert good.stdout.endswith("2 anchors, 2 stamps\n")
    signed = audit(world, *roots, "--checkpoint-key", str(tmp_path / "key.pem"))
    assert signed.stdout.endswith("2 anchors, 2 stamps, 2 signed checkpoints\n"), signed.stdout + signed.stderr
    other_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "other.pem").write_bytes(other_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    elses = audit(world, "--checkpoint-key", str(tmp_path / "other.pem"))
    said = "broken: the signed checkpoint at record 3 is signed by none of the keys\n"
    assert (elses.returncode, elses.stdout) == (1, said), elses.stderr

    with running_ca(tmp_path / "another") as other:
        stranger = audit(world, "--tsa-roots", str(other.state / "root.crt"))
    said = "broken: the stamp of the anchor at record 3 does not verify\n"
    assert (stranger.returncode, stranger.stdout) == (1, said)

    first = min(world.exported.glob("*.jsonl"))
    whole = first.read_text()
    lines = whole.splitlines(keepends=True)
    for changed, said in (
        (whole.replace('number\\":1', 'number\\":9'), "record 2 was changed"),
        (lines[0] + lines[2], "record 2 is missing or out of order"),
        (lines[1] + lines[0] + lines[2], "record 1 is missing or out of order"),
    ):
        assert changed != whole
        first.write_text(changed)
        done = audit(world)
        assert (done.returncode, done.stdout) == (1, f"broken: {said}\n")
    first.write_text(whole)
    max(world.exported.glob("*.jsonl")).unlink()
    assert audit(world).stdout == "broken: record 4 is missing: a signed checkpoint knows of 5 records\n"


@pytest.mark.postgres
def test_AUD_05_a_signed_checkpoint_of_another_chain_or_by_another_key(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write(2)
    world.sign()
    assert world.once() == 0
    note = json.loads(world.anchors.read_text())["note"]
    # Nothing new, but signed for: a checkpoint is stamped also where no record came after it.
    world.write(1)
    assert world.once() == 0
    world.sign()
    assert world.once() == 0
    notes = [json.loads(line).get("note") for line in world.anchors.read_text().splitlines()]
    assert (notes[:2], len({*notes})) == ([note, None], 3)
    first, second, *rest = world.anchors.read_text().splitlines(keepends=True)
    forged = json.loads(first)
    forged["note"] = note.replace("\nchain ", "\nchain 0", 1).replace("0\nat ", "\nat ", 1)
    world.anchors.write_text("".join([json.dumps(forged) + "\n", second, *rest]))
    assert audit(world).returncode == 1
    with world.server.begin() as connection:
        other = Checkpointer(world.tables, "example/sam", Key(ec.generate_private_key(ec.SECP256R1())), SystemClock())
        world.log.append(connection, "demo.event", {"number": 9}, SystemClock().now())
    assert other.make(world.server.connect, world.server.begin) is not None
    world.anchors.write_text("".join([first, second, *rest]))
    capsys.readouterr()
    assert world.once() == cli.UNUSABLE
    assert "signed by none of the keys" in capsys.readouterr().err


@pytest.mark.postgres
def test_a_part_of_evidence_stands_on_a_checkpoint_that_was_stamped(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is verified of a part before its content: the time-stamp, over this very checkpoint."""
    for _ in range(2):
        world.write(3)
        world.sign()
        assert world.once() == 0
    capsys.readouterr()
    anchor = stamped(world.anchors.read_text().splitlines(), 2)
    assert anchor is not None
    with world.server.connect() as connection:
        made = part(connection, world.tables, note=anchor["note"], sequences=[2], attachments={}, anchor=anchor)
    verifier = standalone.Evidence.__new__(standalone.Evidence)
    verifier.txn, verifier.openssl, verifier.apart = "t", "openssl", 600
    verifier.roots = str(world.ca.state / "root.crt")
    whole = {**made, "side": "sam", "txn": "t"}
    key = str(tmp_path / "key.pem")
    assert verifier.records("sam", whole, key) == [("demo.event", {"number": 1})]
    later = json.loads(world.anchors.read_text().splitlines()[1])
    for changed, said in (
        ({"anchor": {**anchor, "at": anchor["at"] + 1}}, "sam: the stamp of the anchor at record 3 does not verify"),
        ({"anchor": later}, "sam: the time-stamp is over another checkpoint"),
    ):
        with pytest.raises(standalone.Broken, match=said):
            verifier.records("sam", {**whole, **changed}, key)
    del whole["anchor"]
    with pytest.raises(standalone.Broken, match="has no time-stamp"):
        verifier.records("sam", whole, key)


@pytest.mark.postgres
def test_AUD_05_anchors_that_were_made_up_have_no_stamp(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write(2)
    assert world.once() == 0
    capsys.readouterr()
    anchor = json.loads(world.anchors.read_text())
    world.anchors.write_text(json.dumps({**anchor, "at": anchor["at"] + 1}) + "\n")
    done = audit(world, "--tsa-roots", str(world.ca.state / "root.crt"))
    assert (done.returncode, done.stdout) == (1, "broken: the stamp of the anchor at record 2 does not verify\n")


@pytest.mark.postgres
def test_AUD_05_stamps_of_today_under_anchors_that_say_they_are_old(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds database and anchors can have a chain that was written anew stamped, but not in the past."""

    class LastMonth:
        def now(self) -> datetime:
            return SystemClock().now() - timedelta(days=30)

    world.write(2)
    monkeypatch.setattr(cli, "SystemClock", LastMonth)
    assert world.once() == 0
    capsys.readouterr()
    roots = ("--tsa-roots", str(world.ca.state / "root.crt"))
    said = "broken: the stamp of the anchor at record 2 is not of the time that the anchor states\n"
    assert audit(world, *roots).stdout == said
    assert audit(world, *roots, "--apart", str(31 * 86_400)).returncode == 0


@pytest.mark.postgres
def test_AUD_05_anchors_that_contradict_each_other(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The last one is not the only one that counts; what a crash left of a line is none."""
    world.write(2)
    assert world.once() == 0
    capsys.readouterr()
    true = world.anchors.read_text()
    false = json.dumps({**json.loads(true), "hash": "0" * 64}) + "\n"
    world.anchors.write_text(false + true)
    done = audit(world)
    assert (done.returncode, done.stdout) == (1, "broken: two anchors contradict each other about record 2\n")
    world.anchors.write_text(true + false[:40])
    assert audit(world).returncode == 0


def test_the_auditors_file_imports_the_standard_library_alone() -> None:
    tree = ast.parse(Path(standalone.__file__).read_text())
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names])
    }
    assert names <= sys.stdlib_module_names


@pytest.mark.postgres
def test_it_runs_until_it_is_told_to_stop_and_its_state_can_be_asked(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--config", str(world.config)]) == cli.BROKEN
    world.write(1)
    running = subprocess.Popen(
        [sys.executable, "-m", "launcher", "anchor", "run", "--config", str(world.config)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not world.anchors.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert world.once() == cli.UNUSABLE, "another process adds to the same anchors"
    finally:
        running.send_signal(signal.SIGTERM)
        _out, log = running.communicate(timeout=30)
    assert running.returncode == 0
    assert "the audit chain was anchored" in log
    capsys.readouterr()
    assert cli.main(["status", "--config", str(world.config), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["anchors"], told["records"]) == (True, 1, 1)


@pytest.mark.postgres
def test_a_broken_chain_is_told_with_its_record(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write(3)
    with world.owner.begin() as connection:
        entries = world.tables.entries
        connection.execute(update(entries).where(entries.c.sequence == 2).values(fields="{}"))
    assert world.once() == cli.BROKEN
    assert json.loads(capsys.readouterr().out)["record"] == 2
    assert not world.anchors.exists()
