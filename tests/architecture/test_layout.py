"""The top level of the repository holds what the architecture names, and nothing that no rule watches."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, ROOT, config

MODULES = {"wsgi.py"}
NO_CODE = {"docs", "requirements", "script", "deploy", "clients", "var", "build", "dist", "htmlcov"}
"""Folders without Python code of the product; `var` and the last three are made here and never committed."""


def unlisted(root: Path) -> set[str]:
    """Top-level packages and modules that no rule knows."""
    found = {path.name for path in root.glob("*.py")} - MODULES
    for folder in root.iterdir():
        if not folder.is_dir() or folder.name.startswith(".") or folder.name.endswith(".egg-info"):
            continue
        if folder.name == "__pycache__" or folder.name in NO_CODE | {*PACKAGES, "tests"}:
            continue
        found.add(folder.name)
    return found


def test_every_top_level_package_is_listed() -> None:
    assert unlisted(ROOT) == set()


def test_every_listed_package_is_there() -> None:
    assert [name for name in PACKAGES if not (ROOT / name / "__init__.py").is_file()] == []


@pytest.mark.parametrize("seed", ["helpers/__init__.py", "namespace/deep/module.py", "stray.py"])
def test_an_unlisted_package_turns_red(tmp_path: Path, seed: str) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
    assert unlisted(tmp_path) == set()
    (tmp_path / seed).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / seed).write_text("", encoding="utf-8")
    assert unlisted(tmp_path) == {Path(seed).parts[0]}


def test_every_folder_with_code_is_a_package() -> None:
    # import-linter and setuptools do not see a folder without __init__.py
    missing = [
        str(path.parent.relative_to(ROOT))
        for name in (*PACKAGES, "tests")
        for path in (ROOT / name).rglob("*.py")
        if not (path.parent / "__init__.py").is_file()
    ]
    assert missing == []


def test_what_is_shipped_is_what_is_listed() -> None:
    shipped = {pattern.rstrip("*") for pattern in config()["options.packages.find"]["include"].split()}
    assert shipped == set(PACKAGES) - {"benchmarks", "examples"}


def test_no_data_file_of_a_package_is_left_out_of_the_distribution() -> None:
    patterns = [part.strip() for part in config()["options.package_data"]["*"].split(",")]
    kept = {".py", ".pyc", ".md", ".cfg"}  # .cfg: how translators' catalogues are extracted
    left_out = [
        str(path.relative_to(ROOT))
        for name in set(PACKAGES) - {"benchmarks", "examples"}
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix not in kept and not any(path.match(pattern) for pattern in patterns)
    ]
    assert left_out == []


def imported(node: ast.AST) -> set[str]:
    """Top-level names that the code imports."""
    names: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            names |= {alias.name.split(".")[0] for alias in child.names}
        elif isinstance(child, ast.ImportFrom) and child.module:
            names.add(child.module.split(".")[0])
    return names


@pytest.mark.parametrize(("factory", "side", "other"), [("idp", "idp", "signing"), ("signing", "signing", "idp")])
def test_wsgi_factories_import_their_own_side_only(factory: str, side: str, other: str) -> None:
    # import-linter refuses a module as root package, so wsgi.py is read here
    tree = ast.parse((ROOT / "wsgi.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    outside = ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef)], [])
    assert not imported(outside) & set(PACKAGES)
    assert side in imported(functions[factory])
    assert other not in imported(functions[factory])
