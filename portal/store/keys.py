"""The sealing key's file, and the former ones beside it that still open what they sealed."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, select

from foundation.errors import SecretFileError
from foundation.files import flush_folder, read_secret, write_secret
from portal.errors import KeyFileUnusable, SealBroken
from portal.store.documents import about
from portal.store.seal import Sealer
from portal.store.tables import contents, documents

_KEY_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class Retired:
    """What became of the former keys."""

    gone: tuple[Path, ...]
    kept: tuple[Path, ...]
    """Something still needs them."""


def make(path: Path) -> None:
    """A new key's file.

    :raises SecretFileError: it is there, or cannot be made.
    """
    write_secret(path, secrets.token_urlsafe(_KEY_OCTETS).encode())


def former_files(path: Path) -> tuple[Path, ...]:
    """Those beside a key's file, the newest first."""
    return tuple(sorted(path.parent.glob(f"{glob.escape(path.name)}.former-*"), reverse=True))


def load(path: Path, random: Callable[[int], bytes]) -> Sealer:
    """What seals with a file's key, and opens with it and the former ones.

    :raises SecretFileError: :raises KeyFileUnusable: a file cannot be used.
    """
    return Sealer(read_secret(path), random, tuple(read_secret(each) for each in former_files(path)))


def rotate(path: Path, now: datetime) -> Path:
    """Put a new key in a key's place.

    There is a key at every moment, and after a crash it is the one or the other.

    :returns: where the former one is now.
    :raises SecretFileError: :raises KeyFileUnusable: a file cannot be used or made.
    """
    load(path, secrets.token_bytes)
    former = path.with_name(f"{path.name}.former-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    make(fresh)
    try:
        os.link(path, former, follow_symlinks=False)
        fresh.replace(path)
        flush_folder(path.parent)
    except FileExistsError as error:
        raise KeyFileUnusable(f"{former}: there already; the key was exchanged this second") from error
    except OSError as error:
        raise SecretFileError(f"{path}: cannot be exchanged ({error.strerror})") from error
    finally:
        fresh.unlink(missing_ok=True)
    return former


def retire(path: Path, engine: Engine) -> Retired:
    """Delete former keys that nothing needs.

    :raises SealBroken: something opens with none of the keys; none is deleted then.
    :raises SecretFileError: a file cannot be read, or not be deleted.
    """
    former = former_files(path)
    keys = [read_secret(each) for each in (path, *former)]
    sealers = [Sealer(each, secrets.token_bytes) for each in keys]
    needed: set[int] = set()
    with engine.connect() as connection:
        for sealed, its in sealed_values(connection):
            needed.add(_opened_by(sealers, sealed, its))
    gone = tuple(each for place, each in enumerate(former, 1) if place not in needed)
    try:
        for each in gone:
            each.unlink()
        flush_folder(path.parent)
    except OSError as error:
        raise SecretFileError(f"{path.parent}: a former key cannot be deleted ({error.strerror})") from error
    return Retired(gone, tuple(each for each in former if each not in gone))


def sealed_values(connection: Connection) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Whatever is sealed of documents, and what it is about; contents one at a time, since each may be large.

    A document's parts may need several keys: its description is sealed anew when it is signed, what was brought is not.
    """
    for row in connection.execute(select(documents)).all():
        yield row.sealed, about(row.id, row.owner, "description")
        for kind in connection.scalars(select(contents.c.kind).where(contents.c.document == row.id)).all():
            sealed = connection.scalar(
                select(contents.c.sealed).where(contents.c.document == row.id, contents.c.kind == kind)
            )
            if sealed is not None:
                yield sealed, about(row.id, row.owner, kind)


def _opened_by(sealers: list[Sealer], sealed: bytes, its: tuple[str, ...]) -> int:
    for place, sealer in enumerate(sealers):
        try:
            sealer.open(sealed, *its)
        except SealBroken:
            continue
        return place
    raise SealBroken("a document opens with none of the keys; no key was deleted")
