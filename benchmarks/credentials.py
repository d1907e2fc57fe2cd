"""Does a signature cost more, the more credentials there are?

The activation itself (SAD to values), without web tier and link, on PostgreSQL with durable commits and SoftHSM2, in
one process with its device processes, at 100, 10,000 and 1,000,000 credentials: one server, and for each size a
database and a token of its own, so that all sizes are measured in turns.  All rows are real: each has its own id, owner
and MAC, made by the token; they share a wrapped key and a certificate.  Two costs are measured at each size, in
processor time over all parts, one signature after another:

* first: 100 people whom the process has not seen before, drawn anew in each block: their rows are read and verified;
* again: the same people once more, whose rows the process remembers.

No key is kept at hand (device.key_cache = 0): each signature unwraps one.

In each block every size has its turn, in an order that is drawn; one block before counts for nothing.  A size's ratio
is the median over the blocks of its cost over that of the smallest size in the same block, so that what other programs
do to a block is done to both.  Beside it stands the interval in which the true median lies with 95 % confidence (that
of the sign test, by ranks; it supposes nothing of the noise).  The rule: flat if no interval reaches above 1.25; not
flat if one lies above it as a whole; otherwise the run was too noisy to tell, and counts as not met.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy.engine import make_url

from benchmarks.machine import describe
from benchmarks.measure import Requirement
from benchmarks.processes import Processes, end_in_order
from benchmarks.rows import TEMPLATE_ID, TEMPLATE_OWNER, id_of, octets_of, owner_of
from benchmarks.stand import Database, durable_database, private_directory, say
from foundation.clock import SystemClock
from foundation.errors import PrivySealError
from signing.sam.activate import Activator
from signing.sam.anchor import label_of, sealed, sum_of, versions_key
from signing.sam.credential import Credential, mac_octets
from signing.sam.custody import Seen
from signing.scdev.device import Pkcs11Device
from signing.scdev.settings import DeviceSettings
from signing.storage import rows as storage_rows
from tests.fakes.sam import REALM, World, make_world
from tests.fakes.softhsm import make_token

SIZES: Final = (100, 10_000, 1_000_000)
FLAT: Final = 1.25
"""How much more than at the smallest size a signature may cost and still count as the same."""
CONFIDENCE: Final = 0.95
FEWEST: Final = 6
"""Blocks: with fewer no interval of ranks is that sure."""
_PEOPLE: Final = 100
_BATCH: Final = 20_000
_ROOT: Final = Path(__file__).resolve().parents[1]

_EPILOG: Final = """exit codes:
  0  measured, and the cost is flat
  1  measured, and it is not, or nobody can tell
  2  the command line cannot be used
  3  not measured
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one signature, medians over the blocks."""

    credentials: int
    which: str
    """``first`` or ``again``."""
    cpu_ms: float
    """Processor time over all parts."""
    cpu_ms_by_part: dict[str, float]
    wall_ms: float
    least_cpu_ms: float
    most_cpu_ms: float
    blocks: int
    ratio: float
    """To the smallest size, block by block."""
    ratio_low: float
    ratio_high: float
    """Where the ratio's true median lies, with 95 % confidence."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round's signatures."""

    which: str
    count: int
    cpu_seconds: dict[str, float]
    wall_seconds: float

    @property
    def cpu_ms(self) -> float:
        """Of one."""
        return sum(self.cpu_seconds.values()) * 1000 / self.count


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the median of what they are drawn from lies, with 95 % confidence.  Pure.

    Of n values as many are below the median as heads are thrown with n coins: so many ranks are left out at either end
    as both together come up in no more than 5 % of all throws.

    :raises ValueError: too few values to be so sure.
    """
    count = len(values)
    outside, tail = 0, 0
    while 2 * (tail + math.comb(count, outside)) <= (1 - CONFIDENCE) * 2**count:
        tail += math.comb(count, outside)
        outside += 1
    if outside == 0:
        raise ValueError(f"fewer than {FEWEST} blocks")
    ordered = sorted(values)
    return ordered[outside - 1], ordered[count - outside]


def costs(measured: dict[int, Sequence[Round]]) -> list[Cost]:
    """The costs at each size, with their ratios to the smallest in the same block.  Pure.

    :param measured: by size; rounds of each kind stand in the order of their blocks.
    """
    found: list[Cost] = []
    for which in ("first", "again"):
        smallest = [each.cpu_ms for each in measured[min(measured)] if each.which == which]
        for size in sorted(measured):
            rounds = [each for each in measured[size] if each.which == which]
            each_ms = [one.cpu_ms for one in rounds]
            ratios = [one / base for one, base in zip(each_ms, smallest, strict=True)]
            low, high = interval(ratios)
            parts = sorted({part for one in rounds for part in one.cpu_seconds})
            found.append(
                Cost(
                    credentials=size,
                    which=which,
                    cpu_ms=_median(each_ms),
                    cpu_ms_by_part={
                        part: _median([one.cpu_seconds.get(part, 0.0) * 1000 / one.count for one in rounds])
                        for part in parts
                    },
                    wall_ms=_median([one.wall_seconds * 1000 / one.count for one in rounds]),
                    least_cpu_ms=round(min(each_ms), 3),
                    most_cpu_ms=round(max(each_ms), 3),
                    blocks=len(rounds),
                    ratio=_median(ratios),
                    ratio_low=round(low, 3),
                    ratio_high=round(high, 3),
                )
            )
    return found


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def requirement(found: Sequence[Cost]) -> Requirement:
    """Whether the cost is flat."""
    text = f"at no size more than {FLAT} times the smallest one's cost"
    if any(each.ratio_low > FLAT for each in found):
        return Requirement(f"{text} (it is more)", met=False)
    if any(each.ratio_high > FLAT for each in found):
        return Requirement(f"{text} (too noisy to tell: more blocks, or a quieter machine)", met=False)
    most = max(each.ratio_high for each in found)
    return Requirement(f"{text} (no interval above {most})", met=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.credentials",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--most", type=int, default=SIZES[-1], help="leave larger sizes out (default %(default)s)")
    command.add_argument("--blocks", type=int, default=30, help="of 200 signatures a size (default %(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; see ``--help`` for the exit codes."""
    options = parser().parse_args(argv)
    if options.most < SIZES[0] or not FEWEST <= options.blocks <= 100:
        print(f"error: --most is at least 100, --blocks {FEWEST} to 100", file=sys.stderr)
        return 2
    end_in_order()
    try:
        report = measure(options)
    except (PrivySealError, RuntimeError, psycopg.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print(json.dumps(report, indent=2) if options.json else _text(report))
    return 0 if report["good"] else 1


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Fill a database for each size, and sign at all in turns."""
    with private_directory() as directory, durable_database() as database, ExitStack() as stack:
        machine = describe(postgresql=f"{database.version}, fsync on")
        processes = Processes(directory)
        processes.add_guest("postgresql", database.pid)
        sites = [
            stack.enter_context(_site(size, database, directory / str(size)))
            for size in SIZES
            if size <= options.most
        ]
        found = costs(_measured(sites, processes, options.blocks))
    needed = requirement(found)
    return {
        "benchmark": "credentials",
        "at": SystemClock().now().isoformat(timespec="seconds"),
        "machine": dict(machine),
        "costs": [asdict(each) for each in found],
        "requirements": [asdict(needed)],
        "good": needed.met,
    }


@dataclass(frozen=True, slots=True)
class _Site:
    """A module with that many credentials."""

    size: int
    world: World
    template: Credential


@contextmanager
def _site(size: int, server: Database, directory: Path) -> Iterator[_Site]:
    directory.mkdir(mode=0o700)
    name = f"credentials_{size}"
    with psycopg.connect(server.url.replace("+psycopg", "", 1), autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name}".encode())
    url = make_url(server.url).set(database=name).render_as_string(hide_password=False)
    settings = replace(make_token(directory), key_cache=0)
    with Pkcs11Device(settings) as device:
        world = make_world(url, device)
        try:
            template = world.credential()
            filling = _Filling(world, settings, url, directory / "template", template)
            filling.add(size)
            say(f"{size:,} credentials: anchor, and a process that looks at it")
            filling.anchor()
            # Another process: it knows the anchor's versions and has opened no row.  Its clock stands still, so that no
            # look at the anchor comes between the signatures.
            process = replace(world, seen=Seen())
            process.anchor.check()
            yield _Site(size, process, template)
        finally:
            world.engine.dispose()


def _measured(sites: Sequence[_Site], processes: Processes, blocks: int) -> dict[int, Sequence[Round]]:
    measured: dict[int, list[Round]] = {site.size: [] for site in sites}
    for block in range(blocks + 1):
        say(f"block {block} of {blocks}" if block else "a block that counts for nothing")
        for site in random.sample(sites, len(sites)):
            rounds = _turn(site, processes)
            if block:
                measured[site.size] += rounds
    return dict(measured)


def _turn(site: _Site, processes: Processes) -> list[Round]:
    storage_rows._parsed.cache_clear()  # what another process would not have either
    activator, people = site.world.activator(), _drawn(site.size)
    return [_sign(site, activator, people, processes, which) for which in ("first", "again")]


def _drawn(size: int) -> list[int]:
    return random.sample(range(size), _PEOPLE)


def _sign(site: _Site, activator: Activator, people: Sequence[int], processes: Processes, which: str) -> Round:
    world = site.world
    credentials = [replace(site.template, id=id_of(each), owner=owner_of(each)) for each in people]
    requests = [world.request(world.sad(each, (secrets.token_bytes(32),))) for each in credentials]
    before, began = processes.cpu_seconds(), time.perf_counter()
    for request in requests:
        activator.sign(request)
    spent, after = time.perf_counter() - began, processes.cpu_seconds()
    by_part = {part: after[part] - before.get(part, 0.0) for part in after}
    # This process is driver and module at once.
    by_part["module"] = by_part.pop("driver")
    return Round(which, len(people), by_part, spent)


class _Filling:
    """Puts credentials into the database that are like one of its own."""

    def __init__(
        self, world: World, settings: DeviceSettings, url: str, path: Path, template: Credential
    ) -> None:
        self._world = world
        self._settings = settings
        self._url = url.replace("+psycopg", "", 1)
        self._path = path
        self._template = template
        self._octets = mac_octets(replace(template, id=TEMPLATE_ID, owner=TEMPLATE_OWNER))
        path.write_bytes(self._octets)

    def add(self, count: int) -> None:
        """So many rows; the table is then as tidy as a server keeps it."""
        batches = [range(begin, min(count, begin + _BATCH)) for begin in range(0, count, _BATCH)]
        with ThreadPoolExecutor(1) as ahead:
            # The token makes the next batch's tags while the database takes this one's rows.
            following = ahead.submit(self._tags, batches[0])
            for number, batch in enumerate(batches):
                tags = following.result()
                if number + 1 < len(batches):
                    following = ahead.submit(self._tags, batches[number + 1])
                self._insert(batch, tags)
                say(f"{batch.stop:,} of {count:,} rows")
        with psycopg.connect(self._url, autocommit=True) as link:
            link.execute("VACUUM (ANALYZE) credentials")
            link.execute("CHECKPOINT")

    def anchor(self) -> None:
        """Make the token's anchor that of the database as it is now."""
        device, store = self._world.device, self._world.store
        (written,) = device.read_data(label_of(REALM))
        latest = self._world.anchor.latest()
        with store.standing(locked=True) as standing:
            versions = sum_of(versions_key(device, REALM), standing.versions())
            device.remove_data(label_of(REALM), written)
            device.add_data(label_of(REALM), sealed(replace(latest, versions=versions, head=standing.head), device))

    def _tags(self, numbers: range) -> list[bytes]:
        settings, first, after = self._settings, numbers.start, numbers.stop
        made = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.row_macs", "--module", str(settings.module),
                "--label", settings.token_label, "--pin-file", str(settings.pin_file),
                "--template", str(self._path), "--first", str(first), "--after", str(after),
            ],
            cwd=_ROOT, env=dict(settings.environment), stdin=subprocess.DEVNULL, capture_output=True, check=True,
        ).stdout  # fmt: skip
        tags = [made[at : at + 32] for at in range(0, len(made), 32)]
        # What the helper makes is what the module would: looked at for the first of each batch.
        like = replace(self._template, id=id_of(first), owner=owner_of(first))
        if octets_of(self._octets, first) != mac_octets(like) or len(tags) != after - first:
            raise RuntimeError("the rows' tags are not over their octets")
        self._world.device.verify_mac(mac_octets(like), tags[0])
        return tags

    def _insert(self, numbers: range, tags: Sequence[bytes]) -> None:
        columns = [name for name in storage_rows.COLUMNS if name not in {"id", "owner", "mac"}]
        with psycopg.connect(self._url) as link, link.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE filled (id text, owner text, mac bytea) ON COMMIT DROP")
            with cursor.copy("COPY filled FROM STDIN") as copy:
                for number, tag in zip(numbers, tags, strict=True):
                    copy.write_row((id_of(number), owner_of(number), tag))
            names = ", ".join(columns)
            cursor.execute(
                f"INSERT INTO credentials (id, owner, mac, {names})"
                f" SELECT f.id, f.owner, f.mac, {', '.join(f'c.{name}' for name in columns)}"
                " FROM filled f CROSS JOIN credentials c WHERE c.id = %s".encode(),
                (self._template.id,),
            )


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['benchmark']}, {report['at']}", ""]
    lines += [f"  {name}: {value}" for name, value in report["machine"].items()]
    lines.append("")
    for each in report["costs"]:
        parts = ", ".join(f"{part} {spent:.2f}" for part, spent in each["cpu_ms_by_part"].items())
        lines += [
            f"{each['credentials']:>9,} credentials, {each['which']}: {each['cpu_ms']:.2f} ms of processor time, "
            f"median of {each['blocks']} ({each['least_cpu_ms']:.2f} to {each['most_cpu_ms']:.2f}), "
            f"{each['wall_ms']:.1f} ms",
            f"            ratio to the smallest {each['ratio']:.3f}, with 95 % confidence {each['ratio_low']:.3f} to"
            f" {each['ratio_high']:.3f}; {parts}",
        ]
    lines.append("")
    lines += [f"{'met' if item['met'] else 'NOT MET'}: {item['text']}" for item in report["requirements"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
