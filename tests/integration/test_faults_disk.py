"""OPS-07, DOS-07: the disk is full.

The module's process may not let a file grow: to SQLite that is a disk that takes no more, and it needs neither a file
system of its own nor root.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from signing.link import codes
from signing.link.client import SamClient
from signing.storage.engine import open_engine
from tests.integration.sam_site import Site
from tests.integration.test_faults_database import Signing
from tests.integration.test_sam_kills import shimmed_site, signs, until
from tests.shim import Shim

pytestmark = pytest.mark.hsm


@contextmanager
def full(pid: int, octets: int) -> Iterator[None]:
    """No file of the process becomes longer than that."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (octets, hard))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def log_octets(site: Site) -> int:
    """Length of SQLite's write-ahead log."""
    return (site.directory / "sam.sqlite-wal").stat().st_size


def test_OPS_07_DOS_07_on_a_full_disk_nothing_is_signed_and_it_goes_on_once_there_is_room(
    shim: Shim, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'sam.sqlite'}"
    site, engine = shimmed_site(tmp_path, url, shim), open_engine(url)
    with site.serving() as process, SamClient(site.socket()) as client:
        until(lambda: signs(client))
        module = Signing(site, shim, client, engine)
        # At different places in what is written: at once, in the middle of the intent's pages, after it.
        seen: set[str] = set()
        for room in (0, 8, 16, 24, 32, 48, 64, 80, 96, 128, 1024):
            request, before = module.request(3), module.oracle.sent()
            with full(process.pid, log_octets(site) // 4096 * 4096 + room * 1024):
                said = module.ask(request)
                seen.add(said)
                made = (module.oracle.sent() - before).total()
                assert made in (0, 3)
                assert not made or said != codes.AUDIT_UNAVAILABLE
            # There is room again: what was not signed is had, once, and what was is not, whoever got it.
            again = module.ask(request)
            assert again == codes.SAD_USED if made else again in {"signed", codes.SAD_USED}
            assert again == "signed" or said != codes.AUDIT_UNAVAILABLE
            assert module.ask(request) == codes.SAD_USED
            assert module.ask(module.request()) == "signed"
        # All are 503 at the API; a COMMIT that failed is one of which nobody can tell.
        assert {codes.INDETERMINATE, "signed"} <= seen <= {codes.AUDIT_UNAVAILABLE, codes.INDETERMINATE, "signed"}
        # No half records: each intent and each outcome is whole, and the chain goes through them all.
        module.settle()
    engine.dispose()
