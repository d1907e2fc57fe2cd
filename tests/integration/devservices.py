"""Development services started for tests: in this process on a free port, or as the commands people run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from devservices import ca_http
from devservices.names import name_of, person_from_mapping
from devservices.serving import Handler, HttpService, bind, url_of

ROOT = Path(__file__).parents[2]

ALICE = {
    "common_name": "Alice Example",
    "given_name": "Alice",
    "surname": "Example",
    "serial_number": "PNOBE-00000000097",
    "country": "BE",
}


def csr_for(subject: Mapping[str, str], key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PKCS#10 (DER) for a subject."""
    builder = x509.CertificateSigningRequestBuilder(name_of(person_from_mapping(subject)))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@contextmanager
def served(handler: Handler) -> Iterator[str]:
    """A handler on a free port of this process; yields its URL."""
    service = HttpService(bind("127.0.0.1", 0), handler)
    service.start()
    try:
        yield service.url
    finally:
        service.stop()


@dataclass(frozen=True, slots=True)
class RunningCa:
    """A development CA that listens."""

    url: str
    state: Path
    token: str = field(repr=False)


@contextmanager
def running_ca(state: Path) -> Iterator[RunningCa]:
    """A development CA on a free port of this process."""
    listener = bind("127.0.0.1", 0)
    _authority, handler = ca_http.build(state, url_of(listener))
    service = HttpService(listener, handler)
    service.start()
    try:
        yield RunningCa(service.url, state, (state / "token").read_text().strip())
    finally:
        service.stop()


@dataclass(slots=True)
class Command:
    """A development service as a process."""

    process: subprocess.Popen[str]
    ready: str
    """The line it printed when it listened, without the word ``ready``."""

    def end(self) -> tuple[int, str]:
        """SIGTERM; its exit status and what it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        _out, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a development service's command to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env=_environment(),
    )  # fmt: skip


@contextmanager
def command(module: str, *arguments: str) -> Iterator[Command]:
    """A development service's command that got as far as listening."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready "):
            process.kill()
            raise AssertionError(f"{module} did not start: {process.communicate()[1]}")
        yield Command(process, line.removeprefix("ready ").strip())
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8"}
