"""Ruff closes the escapes from the import rules, and each ban is seen to bite."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.architecture.source import PACKAGES, ROOT, tool

SEEDS = {
    "importlib.import_module": 'import importlib\n\nside = importlib.import_module("signing")\n',
    "os.environ": 'import os\n\npin = os.environ["PIN"]\n',
    "os.getenv": 'import os\n\npin = os.getenv("PIN")\n',
    "time.time": "import time\n\nnow = time.time()\n",
    "datetime.datetime.now": "import datetime as dt\n\nnow = dt.datetime.now(dt.UTC)\n",
    "datetime.datetime.utcnow": "from datetime import datetime\n\nnow = datetime.utcnow()\n",
    "datetime.datetime.today": "from datetime import datetime\n\nnow = datetime.today()\n",
}

ALLOWED = {
    "importlib.import_module": {"connectors/registry.py"},
    "os.environ": {"foundation/settings.py"},
    "os.getenv": {"foundation/settings.py"},
    "time.time": {"foundation/clock.py"},
    "datetime.datetime.now": {"foundation/clock.py"},
    "datetime.datetime.utcnow": set[str](),
    "datetime.datetime.today": set[str](),
}
"""Where a ban may be lifted, each on its line and with a reason."""


def banned() -> set[str]:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return set(rules["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])


def test_every_ban_has_a_seeded_violation() -> None:
    assert set(SEEDS) == banned() == set(ALLOWED)


@pytest.mark.parametrize("package", ["idp", "signing", "connectors", "launcher", "contract", "foundation"])
@pytest.mark.parametrize("api", sorted(SEEDS))
def test_a_banned_call_turns_red(api: str, package: str) -> None:
    done = tool(
        "ruff", "check", "--no-cache", "--select", "TID251", "--stdin-filename", f"{package}/seed.py", "-",
        cwd=ROOT, text=SEEDS[api],
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"`{api}` is banned" in done.stdout


def test_bans_are_lifted_only_where_the_architecture_says() -> None:
    lifted = {
        (str(path.relative_to(ROOT)), line.strip())
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "TID251" in line
    }
    places = set().union(*ALLOWED.values())
    assert {line for file, line in lifted if file not in places} == set()


def test_every_suppression_of_a_linter_has_its_reason_on_its_line() -> None:
    marker = re.compile(r"#\s*(noqa|type:\s*ignore|nosec|pragma: no cover)(?P<rest>.*)$")
    bare = []
    for name in (*PACKAGES, "tests"):
        for path in (ROOT / name).rglob("*.py"):
            if path == ROOT / "tests/architecture/test_banned_apis.py":
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                found = marker.search(line)
                if found is None:
                    continue
                # what remains once the rules' names are taken away is the reason
                reason = re.sub(r"^[:\s]*(\[[^\]]*\]|[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*)?", "", found["rest"])
                if not re.search(r"[a-z]{3,}", reason):
                    bare.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert bare == []
