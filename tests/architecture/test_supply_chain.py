"""Dependencies: locked by hash, above the versions with known holes, and nothing of the machine that made the files."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.architecture.source import ROOT, committed, config

LOCKS = ("runtime", "demo", "dev", "tools")

FLOORS = {
    "Flask": "3.1.3",
    "Werkzeug": "3.1.6",
    "lxml": "6.1.0",
    "signxml": "5.0.1",
    "Authlib": "1.9.0",
    "gunicorn": "23.0.0",
}
"""Below these are known vulnerabilities. What is not locked is not used; if it comes, it comes above its floor."""


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(name): pinned for name, pinned in found}


def blocks(lock: str) -> list[str]:
    """One block of text a requirement."""
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    return re.split(r"\n(?=[A-Za-z0-9])", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_SUP_01_every_locked_requirement_has_an_exact_version_and_hashes(lock: str) -> None:
    for block in blocks(lock):
        first = block.splitlines()[0]
        assert re.match(r"^[A-Za-z0-9._-]+(\[[^\]]*\])?==\S+( ; .*)? \\$", first), first
        assert re.search(r"^    --hash=sha256:[0-9a-f]{64}", block, re.MULTILINE), first


@pytest.mark.parametrize("lock", LOCKS)
def test_SUP_01_a_lock_names_no_host_and_no_path(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|--index-url|--find-links|file:|@ ", text)
    mentioned = set(re.findall(r"-[rc] (\S+)", text))
    assert mentioned <= {f"requirements/{name}.{kind}" for name in LOCKS for kind in ("in", "lock")}


def test_the_larger_locks_contain_the_smaller_ones() -> None:
    # script/lib.sh relies on it: one environment serves the product, the demo and the tests
    assert pins("runtime").items() <= pins("demo").items() <= pins("dev").items()


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("name", sorted(FLOORS))
def test_SUP_02_no_locked_version_has_a_known_hole(lock: str, name: str) -> None:
    pinned = pins(lock).get(canonicalize_name(name))
    assert pinned is None or Version(pinned) >= Version(FLOORS[name])


@pytest.mark.parametrize("name", ["Flask", "Werkzeug", "lxml", "Authlib"])
def test_SUP_02_what_is_installed_is_what_is_locked(name: str) -> None:
    assert version(name) == pins("runtime")[canonicalize_name(name)]


def test_SUP_02_the_distribution_asks_for_no_less_than_the_floors() -> None:
    wanted = [Requirement(line) for line in config()["options"]["install_requires"].split("\n") if line.strip()]
    floors = {canonicalize_name(name): floor for name, floor in FLOORS.items()}
    for requirement in wanted:
        lowest = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
        assert lowest, f"{requirement} has no floor"
        assert lowest[0] >= Version(floors.get(canonicalize_name(requirement.name), "0"))
        assert requirement.specifier.contains(pins("runtime")[canonicalize_name(requirement.name)])


def test_what_we_put_functions_of_ours_into_is_asked_for_in_the_version_that_was_looked_into() -> None:
    # signing/ades/pades.py: what is inside a library may be another thing in its next version
    lines = [line for line in config()["options"]["install_requires"].split("\n") if line.strip()]
    wanted = {each.name: each.specifier for each in map(Requirement, lines)}
    pinned = Version(pins("runtime")["pyhanko"])
    assert not wanted["pyHanko"].contains(f"{pinned.major}.{pinned.minor + 1}.0")


def test_xmlsec_and_lxml_share_one_libxml2() -> None:
    # their wheels bring their own copies; no resolver compares them, and a mismatch fails when the module is loaded
    import xmlsec
    from lxml import etree

    assert xmlsec.get_libxml_version()[:2] == etree.LIBXML_COMPILED_VERSION[:2]


TEXT = {".py", ".sh", ".md", ".cfg", ".toml", ".yaml", ".yml", ".json", ".html", ".txt", ".in", ".lock", ""}


def test_no_committed_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    home = re.escape(str(Path.home()))
    parents = {str(ROOT), str(ROOT.parent)} - {"/", "/tmp", "/home", "/opt", "/srv", "/usr/src"}
    places = [*(re.escape(parent) + "/" for parent in sorted(parents)), home + r"/\.", "/home/[a-z]+/"]
    here = re.compile("|".join(places))
    named = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in committed()
        if path.suffix in TEXT and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if here.search(line)
    ]
    assert named == []
