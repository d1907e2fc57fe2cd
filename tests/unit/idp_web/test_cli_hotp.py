"""``privyseal idp hotp``: devices are imported with their seeds, all or none, and given to people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from idp.authn.hotp import next_counter
from idp.cli.common import EXIT_DONE, EXIT_EXISTS, EXIT_FAILED
from idp.storage import accounts, authenticators, boxes
from idp.storage.engine import open_engine, reading
from idp.storage.keys import KeyStore
from tests.unit.idp_web.test_cli import ACCOUNT, ready, run, sealer, state

__all__ = ["ready", "state"]

SEED = "3132333435363738393031323334353637383930"
GOOD = f"serial,seed_hex,counter,digits\nax-1,{SEED},1,6\nax-2,{SEED[::-1]},0,8\n"


def imported(state: Path, content: str, mode: int = 0o600) -> int:
    (state / "devices.csv").write_text(content)
    (state / "devices.csv").chmod(mode)
    return run(state, "hotp", "import", "--file", str(state / "devices.csv"), "--json")


def test_devices_are_imported_once_listed_and_given_to_people(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ready, *ACCOUNT, "--email", "alice@example.org", "--password-file", str(ready / "password"))
    capsys.readouterr()
    assert imported(ready, GOOD) == EXIT_DONE
    assert json.loads(capsys.readouterr().out) == {"imported": 2}
    assert imported(ready, GOOD) == EXIT_EXISTS
    assert run(ready, "hotp", "assign", "--username", "alice", "--serial", "ax-1", "--json") == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["notices"] == 1
    assert run(ready, "hotp", "list", "--json") == EXIT_DONE
    assert json.loads(capsys.readouterr().out) == {"devices": [{"serial": "AX-2", "digits": 8}]}
    # Somebody carries it: it is neither given away nor imported again.
    assert run(ready, "hotp", "assign", "--username", "alice", "--serial", "AX-1") == EXIT_FAILED
    assert imported(ready, GOOD.replace("ax-2", "ax-3")) == EXIT_EXISTS
    assert "AX-1 is there already, or somebody carries it" in capsys.readouterr().err
    engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
    secret = KeyStore(engine, ready / "keys").secret
    with reading(engine) as connection:
        account = accounts.find_by_username(connection, "alice")
        assert account is not None
        item = authenticators.of_kind(connection, sealer(ready), account.id, "hotp")
        events = connection.execute(text("select event from audit_entries order by sequence")).scalars().all()
    engine.dispose()
    assert item is not None
    seed = boxes.unlock(secret, (item.id, account.id, "hotp"), item.secret_box)
    assert next_counter(seed, 6, "287082", item.counter, 1) == 2
    assert {"hotp.imported", "hotp.assigned"} <= set(events)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (GOOD, 0o644, "devices.csv"),
        (GOOD.replace(SEED[::-1], "canary" + SEED), 0o600, "line 3: the seed cannot be read"),
        (GOOD.replace("ax-2", "ax-1"), 0o600, "is there twice"),
    ],
    ids=["readable", "seed", "twice"],
)
def test_OTP_06_a_file_that_is_not_accepted_adds_nothing_and_no_seed_is_quoted_or_stored(
    ready: Path, capsys: pytest.CaptureFixture[str], content: str, mode: int, said: str
) -> None:
    assert imported(ready, content, mode) == EXIT_FAILED
    err = capsys.readouterr().err
    assert said in err
    assert SEED not in err
    assert imported(ready, GOOD) == EXIT_DONE
    stored = b"".join(file.read_bytes() for file in ready.glob("idp.sqlite*"))
    for seed in (SEED, SEED[::-1]):
        assert seed.encode() not in stored
        assert bytes.fromhex(seed) not in stored


@pytest.mark.parametrize("serial", ["AX-9", "not a serial!"])
def test_a_device_that_is_not_there_is_given_to_nobody(
    ready: Path, capsys: pytest.CaptureFixture[str], serial: str
) -> None:
    run(ready, *ACCOUNT, "--password-file", str(ready / "password"))
    assert run(ready, "hotp", "assign", "--username", "alice", "--serial", serial) == EXIT_FAILED
    assert "serial number" in capsys.readouterr().err
