"""The encrypted file: age (age-encryption.org/v1), to X25519 recipients.

age authenticates each 64 KiB and the end, so that a file that was altered or cut does not decrypt; and its command
opens the file where ours cannot run.  Nothing is written in clear on the way: rows go through a pipe.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from pyrage import DecryptError, EncryptError, IdentityError, RecipientError, decrypt_io, encrypt_io
from pyrage.x25519 import Identity, Recipient

from archive.errors import ArchiveBroken, NotForUs, NotWritten, RecipientInvalid

__all__ = ["Identity", "Recipient", "decrypting", "encrypting", "identities", "new_identity", "recipient"]


def recipient(text: str) -> Recipient:
    """A recipient, as ``age-keygen`` and ``privyseal backup key`` show it (``age1…``).

    :raises RecipientInvalid: it is none.
    """
    try:
        return Recipient.from_str(text.strip())
    except RecipientError:
        # Not quoted and not chained: whoever took the wrong line of the key file gave the secret one.
        raise RecipientInvalid("one of the recipients is no age recipient (age1…)") from None


def identities(text: str) -> tuple[Identity, ...]:
    """The identities of a key file: a line each; lines with ``#`` are remarks.

    :raises RecipientInvalid: a line is none, or there is none; it is not quoted, being a secret.
    """
    lines = [line.strip() for line in text.splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    try:
        found = tuple(Identity.from_str(line) for line in wanted)
    except IdentityError:
        # Not chained: nothing that has seen the secret is to be shown.
        raise RecipientInvalid("a line of the key file is no age identity") from None
    if not found:
        raise RecipientInvalid("the key file has no age identity")
    return found


def new_identity() -> tuple[str, str]:
    """A key file's text, and its recipient."""
    made = Identity.generate()
    public = str(made.to_public())
    return f"# public key: {public}\n{made}\n", public


@contextmanager
def encrypting(output: IO[bytes], recipients: Sequence[Recipient]) -> Iterator[IO[bytes]]:
    """A file to write to in clear; what is written comes out encrypted.

    An error inside leaves an output that decrypts to a part: whoever reads it looks for its last record.

    :raises NotWritten: the output did not take it.
    """
    watched = _Watched(output)
    try:
        with _beside(lambda source: encrypt_io(source, watched, list(recipients)), "rb") as sink:
            yield sink
        if watched.failure is not None:
            raise watched.failure
    except (EncryptError, OSError) as error:
        raise NotWritten(f"the backup cannot be written ({error})") from error


class _Watched:
    """An output that remembers that it failed: what the library writes last it does not look after."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output
        self.failure: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._output.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self._output.flush()


@contextmanager
def decrypting(source: IO[bytes], keys: Iterable[Identity]) -> Iterator[IO[bytes]]:
    """A file to read in clear.  Only once the context has ended without an error was all of it authentic.

    :raises NotForUs: none of the identities opens it.
    :raises ArchiveBroken: it is not in age's form, was altered or cut.
    """
    wanted = list(keys)
    try:
        with _beside(lambda sink: decrypt_io(source, sink, wanted), "wb") as clear:
            yield clear
    except DecryptError as error:
        if "No matching keys" in str(error):
            raise NotForUs("the file is encrypted to others") from None
        raise ArchiveBroken("the file is not an age file, or its head was altered") from error
    except OSError as error:
        raise ArchiveBroken("the file was altered, or ends before its end") from error


@contextmanager
def _beside(work: Callable[[IO[bytes]], None], mode: str) -> Iterator[IO[bytes]]:
    """The other end of a pipe on which work is done in a thread; what the work raises is raised at the end."""
    read, write = os.pipe()
    theirs, ours = (read, write) if mode == "rb" else (write, read)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with os.fdopen(theirs, mode) as end:
                work(end)
        except (OSError, DecryptError, EncryptError) as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="age")
    thread.start()
    try:
        with suppress(BrokenPipeError), os.fdopen(ours, "wb" if mode == "rb" else "rb") as end:
            yield end
    finally:
        thread.join()
        # What went wrong beside is the cause of what went wrong here, but where it only found this end closed.
        for failure in failures:
            if not isinstance(failure, BrokenPipeError):
                raise failure
