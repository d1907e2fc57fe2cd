"""python-pkcs11's library class, initialised so that the module takes its own locks.

``C_Initialize(NULL)`` promises a module that one thread calls it; SoftHSM2 then drops its mutexes, and a second
thread crashes it within milliseconds.  The flag CKF_OS_LOCKING_OK says the opposite (PKCS #11 2.40, 5.4).
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import ClassVar

from pkcs11 import _pkcs11

from signing.scdev.cryptoki import (
    CKR_ALREADY_INITIALIZED,
    function_list,
    initialize_arguments,
    is_one_instance,
)
from signing.scdev.errors import CryptokiError


class LockingLibrary(_pkcs11.lib):
    """As ``pkcs11.lib``, thread-safe.  C_Finalize is left to the end of the process, in which it lives alone."""

    parameters: ClassVar[str | None] = None
    """For C_Initialize; of the class, as the library's constructor takes none.  See :func:`open_library`."""

    def initialize(self) -> None:
        """Called by the constructor.

        :raises CryptokiError: C_Initialize refused.
        :raises PKCS11Error: the same, of a module that gives each caller an instance of its own.
        """
        module = Path(self.so)
        if not is_one_instance(module):
            # p11-kit's client: what another caller initialised is not this one's.  A worker has one thread.
            super().initialize()
            return
        arguments, _text = initialize_arguments(self.parameters)
        code = function_list(module)("C_Initialize")(ctypes.byref(arguments))
        if code not in {0, CKR_ALREADY_INITIALIZED}:
            raise CryptokiError(f"C_Initialize answered {code:#x}", code)


def open_library(module: str, parameters: str | None = None) -> LockingLibrary:
    """Load and initialise a module.

    :param parameters: a text for C_Initialize, for modules that want one.
    :raises CryptokiError: it cannot be loaded, or C_Initialize refused.
    :raises PKCS11Error: the library says so.
    """
    kind: type[LockingLibrary] = type("Library", (LockingLibrary,), {"parameters": parameters})
    return kind(module)
