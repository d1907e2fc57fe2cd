"""A backup of each side, restored into an empty database: the module signs again, and nothing from before serves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, select

from signing.link import codes
from signing.link.client import SamClient
from signing.storage.engine import open_engine
from signing.storage.tables import metadata
from tests.integration.sam_site import Site, make_site
from tests.integration.test_sam_rollback import refusal, status

pytestmark = pytest.mark.hsm

Fresh = Callable[[Path], Site]


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], str]]:
    """Empty databases: by a folder to put one into, its URL."""
    with ExitStack() as stack:

        def made(directory: Path) -> str:
            if getattr(request, "param", "sqlite") == "sqlite":
                return f"sqlite:///{directory / 'sam.sqlite'}"
            url: str = stack.enter_context(request.getfixturevalue("postgres_server").fresh_database())
            return url

        yield made


@pytest.fixture
def site(tmp_path: Path, fresh: Callable[[Path], str]) -> Site:
    made = make_site(tmp_path, fresh(tmp_path))
    made.write_config()
    made.init()
    return made


@pytest.fixture
def key(site: Site) -> tuple[Path, str]:
    """A key that opens backups, and its recipient."""
    path = site.directory / "backup-key"
    return path, site.run("backup", "key", "--output", str(path)).stdout.strip()


def back_up(site: Site, recipient: str) -> Path:
    file = site.directory / "sam.age"
    found = site.run(
        "backup", "sam", "--config", str(site.config()), "--recipient", recipient, "--output", str(file), "--json"
    )
    assert json.loads(found.stdout)["rows"]["credentials"] == 1
    return file


def lose_the_database(site: Site, fresh: Callable[[Path], str]) -> None:
    """In its place there is an empty one."""
    for name in ("sam.sqlite", "sam.sqlite-wal", "sam.sqlite-shm"):
        (site.directory / name).unlink(missing_ok=True)
    (site.directory / "url").write_text(fresh(site.directory))


def restore(site: Site, file: Path, key: Path, *, check: bool = True) -> str:
    done = site.run("restore", "sam", "--config", str(site.config()), "--identity", str(key), str(file), check=check)
    return done.stdout + done.stderr


def rows(site: Site) -> int:
    """In all tables that are there."""
    engine = open_engine((site.directory / "url").read_text())
    with engine.connect() as connection:
        found = sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.sorted_tables
        )
    engine.dispose()
    return int(found)


@pytest.mark.parametrize(
    ("fresh", "changed_since"),
    [pytest.param("postgresql", True, marks=pytest.mark.postgres), ("sqlite", False)],
    indirect=["fresh"],
)
def test_SAD_12_ADM_06_a_restored_module_signs_once_two_operators_say_so_and_no_earlier_sad_serves(
    site: Site, key: tuple[Path, str], fresh: Callable[[Path], str], changed_since: bool
) -> None:
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
        unspent = site.request(site.sad(view, (b"\x07" * 32,)))
    file = back_up(site, key[1])
    if changed_since:
        with site.serving(), SamClient(site.socket()) as client:
            spent = site.request(site.sad(view))
            client.sign(spent)
            suspend = site.operation("credential.suspend", 1, credential_id=view.credential_id)
            site.run("sam", "execute", "--config", str(site.config()), "--operation", str(suspend))
    else:
        spent = unspent

    lose_the_database(site, fresh)
    said = restore(site, file, key[0])
    assert "ledger.restore" in said
    with site.serving(), SamClient(site.socket()) as client:
        # Nothing serves: neither a SAD from before nor a new one.
        assert refusal(client, site.request(site.sad(view))) == codes.LEDGER_SET_BACK
        assert status(site)["anchor"] != "ok"
        restoring = ("sam", "restore", "--config", str(site.config()), "--operation")
        assert site.run(*restoring, str(site.operation("ledger.restore", 1)), check=False).returncode == 1
        assert refusal(client, site.request(site.sad(view))) == codes.LEDGER_SET_BACK
        site.run(*restoring, str(site.operation("ledger.restore")))
        for before in (spent, unspent):
            assert refusal(client, before) in {codes.INVALID_SAD, codes.EXPIRED_SAD}
        assert len(client.sign(site.request(site.sad_after_a_restore(view)))) == 1
        assert status(site)["anchor"] == "ok"
    verified = site.run("audit", "verify", "--database-url-file", str(site.directory / "url"))
    assert verified.returncode == 0


def test_ADM_06_a_backup_is_of_no_use_to_another_token_or_installation(
    site: Site, key: tuple[Path, str], fresh: Callable[[Path], str], tmp_path: Path
) -> None:
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
    file = back_up(site, key[1])

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = make_site(elsewhere, fresh(elsewhere))
    other.write_config()
    other.init()
    assert "has rows already" in restore(other, file, key[0], check=False)
    lose_the_database(other, fresh)
    restore(other, file, key[0])
    # The thief's own token, keys and operators: the rows' MACs and wrapped keys are of another token's keys.
    with other.serving(), SamClient(other.socket()) as client:
        request = other.request(other.sad(view))
        assert refusal(client, request) == codes.LEDGER_SET_BACK
        site_restore = other.operation("ledger.restore")
        other.run("sam", "restore", "--config", str(other.config()), "--operation", str(site_restore), check=False)
        request = other.request(other.sad_after_a_restore(view))
        assert refusal(client, request) in {codes.LEDGER_SET_BACK, codes.ROW_INTEGRITY}

    lose_the_database(other, fresh)
    other.write_config(realm="another")
    assert "installation" in restore(other, file, key[0], check=False)
    assert rows(other) == 0


@pytest.mark.parametrize("fault", ["cut", "altered", "another's"])
def test_a_file_that_is_not_whole_or_not_ours_leaves_the_database_empty(
    site: Site, key: tuple[Path, str], fresh: Callable[[Path], str], fault: str
) -> None:
    with site.serving(), SamClient(site.socket()) as client:
        site.credential(client)
    file, identity = back_up(site, key[1]), key[0]
    data = bytearray(file.read_bytes())
    if fault == "cut":
        file.write_bytes(data[:-200])
    elif fault == "altered":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    else:
        identity = site.directory / "other-key"
        site.run("backup", "key", "--output", str(identity))
    lose_the_database(site, fresh)
    assert "error:" in restore(site, file, identity, check=False)
    assert rows(site) == 0
    verified = site.run("backup", "verify", "--identity", str(identity), str(file), check=False)
    assert verified.returncode == 1
