#!/usr/bin/env python3
"""Verify an exported audit chain and its anchors without the software that wrote them.

    python3 standalone.py [--anchors anchors.jsonl [--tsa-roots roots.pem]] audit-*.jsonl

Needs Python 3.8 and its standard library; for the stamps, the `openssl` command.  Exit code 0: all verified; 1: the
first bad record or anchor is named; 2: a file cannot be read.  docs/audit-events.md describes the formats.
"""

from __future__ import annotations

import argparse
import base64
import calendar
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

DOMAIN = b"privyseal-audit-2\n"
LEAF, NODE = b"\x00", b"\x01"


class Broken(Exception):
    """What does not verify."""


def record_leaf(number: int, entry: Mapping[str, Any]) -> bytes:
    """A record's leaf (RFC 6962 2.1), as docs/audit-events.md says."""
    record = json.dumps([number, entry["at"], entry["event"], entry["fields"]], separators=(",", ":"))
    return hashlib.sha256(LEAF + DOMAIN + record.encode()).digest()


def record_hash(number: int, entry: Mapping[str, Any]) -> str:
    """A record's hash: the node of the hash before and its leaf."""
    return hashlib.sha256(NODE + bytes.fromhex(entry["previous"]) + record_leaf(number, entry)).hexdigest()


def verify_chain(lines: Iterable[str], points: Mapping[int, str]) -> tuple[int, str]:
    """Verify records in order; ``points`` are hashes by sequence number that were written down elsewhere.

    Returns how many there are and the last one's hash.
    """
    number, previous, left = 0, "0" * 64, dict(points)
    for line in lines:
        if not line.strip():
            continue
        entry = json.loads(line)
        number += 1
        if entry["sequence"] != number or entry["previous"] != previous:
            raise Broken(f"record {number} is missing or out of order")
        previous = record_hash(number, entry)
        if entry["hash"] != previous:
            raise Broken(f"record {number} was changed")
        if left.pop(number, previous) != previous:
            raise Broken(f"record {number} is not the one that was anchored")
    if left:
        raise Broken(f"record {number + 1} is missing: an anchor knows of {max(left)} records")
    return number, previous


def checkpoint_line(anchor: Mapping[str, Any]) -> bytes:
    """The octets that were stamped: the checkpoint's line."""
    members = {name: anchor[name] for name in ("sequence", "hash", "at")}
    return json.dumps(members, separators=(",", ":")).encode()


def read_points(anchors: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """What the anchors say by sequence number; two that contradict each other are not both true."""
    points: dict[int, str] = {}
    for anchor in anchors:
        number, known = anchor["sequence"], anchor["hash"]
        if points.setdefault(number, known) != known:
            raise Broken(f"two anchors contradict each other about record {number}")
    return points


def verify_stamp(anchor: Mapping[str, Any], roots: str, openssl: str, apart: int) -> None:
    """Have OpenSSL verify the stamp of an anchor (RFC 3161), and compare its time with the one that the anchor states.

    The writer chose the time that is stated: a chain that was written anew can have anchors of any age, but stamps of
    today.
    """
    with tempfile.NamedTemporaryFile() as token, tempfile.NamedTemporaryFile() as data:
        token.write(base64.b64decode(anchor["token"], validate=True))
        data.write(checkpoint_line(anchor))
        token.flush()
        data.flush()
        inputs = ["-token_in", "-in", token.name]
        done = run([openssl, "ts", "-verify", *inputs, "-data", data.name, "-CAfile", roots])
        shown = run([openssl, "ts", "-reply", *inputs, "-text"])
    which = f"the stamp of the anchor at record {anchor['sequence']}"
    if done.returncode != 0:
        raise Broken(f"{which} does not verify")
    if abs(stamp_time(shown.stdout) - anchor["at"] / 1_000_000) > apart:
        raise Broken(f"{which} is not of the time that the anchor states")


def run(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    """Run one of OpenSSL's commands."""
    return subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - the auditor's own command


def stamp_time(shown: bytes) -> int:
    """The time of a stamp, as Unix time, from OpenSSL's description of it."""
    for line in shown.decode("ascii", "replace").splitlines():
        name, _, value = line.partition(": ")
        if name == "Time stamp":
            whole = re.sub(r"\.[0-9]+", "", value)
            return calendar.timegm(time.strptime(whole, "%b %d %H:%M:%S %Y GMT"))
    raise ValueError("OpenSSL shows no time of the stamp")


def read_lines(paths: Iterable[str]) -> Iterator[str]:
    """The lines of several files, in the order of their names."""
    for path in sorted(paths):
        with open(path, encoding="ascii") as file:
            yield from file


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Verify an exported audit chain and its anchors.")
    parser.add_argument("export", nargs="+", help="files of `privyseal audit export` or of the anchor process")
    parser.add_argument("--anchors", help="the anchor process's file")
    parser.add_argument("--tsa-roots", help="PEM file with the time-stamping authorities' trust anchors")
    text = "seconds between the time that an anchor states and its stamp's, at most (default: %(default)s)"
    parser.add_argument("--apart", type=int, default=600, metavar="SECONDS", help=text)
    parser.add_argument("--openssl", default="openssl", help="the command (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        # What a crash left of a last line was never an anchor.
        lines = [line for line in read_lines([options.anchors]) if line.endswith("\n")] if options.anchors else []
        anchors = [json.loads(line) for line in lines]
        points = read_points(anchors)
        number, head = verify_chain(read_lines(options.export), points)
        if options.tsa_roots:
            for anchor in anchors:
                verify_stamp(anchor, options.tsa_roots, options.openssl, options.apart)
    except Broken as broken:
        sys.stdout.write(f"broken: {broken}\n")
        return 1
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"error: a file cannot be read: {type(error).__name__}: {error}\n")
        return 2
    stamps = f", {len(anchors)} stamps" if options.tsa_roots else ""
    sys.stdout.write(f"ok: {number} records, head {head}, {len(anchors)} anchors{stamps}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
