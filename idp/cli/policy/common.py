"""What the commands of ``privyseal policy`` have in common: exit codes, and faults as JSON."""

from __future__ import annotations

from typing import Any, Final

from idp.policy.errors import PolicyLoadError

EXIT_OK: Final = 0
EXIT_UNUSABLE: Final = 1
EXIT_USAGE: Final = 2
EXIT_STEP_UP: Final = 3
EXIT_DENY: Final = 4

EXIT_CODES: Final = """exit codes:
  0  the file is sound; the action is allowed
  1  a policy file cannot be used
  2  wrong usage
  3  explain: the person has to step up
  4  explain: the action is refused
"""


class Usage(Exception):
    """An argument that argparse cannot judge by itself."""


def faults_json(error: PolicyLoadError) -> list[dict[str, Any]]:
    """What is wrong with a file, as JSON values."""
    return [
        {"file": fault.file, "line": fault.line, "column": fault.column, "message": fault.message}
        for fault in error.faults
    ]
