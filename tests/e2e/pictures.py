"""pytest's option `--pictures FOLDER`: keeps the pictures that the documentation shows (script/screenshots)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

PUBLISHED: Final = frozenset(
    {
        "sign-in", "step-up", "step-up-phone", "consent", "signed", "admin-overview", "admin-policy", "admin-explore",
        "admin-try", "admin-roles", "admin-audit", "admin-decision", "approval", "approval-phone",
        "approvals", "approval-request", "portal-documents", "portal-review", "portal-validate",
    }
)  # fmt: skip
"""The pages that docs/ and README show."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Loaded with `-p tests.e2e.pictures`; without, pictures go to the tests' temporary folders."""
    parser.addoption("--pictures", type=Path, default=None, metavar="FOLDER", help="replace the published pictures")
