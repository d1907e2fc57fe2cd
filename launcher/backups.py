"""`privyseal backup` and `privyseal restore`: hands over to the side that is named, and imports neither."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Final

from launcher.errors import NotInstalledError

USAGE: Final = 2
_SUMMARIES: Final = {
    "idp": "the identity provider's database",
    "key": "a key that opens backups",
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
    try:
        own = metadata.distribution("privyseal")  # noqa: TID251 - no other distribution can add one
    except metadata.PackageNotFoundError as error:
        raise NotInstalledError("privyseal is not installed in this environment: run script/bootstrap") from error
    known = {point.name: point for point in own.entry_points.select(group=f"privyseal.{command}")}
    lines = [f"usage: privyseal {command} WHAT [ARGUMENTS]", ""]
    lines += [f"  {name:<8} {_SUMMARIES[name]}" for name in sorted(known)]
    lines += ["", f"privyseal {command} WHAT --help tells more."]
    if argv and argv[0] in {"-h", "--help"}:
        print("\n".join(lines))
        return 0
    if not argv or argv[0] not in known:
        print("\n".join(lines), file=sys.stderr)
        return USAGE
    done: int = known[argv[0]].load()(argv[1:])
    return done
