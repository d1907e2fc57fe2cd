"""The import rules hold, and each of them turns red when it is broken: a rule nobody has seen fail may be dead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, ROOT, config, contracts, copy_packages, tool

SEEDS = {
    "house": [
        ("connectors/registry.py", "import idp"),
        ("documents/errors.py", "import connectors"),
        ("foundation/clock.py", "import contract"),
    ],
    "two-sides": [("idp/app.py", "import signing.settings"), ("signing/app.py", "import idp.settings")],
    "launcher": [("launcher/dev.py", "import signing.settings"), ("launcher/supervisor.py", "import sqlalchemy")],
    "development-stand-ins": [("devservices/__init__.py", "import contract")],
    "anchoring": [("anchoring/cli.py", "import signing.errors"), ("anchoring/process.py", "import flask")],
    "operators": [("operators/cli.py", "import signing.errors"), ("operators/keys.py", "import requests")],
    "clients": [("examples/__init__.py", "import foundation.clock"), ("clients/csc/keys.py", "import contract.sad")],
    "portal": [("portal/names.py", "import signing.settings"), ("portal/store/seal.py", "import contract.sad")],
    "portal-inside": [("portal/errors.py", "import portal.settings"), ("portal/unplaced.py", "")],
    "clients-apart": [("launcher/cli.py", "import clients.csc"), ("signing/app.py", "import clients")],
    "product-without-tests": [("signing/app.py", "import tests.fakes"), ("contract/sad.py", "import pytest")],
    "foundation-leaf": [("foundation/clock.py", "import sqlalchemy")],
    "connectors-inside": [
        ("connectors/ports/__init__.py", "import connectors.registry"),
        ("connectors/new_kind.py", ""),
    ],
    "connectors-by-entry-point": [
        ("idp/app.py", "import connectors.messaging"),
        ("signing/app.py", "import connectors.pki"),
    ],
    "idp-inside": [("idp/policy/__init__.py", "import idp.web"), ("idp/unplaced.py", "")],
    "signing-inside": [("signing/sam/__init__.py", "import signing.storage"), ("signing/unplaced.py", "")],
    "web-tier": [
        ("signing/csc/__init__.py", "import signing.scdev"),
        ("signing/app.py", "import sqlalchemy"),
        ("signing/csc/jobs.py", "import sqlalchemy"),
        ("signing/jobs/runner.py", "import sqlalchemy"),
        ("signing/jobs/store.py", "import signing.storage.engine"),
        ("signing/settings.py", "import signing.sam"),  # what everybody imports opens a way for the web tier
    ],
    "sam-parses-nothing": [
        ("signing/sam_app/__init__.py", "import flask"),
        ("signing/storage/__init__.py", "import lxml"),
        ("signing/sam/__init__.py", "import http.server"),
        ("signing/errors.py", "import requests"),
        ("signing/sam/__init__.py", "import documents"),
    ],
    "link": [("signing/link/__init__.py", "import signing.storage"), ("signing/link/__init__.py", "import flask")],
    "documents": [("documents/errors.py", "import contract"), ("documents/findings.py", "import requests")],
    "device": [("signing/storage/__init__.py", "import pkcs11"), ("idp/app.py", "import pkcs11")],
    "pure": [
        ("idp/policy/__init__.py", "import flask"),
        ("idp/authn/__init__.py", "import connectors.ports"),
        ("signing/sam/__init__.py", "import socket"),
        ("contract/sad.py", "import requests"),
    ],
}
"""For each contract what breaks it: a line added to a file (which is made when it is new)."""


def test_all_contracts_are_kept() -> None:
    done = tool("lint-imports", "--no-cache", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_every_contract_has_a_seeded_violation() -> None:
    assert set(SEEDS) == set(contracts())


def test_import_linter_watches_every_package() -> None:
    assert sorted(config()["importlinter"]["root_packages"].split()) == sorted(PACKAGES)


def test_every_module_of_signing_belongs_to_one_process() -> None:
    # a layer says who is above whom; only these lists say which process a new module may be loaded into
    def listed(contract: str) -> set[str]:
        return set(config()[f"importlinter:contract:{contract}"]["source_modules"].split())

    web_tier, sam, link = listed("web-tier"), listed("sam-parses-nothing"), listed("link")
    leaves = {"signing.settings", "signing.sam_settings", "signing.errors"}
    assert len(web_tier) + len(sam) + len(link) == len(web_tier | sam | link)
    there = {f"signing.{path.stem}" for path in (ROOT / "signing").iterdir() if (path / "__init__.py").is_file()}
    there |= {f"signing.{path.stem}" for path in (ROOT / "signing").glob("*.py")} - {"signing.__init__"}
    assert there <= web_tier | sam | link | leaves
    assert there - {"signing.scdev"} <= listed("device")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_packages(tmp_path_factory.mktemp("house"))


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [(contract, file, line) for contract, seeds in SEEDS.items() for file, line in seeds],
)
def test_a_seeded_violation_turns_its_contract_red(pristine: Path, contract: str, file: str, line: str) -> None:
    broken = pristine / file
    before = broken.read_text(encoding="utf-8") if broken.exists() else None
    assert before is not None or not line, f"{file} is gone: the seed would prove nothing"
    try:
        broken.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
        done = tool("lint-imports", "--no-cache", "--contract", contract, cwd=pristine)
    finally:
        if before is None:
            broken.unlink()
        else:
            broken.write_text(before, encoding="utf-8")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contracts()[contract]} BROKEN" in " ".join(done.stdout.split())
