"""A PKCS#11 module of the tests' own in front of a real one: it counts signatures, and fails on demand.

The oracle.  What a token has signed is counted where nobody above can have lost count: in the module, at C_Sign, before
its answer goes back.  For a crash or race harness::

    shim = Shim.build(tmp_path / "shim", SOFTHSM2_MODULE)       # or the fixture `shim` of tests/integration
    site.module, site.environment = shim.library, shim.environment | site.environment
    ...                                                         # kill, race, restart: any number of processes
    made = shim.signatures()                                    # with users' keys; canaries and row MACs left out
    assert max(Counter(each.data for each in made).values()) == 1

``Signature.data`` is SHA-256 of what C_Sign was given: of the digest itself with CKM_ECDSA and CKM_RSA_PKCS_PSS (see
:func:`of_digest`), of the DigestInfo with CKM_RSA_PKCS.  :meth:`Shim.sent` lists what was handed to the module: a
process that was killed inside C_Sign leaves a line there only, and whether the module signed is then not known.  So
*signatures ≤ made ≤ sent*, and harnesses that kill hold their bound against ``sent``.

Faults.  ``shim.fault("C_Sign/users", "return", 0x30)`` and its like, until :meth:`Shim.heal`; names and actions stand
at the top of ``shim.c``.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from signing.scdev.settings import DeviceSettings

SOURCE: Final = Path(__file__).with_name("shim.c")
SERVER_KEYS: Final = ("privyseal-canary", "privyseal-row-mac", "privyseal-checkpoint")
_FOR_EVER: Final = 2**63
_COMMAND: Final = ("cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type",
                   "-Wno-unused-function", "-fPIC", "-shared", "-fvisibility=hidden")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signature:
    """One C_Sign; hashes are SHA-256 in hexadecimal."""

    process: int
    mechanism: int
    label: str
    """CKA_LABEL of the key; "-" without one, as users' keys are."""
    data: str
    value: str
    """Of the signature; empty for what was only sent."""


def of_digest(digest: bytes) -> str:
    """:attr:`Signature.data` of a signature over this digest with CKM_ECDSA (P-256, P-384) or CKM_RSA_PKCS_PSS."""
    return hashlib.sha256(digest).hexdigest()


def compile_shim(directory: Path) -> Path:
    """Build the module; about half a second."""
    library = directory / "pkcs11-shim.so"
    subprocess.run([*_COMMAND, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"], check=True)
    return library


class Shim:
    """A built module with a state directory of its own, in front of one real module."""

    def __init__(self, library: Path, state: Path, module: Path) -> None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.library, self.module, self._state = library, module, state
        self._rules: list[str] = []
        self._written = itertools.count()

    @classmethod
    def build(cls, directory: Path, module: Path) -> Shim:
        """Compile, and use: for whoever has no fixture."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(compile_shim(directory), directory / "state", module)

    @property
    def environment(self) -> dict[str, str]:
        """What the processes that load it need beside the real module's own."""
        return {"PRIVYSEAL_SHIM_MODULE": str(self.module), "PRIVYSEAL_SHIM_STATE": str(self._state)}

    def before(self, settings: DeviceSettings) -> DeviceSettings:
        """The same token, with this in front."""
        environment: Mapping[str, str] = {**settings.environment, **self.environment}
        return replace(settings, module=self.library, environment=environment)

    # The oracle

    def signatures(self) -> tuple[Signature, ...]:
        """Made with users' keys, in the order in which they were made."""
        return tuple(each for each in self._lines("journal") if each.label not in SERVER_KEYS)

    def server_signatures(self, label: str) -> tuple[Signature, ...]:
        """Made with one of the server's own keys."""
        return tuple(each for each in self._lines("journal") if each.label == label)

    def sent(self) -> tuple[Signature, ...]:
        """Handed to the module with users' keys: at least those that were made."""
        return tuple(each for each in self._lines("sent") if each.label not in SERVER_KEYS)

    def calls(self, name: str) -> int:
        """Calls of a function so far, in all processes."""
        try:
            octets = (self._state / "counters").read_bytes()
        except FileNotFoundError:
            return 0
        numbers = struct.unpack(f"={len(octets) // 8}Q", octets)
        return numbers[_names().index(name)] if numbers else 0

    def _lines(self, name: str) -> list[Signature]:
        try:
            text = (self._state / name).read_text("ascii")
        except FileNotFoundError:
            return []
        found = []
        for line in text.splitlines():
            process, mechanism, label, data, *value = line.split(" ")
            found.append(Signature(int(process), int(mechanism, 16), label, data, value[0] if value else ""))
        return found

    # Faults

    def fault(self, name: str, action: str, argument: int = 0, *, nth: int = 1, times: int | None = None) -> None:
        """From the ``nth`` call from now on, ``times`` times (None: until healed).  Rules add up; the first counts."""
        first = self.calls(name) + nth
        last = _FOR_EVER if times is None else first + times - 1
        if name not in _names():
            raise KeyError(name)
        self._rules.append(f"{name} {first} {last} {action} {argument}\n")
        self._write()

    def heal(self) -> None:
        """No faults; what hangs goes on."""
        self._rules.clear()
        self._write()

    def _write(self) -> None:
        """A new file each time: whoever hangs waits for that."""
        fresh = self._state / f"control.{next(self._written)}"
        fresh.write_text("".join(self._rules), "ascii")
        os.replace(fresh, self._state / "control")


def _names() -> list[str]:
    """In the order of the counters, read from the source so that there is one list."""
    lines = SOURCE.read_text("ascii").splitlines()
    names = [line.strip().removeprefix("X(").split(",")[0] for line in lines if line.startswith("    X(C_")]
    return [*names, "C_Sign/users", "C_Sign/canary", "C_Sign/mac"]
