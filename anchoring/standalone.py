#!/usr/bin/env python3
"""Verify an exported audit chain and its anchors without the software that wrote them.

    python3 standalone.py [--anchors anchors.jsonl [--tsa-roots roots.pem] [--checkpoint-key key.pem]] audit-*.jsonl

Needs Python 3.8 and its standard library; for stamps and signatures, the `openssl` command.  Exit code 0: all verified;
1: what does not verify is named; 2: a file cannot be read.  docs/audit-events.md describes the formats.
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
NOTE = re.compile(
    "(?P<text>privyseal-checkpoint/1/(?P<origin>[!-*,-~]{1,255})\n(?P<size>0|[1-9][0-9]{0,18})\n"
    "(?P<root>[A-Za-z0-9+/]{43}=)\nchain (?P<hash>[0-9a-f]{64})\nat (?P<at>0|[1-9][0-9]{0,18})\n)"
    "\n\u2014 privyseal-checkpoint/1/(?P=origin) (?P<value>[A-Za-z0-9+/]{8,256}={0,2})\n\\Z"
)


class Broken(Exception):
    """What does not verify."""


def record_leaf(number: int, entry: Mapping[str, Any]) -> bytes:
    """A record's leaf (RFC 6962 2.1), as docs/audit-events.md says."""
    record = json.dumps([number, entry["at"], entry["event"], entry["fields"]], separators=(",", ":"))
    return hashlib.sha256(LEAF + DOMAIN + record.encode()).digest()


def record_hash(number: int, entry: Mapping[str, Any]) -> str:
    """A record's hash: the node of the hash before and its leaf."""
    return hashlib.sha256(NODE + bytes.fromhex(entry["previous"]) + record_leaf(number, entry)).hexdigest()


class Tree:
    """The Merkle tree of the leaves that went by (RFC 6962 2.1): roots of its whole subtrees, the greatest first."""

    def __init__(self) -> None:
        self.size = 0
        self.hashes: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Go on with a leaf."""
        self.hashes.append(leaf)
        size = self.size
        while size & 1:
            right = self.hashes.pop()
            self.hashes[-1] = node(self.hashes[-1], right)
            size >>= 1
        self.size += 1

    def root(self) -> bytes:
        """Over all of them."""
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node(left, root)
        return root


def node(left: bytes, right: bytes) -> bytes:
    """A node of the tree over two."""
    return hashlib.sha256(NODE + left + right).digest()


def verify_chain(
    lines: Iterable[str], points: Mapping[int, str], notes: Iterable[Mapping[str, Any]] = ()
) -> tuple[int, str]:
    """Verify records in order; ``points`` are hashes by sequence number that were written down elsewhere.

    ``notes`` are signed checkpoints as :func:`read_note` gives them.  Returns how many records there are and the last
    one's hash.
    """
    number, previous, left, tree = 0, "0" * 64, dict(points), Tree()
    signed: dict[int, list[Mapping[str, Any]]] = {}
    for note in notes:
        signed.setdefault(note["size"], []).append(note)
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
        tree.add(record_leaf(number, entry))
        for note in signed.pop(number, ()):
            if (note["hash"], note["root"]) != (previous, tree.root()):
                raise Broken(f"record {number} is not the one of a signed checkpoint")
    if signed:
        raise Broken(f"record {number + 1} is missing: a signed checkpoint knows of {max(signed)} records")
    if left:
        raise Broken(f"record {number + 1} is missing: an anchor knows of {max(left)} records")
    return number, previous


def checkpoint_line(anchor: Mapping[str, Any]) -> bytes:
    """The octets that were stamped: the anchor's line without the stamp."""
    members = {name: anchor[name] for name in ("sequence", "hash", "at", "note") if name in anchor}
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


def read_note(text: str) -> dict[str, Any]:
    """A signed checkpoint: a note of C2SP tlog-checkpoint, with two extension lines."""
    found = NOTE.match(text)
    if found is None:
        raise Broken("a signed checkpoint is not in its form")
    note = {name: found[name] for name in ("origin", "hash", "text")}
    value = base64.b64decode(found["value"], validate=True)
    return {
        **note,
        "size": int(found["size"]),
        "root": base64.b64decode(found["root"], validate=True),
        "at": int(found["at"]),
        "key_id": value[:4],
        "signature": value[4:],
    }


def verify_note(note: Mapping[str, Any], keys: Iterable[str], openssl: str) -> None:
    """Have OpenSSL verify a signed checkpoint's signature with one of the keys, files of PEM."""
    for key in keys:
        der = run([openssl, "pkey", "-pubin", "-in", key, "-outform", "DER"])
        if der.returncode != 0:
            raise ValueError(f"{key} is no public key")
        named = hashlib.sha256(der.stdout).digest()[:4] == note["key_id"]
        if named and verify_signature(key, note["signature"], note["text"].encode(), openssl):
            return
    raise Broken(f"the signed checkpoint at record {note['size']} is signed by none of the keys")


def verify_signature(key: str, signature: bytes, data: bytes, openssl: str) -> bool:
    """Whether a signature in DER over the SHA-256 of the data is the key's."""
    with tempfile.NamedTemporaryFile() as value, tempfile.NamedTemporaryFile() as signed:
        value.write(signature)
        signed.write(data)
        value.flush()
        signed.flush()
        return run([openssl, "dgst", "-sha256", "-verify", key, "-signature", value.name, signed.name]).returncode == 0


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
    text = "PEM file with the public key that signed checkpoints are verified with; may be given several times"
    parser.add_argument("--checkpoint-key", action="append", default=[], metavar="FILE", help=text)
    parser.add_argument("--openssl", default="openssl", help="the command (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        # What a crash left of a last line was never an anchor.
        lines = [line for line in read_lines([options.anchors]) if line.endswith("\n")] if options.anchors else []
        anchors = [json.loads(line) for line in lines]
        points = read_points(anchors)
        notes = [read_note(anchor["note"]) for anchor in anchors if "note" in anchor]
        number, head = verify_chain(read_lines(options.export), points, notes)
        for note in notes if options.checkpoint_key else ():
            verify_note(note, options.checkpoint_key, options.openssl)
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
    stamps += f", {len(notes)} signed checkpoints" if options.checkpoint_key else ""
    sys.stdout.write(f"ok: {number} records, head {head}, {len(anchors)} anchors{stamps}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
