"""The operator's commands, as far as they need neither a device nor a running module."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from auditlog.chain import Checkpoint
from foundation.files import write_secret
from signing import sam_cli
from signing.sam.credential import Credential
from signing.storage.store import SqlStore
from tests.fakes.sam import ISSUER, REALM, World


@pytest.fixture(params=["database_url", "database_url_file"])
def config(request: pytest.FixtureRequest, world: World, credential: Credential, tmp_path: Path) -> Path:
    """``sam.toml`` over a database with a credential's records; its URL in either place."""
    url = world.url
    if request.param == "database_url_file":
        write_secret(tmp_path / "url", url.encode())
        url = str(tmp_path / "url")
    table = {
        "mode": "development",
        "realm": REALM,
        "sam_id": "urn:privyseal:sam:test",
        "socket": "s",
        "admin_socket": "a",
        "certificate_anchors": ["root.pem"],
        request.param: url,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    lines += ["[issuers.idp]", f'issuer = "{ISSUER}"', 'keys = ["idp.pem"]', "[profiles]"]
    lines += ["[device]", 'module = "libvendor.so"', 'token_label = "t"', 'pin_file = "pin"']
    (tmp_path / "sam.toml").write_text("\n".join(lines))
    assert credential.status == "active"
    return tmp_path / "sam.toml"


def test_a_checkpoint_is_where_the_chain_ends(world: World, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sam_cli.main(["checkpoint", "--config", str(config)]) == 0
    found = Checkpoint.from_json(capsys.readouterr().out)
    assert isinstance(world.store, SqlStore)
    head = world.store.head()
    assert (found.sequence, found.hash) == (head.sequence, head.hash)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entries SET fields = '{}' WHERE sequence = 1",
        "DELETE FROM audit_entries WHERE sequence = 2",
        "DELETE FROM audit_entries WHERE sequence = (SELECT max(sequence) FROM audit_entries)",
    ],
)
def test_AUD_01_no_checkpoint_is_taken_of_a_broken_chain(
    world: World, config: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    with world.engine.begin() as connection:
        connection.execute(text(change))
    assert sam_cli.main(["checkpoint", "--config", str(config)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "broken" in said.err
