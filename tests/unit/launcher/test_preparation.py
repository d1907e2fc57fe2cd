"""The preparation's commands name secrets by path, and each process is told what it needs and no more."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from launcher import configuration, dev, preparation
from launcher.accounts import ROLES, Account, Accounts
from launcher.configuration import Installation
from launcher.errors import ChildFailedError, StepFailedError
from launcher.ports import Ports
from launcher.preparation import SHARED, Step
from launcher.relocation import here as this_checkout
from launcher.state import State


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    own = Account("me", os.getuid(), os.getgid())
    state = State(tmp_path / "demo", Accounts(dict.fromkeys(ROLES, own), separate=False))
    state.make_folders()
    made = Installation(this_checkout(), state, Ports(20000))
    preparation.write_files(made)
    return made


def secrets_of(made: Installation) -> dict[str, bytes]:
    return {name: made.file(owners[0], name).read_bytes() for name, owners in SHARED.items()}


def test_KEY_08_no_command_carries_a_secret(installation: Installation) -> None:
    commands = [
        preparation.command(installation, step.role, *step.module)
        for step in (*preparation.before_start(installation), *preparation.after_start(installation))
    ] + [service.command for group in dev.services(installation) for service in group]
    assert len(commands) >= 15
    shown = " ".join(text for made in commands for text in (*made.argv, *made.full_environment().values()))
    assert [name for name, value in secrets_of(installation).items() if value.decode() in shown] == []


def test_a_shared_secret_is_the_same_in_both_owners_files_and_all_secrets_differ(installation: Installation) -> None:
    values = secrets_of(installation)
    assert len(set(values.values())) == len(SHARED)
    for name, owners in SHARED.items():
        assert len(set(owners)) == 2
        for owner in owners:
            assert installation.file(owner, name).read_bytes() == values[name]
            assert installation.file(owner, name).stat().st_mode & 0o777 == 0o600


def test_no_settings_file_holds_a_secret(installation: Installation) -> None:
    for role in ("idp", "web", "sam"):
        text = installation.file(role, f"{role}.toml").read_text(encoding="utf-8")
        assert tomllib.loads(text)["mode"] == "development"
        assert [name for name, value in secrets_of(installation).items() if value.decode() in text] == []


def test_the_web_tier_is_told_nothing_of_the_token_and_the_module_nothing_of_the_network(
    installation: Installation,
) -> None:
    web = installation.file("web", "web.toml").read_text(encoding="utf-8")
    sam = installation.file("sam", "sam.toml").read_text(encoding="utf-8")
    assert not any(word in web for word in ("softhsm", "pin", "token_label", "sam.sqlite", "idp.sqlite"))
    assert str(installation.ports.of("trust")) not in sam
    # By which name clients call the web tier, for their proofs; it opens no connection there.
    told = [line for line in sam.splitlines() if str(installation.ports.of("web")) in line]
    assert all("/signatures/signHash" in line for line in told)


def test_the_parties_agree_on_names_and_addresses(installation: Installation) -> None:
    idp, web, sam = configuration.idp(installation), configuration.web(installation), configuration.sam(installation)
    text = str((idp, web, sam))
    assert text.count("urn:privyseal:sam:development") == 2
    assert web["sam_socket"] == sam["socket"]
    assert "http://idp.localhost:20001" in str(sam["issuers"])


def test_a_failed_step_is_reported_with_the_end_of_its_output(installation: Installation) -> None:
    failing = Step("demo person", "idp", ("launcher", "no-such-command"))
    with pytest.raises(StepFailedError) as failed:
        preparation.run(installation, [failing], lambda text: None, lambda: None)
    assert "demo person: launcher no-such-command ended with exit code 2" in str(failed.value)
    assert "unknown command 'no-such-command'" in str(failed.value)
    assert failed.value.exit_code == 6


def test_a_step_is_given_up_when_a_service_dies_meanwhile(installation: Installation) -> None:
    def died() -> None:
        raise ChildFailedError("the module ended")

    endless = Step("waiting", "dev", ("http.server", "--help"))
    slow = Step("waiting", "dev", ("timeit", "-n", "1", "-r", "1", "-s", "import time", "time.sleep(60)"))
    preparation.run(installation, [endless], lambda text: None, lambda: None)
    with pytest.raises(ChildFailedError):
        preparation.run(installation, [slow], lambda text: None, died)


def test_public_material_is_not_taken_from_behind_a_link(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("root only")
    planted = installation.file("dev", "root.crt")
    planted.symlink_to(tmp_path / "shadow")
    with pytest.raises(OSError, match="symbolic links"):
        preparation.publish(planted, installation.root_certificate)
    with pytest.raises(OSError, match="symbolic links"):
        preparation.hand_over(installation, planted, "web")
    assert not installation.root_certificate.exists()


def test_a_handed_over_file_belongs_to_its_new_owner_alone(installation: Installation) -> None:
    order = installation.file("dev", "order.jws")
    order.write_text("order")
    copy = preparation.hand_over(installation, order, "web")
    assert copy == installation.file("web", "order.jws")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.read_text() == "order"


@pytest.mark.parametrize("base", ["0", "80", "65511", "70000"])
def test_an_impossible_base_port_is_refused(base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["--once", "--base-port", base]) == 2
    assert "--base-port is a number from" in capsys.readouterr().err
