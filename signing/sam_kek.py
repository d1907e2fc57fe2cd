"""`privyseal sam kek` and `privyseal sam rewrap`: another wrapping key, and users' keys wrapped anew by it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from contract.operation import MAX_OPERATION_OCTETS
from foundation.files import read_secret
from signing.link.client import SamClient
from signing.link.codes import DEVICE_UNAVAILABLE
from signing.link.errors import LinkError, LinkRefused
from signing.sam_settings import SamSettings
from signing.scdev.errors import TokenError
from signing.scdev.token import create_kek

_TIMEOUT_SECONDS: Final = 60
_AWAY_SECONDS: Final = 2.0
_AWAY_TRIES: Final = 30
"""How often a device that is away is asked again, a minute in all: a worker that is replaced ends nothing."""
_BAR: Final = 40


def add_commands(commands: Any, run_as: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add both to the parser of `privyseal sam`.

    :param run_as: gives a command the options that all have.
    """
    kek = commands.add_parser("kek", help="the keys that wrap users' keys")
    inner = kek.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("list", _list, "the wrapping keys on the token, and how many credentials need each"),
        ("create", _create, "create another one; needs both PINs, changes nothing for a module that runs"),
    ):
        command = inner.add_parser(name, help=text, description=text)
        run_as(command)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=run)
    text = "wrap every key that another one wraps anew by device.kek_id, while the module signs; again where it ended"
    command = commands.add_parser("rewrap", help=text, description=text)
    run_as(command)
    command.add_argument("--json", action="store_true", help="print JSON, a line a step")
    command.add_argument(
        "--operation", type=Path, required=True, metavar="FILE", help="kek.rewrap, from `privyseal operator sign`"
    )
    command.set_defaults(run=_rewrap)


def _list(settings: SamSettings, arguments: argparse.Namespace) -> int:
    with SamClient(settings.admin_socket, timeout_seconds=_TIMEOUT_SECONDS) as client:
        try:
            found = client.call("wrapping_keys", {})["keks"]
        except LinkError as error:
            return _failed(error)
    if arguments.json:
        print(json.dumps(found, sort_keys=True))
        return 0
    for kek in found:
        marks = [mark for mark in ("current", "trusted") if kek[mark]]
        if kek["kek_id"] and not kek["on_token"]:
            marks.append("NOT ON THE TOKEN")
        rows = ", ".join(f"{count} by {mechanism}" for mechanism, count in sorted(kek["rows"].items())) or "no keys"
        print(kek["kek_id"] or "(on the token)", " ".join(marks) or "-", rows, sep="\t")
    return 0


def _create(settings: SamSettings, arguments: argparse.Namespace) -> int:
    table = settings.device
    if table.kek_id is None:
        # With two of them a module that starts would not know which; nor may it choose.
        print(
            "error: set device.kek_id to the KEK that is used now (`privyseal sam kek list`) before there are two",
            file=sys.stderr,
        )
        return 1
    so_pin, pin = read_secret(table.so_pin()), read_secret(table.pin_file)
    try:
        kek_id = create_kek(
            table.module,
            table.token_label,
            so_pin,
            pin,
            table.environment,
            trusted=table.require_trusted_kek,
            rewraps=table.kek_rewraps,
        )
    except TokenError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"kek_id": kek_id}))
    else:
        print(f"KEK {kek_id}: created; new keys are wrapped by {table.kek_id} until device.kek_id names it")
    return 0


def _rewrap(settings: SamSettings, arguments: argparse.Namespace) -> int:
    with arguments.operation.open("rb") as handle:
        bundle = handle.read(MAX_OPERATION_OCTETS + 1).decode("ascii", "replace").strip()
    with SamClient(settings.admin_socket, timeout_seconds=_TIMEOUT_SECONDS) as client:
        try:
            total = _left(client)
            progress = _Progress(total, sys.stderr, as_json=arguments.json)
            run = _run(client, bundle, progress)
            progress.end()
            left = _left(client)
        except LinkError as error:
            return _failed(error)
    if run["stopped"] is not None:
        print(f"error: {run['stopped']}", file=sys.stderr)
    for each in run["failed"]:
        print(f"error: credential {each['credential_id']}: {each['code']}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({**run, "left": left}, sort_keys=True))
    else:
        print(f"wrapped anew: {run['rewrapped']}; left: {left}")
    return 0 if left == 0 and not run["failed"] and run["stopped"] is None else 1


def _left(client: SamClient) -> int:
    """Rows whose key another KEK wraps than new ones, as the database says."""
    keks = client.call("wrapping_keys", {})["keks"]
    return sum(sum(kek["rows"].values()) for kek in keks if kek["kek_id"] and not kek["current"])


def _run(client: SamClient, bundle: str, progress: _Progress) -> dict[str, Any]:
    """Step after step, to the end or to what stops it."""
    failed: list[Mapping[str, str]] = []
    rewrapped, after = 0, None
    while True:
        step = _step(client, {"operation": bundle} | ({} if after is None else {"after": after}))
        rewrapped += step["rewrapped"]
        failed += step["failed"]
        progress.show(rewrapped, len(failed))
        after = step["next"]
        if after is None or step["stopped"] is not None:
            return {"rewrapped": rewrapped, "failed": failed, "stopped": step["stopped"]}


def _step(client: SamClient, body: Mapping[str, Any]) -> Mapping[str, Any]:
    tries = 0
    while True:
        try:
            return client.call("rewrap", body)
        except LinkRefused as error:
            tries += 1
            if error.refusal != DEVICE_UNAVAILABLE or tries == _AWAY_TRIES:
                raise
        # What the step had done is done, and is passed over when it is asked for again.
        time.sleep(_AWAY_SECONDS)


class _Progress:
    """A bar on a terminal; else a line a step, of text or JSON."""

    def __init__(self, total: int, stream: TextIO, *, as_json: bool) -> None:
        self._total = total
        self._stream = stream
        self._json = as_json
        self._bar = stream.isatty() and not as_json

    def show(self, rewrapped: int, failed: int) -> None:
        """How far it is."""
        total = max(self._total, rewrapped + failed)
        if self._json:
            line = json.dumps({"rewrapped": rewrapped, "failed": failed, "of": total})
            print(line, flush=True)
        elif self._bar:
            filled = _BAR * (rewrapped + failed) // total if total else _BAR
            bar = "#" * filled + "." * (_BAR - filled)
            print(f"\r[{bar}] {rewrapped} of {total}", end="", file=self._stream, flush=True)
        else:
            print(f"wrapped anew: {rewrapped} of {total}", file=self._stream, flush=True)

    def end(self) -> None:
        """Leave the bar's line."""
        if self._bar:
            print(file=self._stream)


def _failed(error: LinkError) -> int:
    text = error.detail if isinstance(error, LinkRefused) else "the module does not answer; is it running?"
    print(f"error: {text}", file=sys.stderr)
    return 1
