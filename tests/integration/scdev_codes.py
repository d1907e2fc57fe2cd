"""Has the shim answer each return code in turn, and prints those that python-pkcs11's exceptions do not give back.

``python -m tests.integration.scdev_codes MODULE LABEL``, in the environment of the shim: a module belongs into a
process of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pkcs11.exceptions import PKCS11Error

from signing.scdev.locking import LockingLibrary
from signing.scdev.refused import code_of
from signing.scdev.returncodes import _NAMES
from tests.shim import Shim


def main(module: str, label: str) -> None:
    """Ask for random octets once for each code."""
    state = Path(os.environ["PRIVYSEAL_SHIM_STATE"])  # noqa: TID251 - a program of the tests, not of the product
    shim = Shim(Path(module), state, Path(module))
    session = LockingLibrary(module).get_token(token_label=label).open()
    for code in (*_NAMES, 0x80000001, 0x1234):
        shim.heal()
        shim.fault("C_GenerateRandom", "return", code)
        try:
            session.generate_random(64)
            sys.stdout.write(f"{code:#x}: no error\n")
        except PKCS11Error as error:
            if code_of(error) != code:
                sys.stdout.write(f"{code:#x}: {code_of(error):#x} ({type(error).__name__})\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
