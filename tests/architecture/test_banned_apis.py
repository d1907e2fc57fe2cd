"""Ruff closes the escapes from the import rules, and each ban is seen to bite."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from tests.architecture.source import PACKAGES, ROOT, tool

SEEDS = {
    "importlib.import_module": 'import importlib\n\nside = importlib.import_module("signing")\n',
    "importlib.metadata.entry_points": "from importlib import metadata\n\nfound = metadata.entry_points()\n",
    "importlib.metadata.distribution": "from importlib.metadata import distribution\n\nd = distribution('x')\n",
    "importlib.metadata.distributions": "import importlib.metadata\n\nd = importlib.metadata.distributions()\n",
    "importlib.metadata.EntryPoint": "from importlib.metadata import EntryPoint\n\nEntryPoint('a', 'b', 'c').load()\n",
    "importlib.util": "import importlib.util\n",
    "importlib.machinery": "from importlib.machinery import SourceFileLoader\n",
    "pkgutil.resolve_name": 'import pkgutil\n\nside = pkgutil.resolve_name("signing")\n',
    "runpy": "import runpy\n",
    "os.environ": 'import os\n\npin = os.environ["PIN"]\n',
    "os.environb": 'import os\n\npin = os.environb[b"PIN"]\n',
    "os.getenv": 'import os\n\npin = os.getenv("PIN")\n',
    "os.getenvb": 'import os\n\npin = os.getenvb(b"PIN")\n',
    "time.time": "import time\n\nnow = time.time()\n",
    "time.time_ns": "import time\n\nnow = time.time_ns()\n",
    "datetime.date.today": "import datetime as dt\n\nnow = dt.date.today()\n",
    "datetime.datetime.now": "import datetime as dt\n\nnow = dt.datetime.now(dt.UTC)\n",
    "datetime.datetime.utcnow": "from datetime import datetime\n\nnow = datetime.utcnow()\n",
    "datetime.datetime.today": "from datetime import datetime\n\nnow = datetime.today()\n",
}

ALLOWED = {
    "importlib.metadata.entry_points": {"connectors/registry.py"},
    "importlib.metadata.distribution": {"launcher/cli.py"},
    "importlib.metadata.EntryPoint": {"launcher/cli.py"},
    "os.environ": {"foundation/settings.py"},
    "time.time": {"foundation/clock.py", "clients/csc/keys.py"},
    "datetime.datetime.now": {"foundation/clock.py"},
}
"""Where a ban may be lifted, each on its line and with a reason."""


def banned() -> set[str]:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return set(rules["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])


def test_every_ban_has_a_seeded_violation() -> None:
    assert set(SEEDS) == banned()
    assert set(ALLOWED) <= banned()


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


def own_imports(tree: ast.AST) -> list[int]:
    """Lines that use ``__import__``, which ruff's rule does not see; it refuses ``eval`` and ``exec`` otherwise."""
    return [
        getattr(node, "lineno", 0)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id == "__import__")
        or (isinstance(node, ast.Attribute) and node.attr == "__import__")
    ]


def test_nothing_is_imported_by_the_builtin_function() -> None:
    assert own_imports(ast.parse('__import__("signing")\nimport builtins\nbuiltins.__import__("signing")')) == [1, 3]
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
        for line in own_imports(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


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
