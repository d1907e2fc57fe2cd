"""The top level of the repository holds what the architecture names, and nothing that no rule watches."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from launcher.toml import dumps
from tests.architecture.source import PACKAGES, ROOT, committed, config

MODULES = {"wsgi.py"}
NO_CODE = {"docs", "requirements", "script", "deploy", "var", "build", "dist", "htmlcov"}
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


NOT_SHIPPED = {
    "idp/web/locales/babel.cfg", "portal/web/locales/babel.cfg", "clients/csc/README.md", "clients/csc/pyproject.toml",
}  # fmt: skip
"""Committed below the packages, and not for who installs the product: how the translators' catalogues are extracted,
and the client's own packaging."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the committed files alone."""
    place = tmp_path_factory.mktemp("wheel")
    for path in committed():
        copy = place / "source" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], cwd=place / "source", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (made,) = place.glob("*.whl")
    return made


def test_the_wheel_holds_the_committed_files_of_the_packages_and_nothing_else(wheel: Path) -> None:
    shipped = {*(set(PACKAGES) - {"benchmarks", "examples"}), *MODULES}
    wanted = {name for name in (str(path.relative_to(ROOT)) for path in committed()) if name.split("/")[0] in shipped}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert packed == wanted - NOT_SHIPPED


VISIT = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import idp, signing
from foundation.settings import load
from idp.app import create_app
from idp.cli.administration import main
from idp.settings import IdpSettings

assert Path(idp.__file__).is_relative_to(sys.argv[1]), idp.__file__
assert main(["init", "--config", "idp.toml"]) == 0
browser = create_app(load(IdpSettings, Path("idp.toml"), prefix="IDP")).test_client()
page = browser.get("/account/", follow_redirects=True, headers={"Accept-Language": "es"})
assert page.status_code == 200 and 'lang="es"' in page.text and "Contrase" in page.text, page.text
assert browser.get("/static/style.css").status_code == 200
assert (Path(signing.__file__).parent / "static" / "logo.png").read_bytes()
"""


def test_the_wheel_serves_the_sign_in_page_in_a_persons_language(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    settings = {
        "mode": "development",
        "issuer": "http://idp.localhost:8401",
        "database_url": f"sqlite:///{tmp_path / 'idp.sqlite'}",
        "key_dir": "keys",
        "policy_file": unpacked / "policies" / "default.yaml",
        "signing": {"csc_base": "http://sign.localhost:8402/csc/v2", "sam_id": "urn:privyseal:sam:test"},
    }
    (tmp_path / "idp.toml").write_text(dumps(settings), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", VISIT, str(unpacked)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def imported(node: ast.AST) -> set[str]:
    """Top-level names that the code imports."""
    names: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            names |= {alias.name.split(".")[0] for alias in child.names}
        elif isinstance(child, ast.ImportFrom) and child.module:
            names.add(child.module.split(".")[0])
    return names


SIDES = [("idp", "idp", "signing"), ("signing", "signing", "idp"), ("portal", "portal", "idp")]


@pytest.mark.parametrize(("factory", "side", "other"), SIDES)
def test_wsgi_factories_import_their_own_side_only(factory: str, side: str, other: str) -> None:
    # import-linter refuses a module as root package, so wsgi.py is read here
    tree = ast.parse((ROOT / "wsgi.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    outside = ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef)], [])
    assert not imported(outside) & set(PACKAGES)
    assert side in imported(functions[factory])
    assert other not in imported(functions[factory])
