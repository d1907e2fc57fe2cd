"""`privyseal policy lint` with and without what the deployment knows."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from idp.cli.policy import main
from idp.oidc.client import Registration
from idp.storage import clients
from tests.fakes.idp import POLICY, make_idp
from tests.unit.idp_web.test_simulate import CONFIG

SOUND = """\
policy: 1
name: sound
levels:
  - name: any
    any_of: [{all_of: [{factor: password}]}]
rules:
  - {id: sign-in, action: sign_in, require: any}
"""
CARD = SOUND.replace("any_of: [", "any_of: [{all_of: [{factor: totp}]}, ").replace(
    "rules:", "  - {name: card, any_of: [{all_of: [{factor: certificate}]}]}\nrules:\n"
    "  - {id: sign, action: document, require: card}"
).replace("levels:", "actions: [document]\nlevels:")  # fmt: skip


@pytest.fixture(name="sound")
def _sound(tmp_path: Path) -> str:
    (tmp_path / "sound.yaml").write_text(SOUND)
    return str(tmp_path / "sound.yaml")


@pytest.fixture(name="card")
def _card(tmp_path: Path) -> str:
    (tmp_path / "card.yaml").write_text(CARD)
    return str(tmp_path / "card.yaml")


def test_a_policy_without_findings_is_well(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("lint", sound)) == 0
    assert capsys.readouterr().out == "1 file, 0 errors, 0 warnings\n"


def test_an_error_is_printed_with_clause_and_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(SOUND.replace("name: any\n", "name: any\n    claims: {'nist-800-63b:r4': aal2}\n"))
    assert main(("lint", str(path))) == 3
    out = capsys.readouterr().out
    assert f"{path}:" in out
    assert " error L" in out
    assert "    clause: NIST SP 800-63B" in out
    assert "    advice: " in out
    assert main(("lint", str(path), "--json")) == 3
    assert {"rule", "severity", "clause", "advice"} <= set(json.loads(capsys.readouterr().out)[0])
    assert main(("lint", str(path), "--sarif")) == 3
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"


def test_a_file_that_cannot_be_loaded_has_findings_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("policy: 1\n")
    assert main(("lint", str(path), "--json")) == 1
    assert {finding["rule"] for finding in json.loads(capsys.readouterr().out)} == {"L20"}


def test_what_nobody_can_reach_is_judged_only_where_the_deployment_is_known(
    sound: str, card: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(("lint", card)) == 0
    assert "L17" not in capsys.readouterr().out
    assert main(("lint", sound, card, "--enabled", "password")) == 0
    assert "L17" in capsys.readouterr().out
    assert main(("lint", card, "--enabled", "password", "--strict")) == 3
    assert "error L17" in capsys.readouterr().out


def test_the_deployment_is_read_from_the_settings_and_the_database(
    tmp_path: Path, card: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_idp(tmp_path)
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    (tmp_path / "tests.yaml").write_bytes(POLICY)
    assert main(("lint", card, "--config", str(tmp_path / "idp.toml"))) == 0
    assert "L17" in capsys.readouterr().out


def test_a_relying_party_that_cannot_be_told_what_its_people_reached_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_idp(tmp_path)
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    (tmp_path / "tests.yaml").write_bytes(POLICY)
    path = tmp_path / "told.yaml"
    path.write_text(SOUND.replace("name: any\n", "name: any\n    acr: urn:example:any\n"))
    lint = ("lint", str(path), "--config", str(tmp_path / "idp.toml"))
    assert main(lint) == 0
    for client_id, value in (("told", "urn:example:any"), ("deaf", "urn:example:other"), ("stopped", "urn:example:x")):
        registration = Registration(
            client_id, client_id, "none", ("https://rp.example.org/",), scopes=("openid",), default_acr_values=(value,)
        )
        with made.engine.begin() as connection:
            clients.create(connection, registration, made.clock.now(), secrets.token_bytes)
            clients.set_active(connection, client_id, active=client_id != "stopped")
    capsys.readouterr()
    assert main(lint) == 3
    out = capsys.readouterr().out
    assert "error L18" in out
    assert "'deaf'" in out
    assert "'told'" not in out
    assert "'stopped'" not in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--json", "--sarif"), "--json and --sarif exclude one another"),
        (("--config", "idp.toml", "--enabled", "totp"), "--config and --enabled exclude one another"),
        (("--enabled", "charm"), "invalid choice: 'charm'"),
    ],
)
def test_wrong_usage_is_said(
    sound: str, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(("lint", sound, *options)) == 2
    assert message in capsys.readouterr().err
