"""`privyseal evidence`: one signature's evidence, put together and verified."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from anchoring import standalone
from anchoring.bundle import asked, bundle, read
from anchoring.errors import AnchorError, PartMissing

UNUSABLE: Final = 2
_OWNER_ONLY: Final = 0o600


def main(argv: Sequence[str]) -> int:
    """Run `privyseal evidence ARGV`; 0 = verified, 1 = it does not verify, 2 = it could not be had."""
    arguments = _parser().parse_args(argv)
    try:
        done: int = arguments.run(arguments)
    except AnchorError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="privyseal evidence", description="the evidence of one signature")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "ask both sides for what their chains say of a transaction, verify it, and show or write it"
    show = commands.add_parser("show", help=text, description=text)
    show.add_argument("txn", metavar="TXN", help="the approval's transaction")
    for side, config in (("idp", "idp.toml"), ("sam", "sam.toml")):
        source = show.add_mutually_exclusive_group(required=True)
        source.add_argument(f"--{side}-config", type=Path, metavar="FILE", help=config)
        source.add_argument(f"--{side}-part", type=Path, metavar="FILE", help=f"from `privyseal {side} evidence`")
        show.add_argument(f"--{side}-anchors", type=Path, metavar="FILE", help="of its anchor process, for a stamp")
    show.add_argument("--json", action="store_true", help="print the document")
    show.add_argument("--output", type=Path, metavar="FILE", help="write the document to a new owner-only file")
    show.set_defaults(run=_show)
    text = "verify a document of evidence, as the stand-alone script does"
    verify = commands.add_parser("verify", help=text, description=text)
    verify.add_argument("evidence", type=Path, metavar="FILE", help="from `privyseal evidence show`")
    verify.add_argument("--sad", type=Path, metavar="FILE", help="the SAD, where somebody kept it")
    verify.add_argument("--issuer-key", type=Path, metavar="FILE", help="PEM file: signs SADs")
    verify.set_defaults(run=_verify)
    for command in (show, verify):
        for side in ("idp", "sam"):
            help_text = f"PEM file: the public key that the {side}'s checkpoints are verified with"
            command.add_argument(f"--{side}-key", type=Path, required=True, metavar="FILE", help=help_text)
        command.add_argument("--tsa-roots", type=Path, metavar="FILE", help="PEM file: time-stamps have to lead to one")
    return parser


def _show(arguments: argparse.Namespace) -> int:
    parts = {side: _part(arguments, side) for side in ("idp", "sam")}
    document = json.dumps(bundle(arguments.txn, parts["idp"], parts["sam"]), sort_keys=True)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(document)
        file.flush()
        # What is shown to others is what they would find good; on standard output the document may follow.
        told = sys.stderr if arguments.json else sys.stdout
        done = _standalone(arguments, Path(file.name), told)
    if done == 0 and arguments.output is not None:
        _write(arguments.output, document)
    if done == 0 and arguments.json:
        print(document)
    return done


def _verify(arguments: argparse.Namespace) -> int:
    return _standalone(arguments, arguments.evidence, sys.stdout)


def _part(arguments: argparse.Namespace, side: str) -> dict[str, Any]:
    config, part = getattr(arguments, f"{side}_config"), getattr(arguments, f"{side}_part")
    if config is not None:
        return asked(side, arguments.txn, config, getattr(arguments, f"{side}_anchors"))
    return read(side, part)


def _standalone(arguments: argparse.Namespace, path: Path, told: Any) -> int:
    options = ["--evidence", str(path)]
    for name in ("idp_key", "sam_key", "tsa_roots", "sad", "issuer_key"):
        if (value := getattr(arguments, name, None)) is not None:
            options += [f"--{name.replace('_', '-')}", str(value)]
    with redirect_stdout(told):
        return standalone.main(options)


def _write(path: Path, document: str) -> None:
    """Owner-only: it tells who did what, when."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, _OWNER_ONLY), "w", encoding="utf-8") as file:
            file.write(document + "\n")
    except OSError as error:
        raise PartMissing(f"{path}: cannot be made ({error.strerror})") from error
