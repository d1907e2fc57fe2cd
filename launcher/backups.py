"""`privyseal backup` and `privyseal restore`: hands over to the side that is named, and imports neither."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from launcher.cli import GROUP, USAGE_ERROR, commands

_SUMMARIES: Final = {
    "idp": "the identity provider's database",
    "key": "a key that opens backups",
    "portal": "the database of the page for people",
    "sam": "the signature activation module's database",
    "verify": "read a backup to its end",
}


def backup(argv: Sequence[str]) -> int:
    """Run ``privyseal backup ARGV``."""
    return _dispatch("backup", argv)


def restore(argv: Sequence[str]) -> int:
    """Run ``privyseal restore ARGV``."""
    return _dispatch("restore", argv)


def _dispatch(command: str, argv: Sequence[str]) -> int:
    known = commands(f"{GROUP}.{command}")
    lines = [f"usage: privyseal {command} WHAT [ARGUMENTS]", ""]
    lines += [f"  {name:<8} {_SUMMARIES[name]}" for name in known]
    lines += ["", f"privyseal {command} WHAT --help tells more."]
    if argv and argv[0] in {"-h", "--help"}:
        print("\n".join(lines))
        return 0
    if not argv or argv[0] not in known:
        print("\n".join(lines), file=sys.stderr)
        return USAGE_ERROR
    run: Callable[[Sequence[str]], int] = known[argv[0]].load()
    return run(argv[1:])
