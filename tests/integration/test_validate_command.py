"""``privyseal validate``, with its confined process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from foundation.clock import FixedClock
from signing.validation.command import main
from tests.unit.signing_ades.test_validate import World, world

__all__ = ["world"]


def run(world: World, tmp_path: Path, *pdfs: bytes, more: tuple[str, ...] = ()) -> int:
    anchor = tmp_path / "root.pem"
    certificate = x509.load_der_x509_certificate(world.trust.root)
    anchor.write_bytes(certificate.public_bytes(Encoding.PEM))
    names = []
    for number, pdf in enumerate(pdfs):
        (tmp_path / f"{number}.pdf").write_bytes(pdf)
        names.append(str(tmp_path / f"{number}.pdf"))
    return main([*names, "--trust", str(anchor), *more], FixedClock(world.trust.clock.now()))


def test_the_command_tells_by_its_exit_code(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    altered = world.archived.replace(b"(one page)", b"(two page)")
    assert run(world, tmp_path, world.archived) == 0
    assert "TOTAL_PASSED" in capsys.readouterr().out
    assert run(world, tmp_path, world.archived, world.plain) == 3
    assert run(world, tmp_path, altered, world.plain) == 1
    capsys.readouterr()
    assert run(world, tmp_path, world.archived, altered, more=("--json",)) == 1
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["signatures"][0]["level"], good["verdict"]) == ("B-LTA", {"indication": "TOTAL_PASSED"})
    assert bad["signatures"][0]["verdict"]["sub_indication"] == "HASH_FAILURE"
    assert run(world, tmp_path, world.plain, more=("--revocation", "none")) == 0
    assert main([str(tmp_path / "0.pdf"), "--trust", str(tmp_path / "missing.pem")]) == 2
    assert main([str(tmp_path / "missing.pdf"), "--trust", str(tmp_path / "root.pem")]) == 2
