"""Which page asks for which kind of factor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from flask import Flask, current_app

from idp.storage.authenticators import Authenticator
from idp.web.interaction import Interaction
from idp.web.progress import Assessment

_EXTENSION: Final = "privyseal.prove"


def _nothing(_interaction: Interaction, _found: Assessment, _owned: tuple[Authenticator, ...]) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class ProofPage:
    """The page that asks for one kind of factor."""

    kind: str
    template: str
    values: Callable[[Interaction, Assessment, tuple[Authenticator, ...]], Mapping[str, Any]] = _nothing
    """What the template is told besides what all are: of the interaction, and of the person's usable authenticators
    of the kind.  It only reads: a GET changes nothing."""


def register(app: Flask, page: ProofPage) -> None:
    """Add a page.

    :raises ValueError: there is one for its kind already.
    """
    pages = cast("dict[str, ProofPage]", app.extensions.setdefault(_EXTENSION, {}))
    if page.kind in pages:
        raise ValueError(f"two pages ask for {page.kind}")
    pages[page.kind] = page


def page_for(kind: str) -> ProofPage | None:
    """The page that asks for a kind; None: its codes are sent, or it is a password."""
    return cast("dict[str, ProofPage]", current_app.extensions[_EXTENSION]).get(kind)
