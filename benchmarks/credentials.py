"""Does a signature cost more, the more credentials there are?

The activation itself (SAD to values), without web tier and link, on PostgreSQL with durable commits and SoftHSM2, in
one process with its device processes, at 100, 10,000 and 1,000,000 credentials.  All rows are real: each has its own
id, owner and MAC, made by the token; they share a wrapped key and a certificate.  Two costs are measured at each size,
in processor time over all parts, one signature after another:

* first: 100 people whom the process has not seen before, drawn anew in each round: their rows are read and verified;
* again: the same people once more, whose rows the process remembers.

No key is kept at hand (device.key_cache = 0): each signature unwraps one.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import psycopg

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
"""How much more than at the smallest size a signature may cost and still count as the same: what rounds differ by."""
_PEOPLE: Final = 100
_BATCH: Final = 20_000
_ROOT: Final = Path(__file__).resolve().parents[1]

_EPILOG: Final = """exit codes:
  0  measured, and the cost is flat
  1  measured, and it is not
  2  the command line cannot be used
  3  not measured
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one signature, in the round that cost least: what other programs add is not the signature's."""

    credentials: int
    which: str
    """``first`` or ``again``."""
    cpu_ms: float
    """Processor time over all parts."""
    cpu_ms_by_part: dict[str, float]
    wall_ms: float
    median_cpu_ms: float
    most_cpu_ms: float
    """Of all rounds."""
    ratio: float
    """``cpu_ms`` over that at the smallest size."""


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


def costs(measured: dict[int, Sequence[Round]]) -> list[Cost]:
    """The costs at each size, with their ratios to the smallest.  Pure."""
    found: list[Cost] = []
    for which in ("first", "again"):
        smallest: float | None = None
        for size in sorted(measured):
            rounds = [each for each in measured[size] if each.which == which]
            each_ms = [one.cpu_ms for one in rounds]
            least = min(rounds, key=lambda one: one.cpu_ms)
            smallest = least.cpu_ms if smallest is None else smallest
            found.append(
                Cost(
                    credentials=size,
                    which=which,
                    cpu_ms=round(least.cpu_ms, 3),
                    cpu_ms_by_part={
                        part: round(seconds * 1000 / least.count, 3) for part, seconds in least.cpu_seconds.items()
                    },
                    wall_ms=round(least.wall_seconds * 1000 / least.count, 3),
                    median_cpu_ms=round(statistics.median(each_ms), 3),
                    most_cpu_ms=round(max(each_ms), 3),
                    ratio=round(least.cpu_ms / smallest, 3),
                )
            )
    return found


def requirement(found: Sequence[Cost]) -> Requirement:
    """Whether the cost is flat."""
    most = max(each.ratio for each in found)
    return Requirement(f"at no size more than {FLAT} times the smallest one's cost (most: {most})", most <= FLAT)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.credentials",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--most", type=int, default=SIZES[-1], help="leave larger sizes out (default %(default)s)")
    command.add_argument("--rounds", type=int, default=5, help="rounds of 100 signatures (default %(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; see ``--help`` for the exit codes."""
    options = parser().parse_args(argv)
    if options.most < SIZES[0] or not 1 <= options.rounds <= 50:
        print("error: --most is at least 100, --rounds 1 to 50", file=sys.stderr)
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
    """Fill a database step by step, and sign at each."""
    with private_directory() as directory, durable_database() as database:
        settings = replace(make_token(directory), key_cache=0)
        machine = describe(postgresql=f"{database.version}, fsync on")
        with Pkcs11Device(settings) as device:
            world = make_world(database.url, device)
            try:
                measured = _measured(world, settings, database, directory, options)
            finally:
                world.engine.dispose()
    found = costs(measured)
    needed = requirement(found)
    return {
        "benchmark": "credentials",
        "at": SystemClock().now().isoformat(timespec="seconds"),
        "machine": dict(machine),
        "costs": [asdict(each) for each in found],
        "requirements": [asdict(needed)],
        "good": needed.met,
    }


def _measured(
    world: World, settings: DeviceSettings, database: Database, directory: Path, options: argparse.Namespace
) -> dict[int, Sequence[Round]]:
    processes = Processes(directory)
    processes.add_guest("postgresql", database.pid)
    template = world.credential()
    filling = _Filling(world, settings, database, directory / "template", template)
    measured: dict[int, Sequence[Round]] = {}
    present = 0
    for size in (each for each in SIZES if each <= options.most):
        filling.add(present, size)
        present = size
        say(f"{size:,} credentials: anchor, and a process that looks at it")
        filling.anchor()
        # Another process: it knows the anchor's versions and has opened no row.
        process = replace(world, seen=Seen())
        process.anchor.check()
        _sign(process, process.activator(), _drawn(size), template, processes)
        say(f"{size:,} credentials: {options.rounds} x {_PEOPLE} signatures, twice")
        rounds: list[Round] = []
        for _ in range(options.rounds):
            storage_rows._parsed.cache_clear()  # what another process would not have either
            activator, people = process.activator(), _drawn(size)
            for which in ("first", "again"):
                rounds.append(_sign(process, activator, people, template, processes, which=which))
        measured[size] = rounds
    return measured


def _drawn(size: int) -> list[int]:
    return random.sample(range(size), _PEOPLE)


def _sign(
    world: World,
    activator: Activator,
    people: Sequence[int],
    template: Credential,
    processes: Processes,
    *,
    which: str = "warm-up",
) -> Round:
    requests = [
        world.request(world.sad(replace(template, id=id_of(each), owner=owner_of(each)), (secrets.token_bytes(32),)))
        for each in people
    ]
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
        self, world: World, settings: DeviceSettings, database: Database, path: Path, template: Credential
    ) -> None:
        self._world = world
        self._settings = settings
        self._url = database.url.replace("+psycopg", "", 1)
        self._path = path
        self._template = template
        self._octets = mac_octets(replace(template, id=TEMPLATE_ID, owner=TEMPLATE_OWNER))
        path.write_bytes(self._octets)

    def add(self, first: int, after: int) -> None:
        """Rows from one number to before another; the table is then as tidy as a server keeps it."""
        for begin in range(first, after, _BATCH):
            end = min(after, begin + _BATCH)
            self._insert(range(begin, end), self._tags(begin, end))
            say(f"{end:,} of {after:,} rows")
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

    def _tags(self, first: int, after: int) -> list[bytes]:
        settings = self._settings
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
            f"{each['credentials']:>9,} credentials, {each['which']}: {each['cpu_ms']:.2f} ms of processor time "
            f"(median {each['median_cpu_ms']:.2f}, most {each['most_cpu_ms']:.2f}), {each['wall_ms']:.1f} ms; "
            f"ratio to the smallest {each['ratio']:.2f}",
            f"            {parts}",
        ]
    lines.append("")
    lines += [f"{'met' if item['met'] else 'NOT MET'}: {item['text']}" for item in report["requirements"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
