"""What a deployment knows beside the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Deployment:
    """Who and what the policy will be used for; what is not known is not judged."""

    enabled: frozenset[str] | None = None
    """Kinds of factor that the deployment offers; None: not known.  ``upstream`` is a login at any other provider."""
    people: tuple[frozenset[str], ...] = ()
    """For each person, the kinds of factor that are enrolled."""
    clients: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Each relying party's allowed ``acr`` values; none: it takes whatever it is given."""


NOTHING_KNOWN: Final = Deployment()
