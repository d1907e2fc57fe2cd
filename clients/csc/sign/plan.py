"""Which file becomes what, looked through before anybody is asked for anything."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..algorithms import Scheme
from ..cms import PdfRefusedError, PreparedCms, PreparedPdf, check_acceptable, prepare_cms, prepare_pdf
from ..errors import UsageError
from .report import plain

MAX_FILES: Final = 1000
MAX_OCTETS: Final = 100 * 1024 * 1024
"""Of one file; what is prepared of PDFs is kept in memory until it is approved."""
_MAX_LABEL: Final = 255
Form = Literal["auto", "cms", "raw"]


class Prepared(Protocol):
    """What lacks only its signature value."""

    @property
    def digest(self) -> bytes:
        """To be approved and signed."""
        ...

    def finish(self, value: bytes) -> Mapping[str, bytes]:
        """Contents by the suffix of their file: see :meth:`Job.result`."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A file to be signed, and where its results go."""

    source: Path
    kind: Literal["pdf", "cms", "raw"]
    folder: Path

    @property
    def results(self) -> tuple[Path, ...]:
        """What will be written."""
        return tuple(self.result(suffix) for suffix in _SUFFIXES[self.kind])

    def result(self, suffix: str) -> Path:
        """Where the content of a suffix goes."""
        name = f"{self.source.stem}{suffix}" if self.kind == "pdf" else f"{self.source.name}{suffix}"
        return self.folder / name

    @property
    def label(self) -> str:
        """The file's name as the person reads it when approving."""
        shown = plain(self.source.name)
        return shown if len(shown) <= _MAX_LABEL else f"{shown[: _MAX_LABEL - 1]}…"


_SUFFIXES: Final = {"pdf": ("-signed.pdf",), "cms": (".p7s",), "raw": (".sig", ".sig.pem")}


@dataclass(frozen=True, slots=True)
class _Cms:
    made: PreparedPdf | PreparedCms = field(repr=False)
    suffix: str

    @property
    def digest(self) -> bytes:
        return self.made.cms.dtbsr if isinstance(self.made, PreparedPdf) else self.made.dtbsr

    def finish(self, value: bytes) -> Mapping[str, bytes]:
        return {self.suffix: self.made.assemble(value)}


@dataclass(frozen=True, slots=True)
class _Raw:
    digest: bytes
    chain: tuple[bytes, ...] = field(repr=False)

    def finish(self, value: bytes) -> Mapping[str, bytes]:
        pem = b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in self.chain)
        return {".sig": value, ".sig.pem": pem}


def plan(
    files: Sequence[Path], *, folder: Path | None, form: Form, overwrite: bool, skip_existing: bool
) -> tuple[list[Job], list[Job]]:
    """The jobs, and those that are left out because their results are there.

    :param folder: where results go; None: beside each file.
    :raises UsageError: a file cannot be read or signed, two have one result, or a result is there already.
    """
    if len(files) > MAX_FILES:
        raise UsageError(f"at most {MAX_FILES} files at once")
    jobs = [Job(path, _kind(path, form), path.parent if folder is None else folder) for path in files]
    taken: dict[Path, Path] = {}
    for job in jobs:
        for result in job.results:
            other = taken.setdefault(result.absolute(), job.source)
            if other != job.source or list(files).count(job.source) > 1:
                raise UsageError(f"{other} and {job.source} would both become {result}")
    done = [job for job in jobs if any(result.exists() for result in job.results)]
    if done and not overwrite and not skip_existing:
        first = next(result for result in done[0].results if result.exists())
        raise UsageError(f"{first} exists: give --overwrite, --skip-existing, or another folder with --out")
    wanted = [job for job in jobs if not (skip_existing and job in done)]
    for each in {job.folder for job in wanted}:
        _check_folder(each)
    for job in wanted:
        _check(job)
    return wanted, [job for job in jobs if job not in wanted]


def prepare(job: Job, chain: tuple[bytes, ...], scheme: Scheme) -> Prepared:
    """Read a file, and make what is to be signed of it.

    :raises UsageError: it cannot be read, or is a PDF that takes no signature.
    """
    content = _read(job.source)
    if job.kind == "raw":
        return _Raw(hashlib.new(scheme.hash_name, content).digest(), chain)
    if job.kind == "cms":
        return _Cms(prepare_cms(content, chain, scheme), ".p7s")
    try:
        return _Cms(prepare_pdf(content, chain, scheme), "-signed.pdf")
    except PdfRefusedError as e:
        raise UsageError(f"{job.source}: {e}") from e


def write(job: Job, contents: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Write a job's results: each wholly or not at all, and never over another file unless that is wanted.

    :raises UsageError: it could not be done.
    """
    for suffix, content in contents.items():
        target = job.result(suffix)
        part = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with part.open("xb") as sink:
                sink.write(content)
                sink.flush()
                os.fsync(sink.fileno())
            if overwrite:
                part.replace(target)
            else:
                os.link(part, target)  # fails where the name is taken, which a rename would not
        except OSError as e:
            raise UsageError(f"{target} cannot be written: {e.strerror or type(e).__name__}") from e
        finally:
            part.unlink(missing_ok=True)


def _kind(path: Path, form: Form) -> Literal["pdf", "cms", "raw"]:
    if form == "raw":
        return "raw"
    return "pdf" if form == "auto" and path.suffix.lower() == ".pdf" else "cms"


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UsageError(f"{folder} is not a folder and cannot be made one") from e
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"nothing can be written to {folder}")


def _check(job: Job) -> None:
    content = _read(job.source)
    if job.kind == "pdf":
        try:
            check_acceptable(content)
        except PdfRefusedError as e:
            raise UsageError(f"{job.source}: {e}") from e


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_OCTETS:
            raise UsageError(f"{path} is larger than {MAX_OCTETS // 1024 // 1024} MB")
        return path.read_bytes()
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror or type(e).__name__}") from e
