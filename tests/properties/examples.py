"""How many examples a law is tried on."""

from __future__ import annotations

from hypothesis import settings

USUAL = 100
"""What Hypothesis tries where nothing is said."""


def examples(usual: int) -> int:
    """So many; under ``--hypothesis-profile=full``, as ``script/test-full`` runs the laws, twenty times as many."""
    return usual * settings().max_examples // USUAL
