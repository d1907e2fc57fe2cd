"""What the confined processes need is loaded before they are forked: later they may not find it any more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from documents.bounds import Bounds
from signing.ades.validate.policy import Circumstances, ValidationPolicy
from signing.validation.exchange import Task
from tests.unit.signing_ades.test_validate import World

ROOT = Path(__file__).parents[3]
_PROGRAM = """
import json, logging, sys
from pathlib import Path
import {worker} as worker
logging.disable()
worker.lower = lambda **_limits: None  # this process goes on
before = set(sys.modules)
for name in sys.argv[2:]:
    worker.work(Path(name).read_bytes(), sys.argv[1].encode())
files = {{name: getattr(sys.modules[name], "__file__", None) or "" for name in set(sys.modules) - before}}
here = str(Path.cwd())
print(json.dumps(sorted(name for name, file in files.items() if "site-packages" in file or file.startswith(here))))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def loaded_late(worker: str, argument: str, files: list[Path]) -> list[str]:
    """Modules of ours and of libraries that the work itself loads."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(worker=worker), argument, *map(str, files)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout)
    return found


def documents(world: World) -> list[bytes]:
    """At every level, and one with an octet changed where it was signed."""
    changed = bytearray(world.lasting)
    changed[changed.index(b"stream\n") + 8] ^= 1
    return [world.plain, world.stamped, world.lasting, world.archived, bytes(changed)]


def test_a_process_that_validates_loads_nothing_once_it_has_its_file(world: World, tmp_path: Path) -> None:
    policy, circumstances = ValidationPolicy((world.trust.root,)), Circumstances(world.trust.clock.now(), world.now)
    files = []
    for number, pdf in enumerate(documents(world)):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(Task(policy, circumstances, pdf).to_octets())
    assert loaded_late("signing.validation.worker", "", files) == []


def test_a_process_that_examines_loads_nothing_once_it_has_its_file(world: World, tmp_path: Path) -> None:
    files = []
    for number, pdf in enumerate(documents(world)):
        files.append(tmp_path / f"{number}.pdf")
        files[-1].write_bytes(pdf)
    assert loaded_late("documents.worker", Bounds().text(), files) == []
