"""What the architecture tests look at: the repository's root, its packages, and a temporary copy to break."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = (
    "anchoring",
    "archive",
    "auditlog",
    "benchmarks",
    "clients",
    "connectors",
    "contract",
    "devservices",
    "documents",
    "examples",
    "foundation",
    "idp",
    "launcher",
    "operators",
    "policies",
    "portal",
    "signing",
)
"""The top-level packages that import-linter watches; `tests` is the only other one."""


def config() -> configparser.ConfigParser:
    """setup.cfg as import-linter reads it."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def contracts() -> dict[str, str]:
    """The import contracts: id to name."""
    prefix = "importlinter:contract:"
    parser = config()
    return {
        section.removeprefix(prefix): parser[section]["name"]
        for section in parser.sections()
        if section.startswith(prefix)
    }


def copy_packages(target: Path) -> Path:
    """A copy of the packages and their rules, to be broken on purpose."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.html", "*.png"))
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, target / name)
    return target


def tool(name: str, *arguments: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a linter of this environment."""
    program = Path(sys.executable).parent / name
    return subprocess.run([str(program), *arguments], cwd=cwd, input=text, capture_output=True, text=True, check=False)


def committed() -> list[Path]:
    """The files under version control, or all files where the sources were unpacked without it."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout:
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".venv", "var", ".git", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not skipped & set(path.relative_to(ROOT).parts)]
