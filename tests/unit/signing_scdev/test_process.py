"""The process that serves loads no PKCS#11; workers protect what they hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent


def _run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_device_and_the_ceremonys_caller_load_no_pkcs11() -> None:
    program = (
        "import sys, signing.scdev.device, signing.scdev.token;"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in {'pkcs11', 'asn1crypto', 'ctypes'}))"
    )
    loaded = _run(program)
    assert "pkcs11" not in loaded
    assert "asn1crypto" not in loaded


def test_KEY_08_a_hardened_process_leaves_no_core_and_ignores_signals_to_its_group() -> None:
    program = (
        "import resource, signal; from signing.scdev.hardening import harden_process; harden_process();"
        "print(resource.getrlimit(resource.RLIMIT_CORE), signal.getsignal(signal.SIGINT).name,"
        " signal.getsignal(signal.SIGTERM).name)"
    )
    assert _run(program) == "(0, 0) SIG_IGN SIG_IGN"
