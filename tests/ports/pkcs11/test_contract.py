"""The contract, clause by clause, over every provider: what is declared not to work does not, and all else does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.files import write_secret
from signing.sam.ports import OperationNotPermitted
from signing.scdev.device import Pkcs11Device
from signing.scdev.settings import DeviceSettings
from tests.ports.pkcs11.contract import CLAUSES
from tests.ports.pkcs11.providers import NSS, PROVIDERS, USER_PIN, Provider

pytestmark = pytest.mark.hsm
ROOT = Path(__file__).parents[3]


def step(name: str, provider: Provider, directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.ports.pkcs11.contract", name, provider.name, str(directory)],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str | None]]:
    """By provider and clause: null where it is fulfilled, else what was seen."""
    found = {}
    for provider in PROVIDERS.values():
        assert provider.module.exists(), f"install {provider.package}"
        directory = tmp_path_factory.mktemp(provider.name)
        environment = provider.environment(directory)
        step("prepare", provider, directory, environment)
        found[provider.name] = json.loads(step("run", provider, directory, environment))
    return found


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
@pytest.mark.parametrize("clause", sorted(CLAUSES))
def test_a_provider_fulfils_the_clause_or_is_declared_not_to(
    seen: dict[str, dict[str, str | None]], provider: str, clause: str
) -> None:
    # Not skipped: an incapability that has gone is as wrong as one that nobody declared.
    assert seen[provider][clause] == PROVIDERS[provider].incapable.get(clause)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_no_provider_is_excused_from_what_is_no_clause(provider: str) -> None:
    assert set(PROVIDERS[provider].incapable) <= set(CLAUSES)


def test_KEY_07_a_token_that_does_not_keep_what_it_is_told_serves_no_keys(tmp_path: Path) -> None:
    """NSS softokn opens, logs in, and is then refused for want of the server's keys: no rule bends for it."""
    step("prepare", NSS, tmp_path, {})
    write_secret(tmp_path / "pin", USER_PIN)
    settings = DeviceSettings(
        NSS.module, "NSS Certificate DB", tmp_path / "pin", workers=1, parameters=NSS.parameters(tmp_path)
    )
    with pytest.raises(OperationNotPermitted, match="holds 0"):
        Pkcs11Device(settings)
