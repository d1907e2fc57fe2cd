"""``privyseal policy fmt``: one layout for policy files and their cases."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from idp.cli.policy.common import EXIT_FOUND, EXIT_OK, EXIT_UNUSABLE, Usage, add, faults_json, replace_file
from idp.cli.policy.source import show_json
from idp.policy.errors import LayoutRefused, PolicyLoadError
from idp.policy.fmt import format_document
from idp.policy.load import read_file


def add_command(commands: Any) -> None:
    """Add ``fmt``."""
    command = add(
        commands,
        "fmt",
        "lay out policy files and their cases",
        description="Lay out policy files and their cases: keys in the order of the grammar, two-space indentation. "
        "Comments and meaning stay. Without --check or --write, the one file is printed.",
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing; tell which files are not laid out")
    what.add_argument("--write", action="store_true", help="replace the files; their hashes change")
    command.set_defaults(run=_fmt)


def _fmt(options: argparse.Namespace) -> int:
    shown = not (options.check or options.write)
    if shown and len(options.files) > 1 and not options.json:
        raise Usage("several files go with --check, --write or --json")
    results: list[dict[str, Any]] = []
    code = EXIT_OK
    for path in options.files:
        try:
            before = read_file(path)
            text = format_document(before, str(path))
        except (PolicyLoadError, LayoutRefused) as error:
            code = EXIT_UNUSABLE
            faults = faults_json(error) if isinstance(error, PolicyLoadError) else [{"message": str(error)}]
            results.append({"file": str(path), "faults": faults})
            if not options.json:
                print(error, file=sys.stderr)
            continue
        changed = text.encode() != before
        results.append({"file": str(path), "changed": changed, **({"text": text} if shown else {})})
        if changed and options.check and code == EXIT_OK:
            code = EXIT_FOUND
        if changed and options.write:
            replace_file(path, text.encode())
        if not options.json:
            _tell(path, text, changed=changed, options=options)
    if options.json:
        show_json(results)
    return code


def _tell(path: Path, text: str, *, changed: bool, options: argparse.Namespace) -> None:
    if options.check or options.write:
        if changed:
            print(f"{path}: {'laid out' if options.write else 'not laid out'}")
    else:
        sys.stdout.write(text)
