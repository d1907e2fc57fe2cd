"""``privyseal idp evidence`` and ``checkpoint``: what the audit chain shows of a transaction, and where it stands."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idp.cli.common import add, database
from idp.errors import InputRefused
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from idp.storage.checkpoints import Checkpoints


def add_commands(commands: Any) -> None:
    """Add ``evidence``, ``checkpoint`` and ``checkpoint-key``."""
    command = add(commands, "evidence", _evidence, "this side's part of a signature's evidence, as JSON")
    command.add_argument("txn", metavar="TXN", help="the approval's transaction")
    command.add_argument("--anchors", type=Path, metavar="FILE", help="of the anchor process, for a time-stamp")
    add(commands, "checkpoint", _checkpoint, "sign where the audit chain stands")
    add(commands, "checkpoint-key", _key, "the public key that signed checkpoints are verified with, PEM")


@contextmanager
def _made(settings: IdpSettings, options: argparse.Namespace) -> Iterator[tuple[Engine, Checkpoints]]:
    from idp.storage.checkpoints import Checkpoints
    from idp.storage.keys import KeyStore

    with database(settings) as engine:
        yield engine, Checkpoints(engine, KeyStore(engine, settings.key_dir), settings.issuer, options.clock)


def _evidence(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage.evidence import evidence

    with _made(settings, options) as (engine, checkpoints):
        try:
            shown = evidence(engine, checkpoints, options.txn, options.anchors, settings.policy_file)
        except OSError as error:
            raise InputRefused(f"the anchors cannot be read ({error.strerror})") from error
    if not options.json:
        sys.stdout.write(json.dumps(shown, sort_keys=True) + "\n")
        return {}
    return shown


def _checkpoint(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    with _made(settings, options) as (_engine, checkpoints):
        made = checkpoints.make()
    if options.json:
        return {"note": None if made is None else made.note}
    sys.stdout.write("" if made is None else made.note)
    return {}


def _key(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    with _made(settings, options) as (_engine, checkpoints):
        key = load_der_public_key(checkpoints.checkpoint_key())
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    if options.json:
        return {"pem": pem}
    sys.stdout.write(pem)
    return {}
