"""One interaction: from what a relying party asks to what a person proved and approved.

A protocol's endpoint begins an interaction of its kind and is called back, through the finisher that it registered,
when the interaction has ended.  In between nobody but this package talks to the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from flask import Flask, Response, current_app

from idp.activation.intent import SignatureIntent
from idp.authn.approval import Approval

Action = Literal["sign_in", "signature.activate", "credential.create"]
_FINISHERS: Final = "privyseal.finishers"


@dataclass(frozen=True, slots=True)
class BeginInteraction:
    """What a protocol wants to know about the person."""

    kind: str
    """Whose finisher is called at the end."""
    action: Action
    client_id: str
    payload: Mapping[str, Any]
    """JSON that the finisher gets back unread."""
    prompt: tuple[str, ...] = ()
    """OIDC Core 3.1.2.1."""
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()
    essential_acr: tuple[str, ...] = ()
    intent: SignatureIntent | None = None
    login_hint: str | None = None
    ui_locales: tuple[str, ...] = ()
    client_name: str = ""
    """How the relying party is named to the person; its identifier if empty."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How an interaction ended: with an approval, or with an error of OAuth's and OIDC's names."""

    payload: Mapping[str, Any]
    approval: Approval | None = None
    error: str | None = None
    error_description: str | None = None


Finisher = Callable[[Finished], Response]


@dataclass(slots=True)
class _Registry:
    finishers: dict[str, Finisher] = field(default_factory=dict)


def register_finisher(app: Flask, kind: str, finisher: Finisher) -> None:
    """Name who turns the end of an interaction of this kind into an answer to the browser.

    :raises ValueError: the kind has one already.
    """
    registry = cast("_Registry", app.extensions.setdefault(_FINISHERS, _Registry()))
    if kind in registry.finishers:
        raise ValueError(f"interactions of kind {kind} have a finisher already")
    registry.finishers[kind] = finisher


def finish(kind: str, outcome: Finished) -> Response:
    """Hand the outcome to the finisher of its kind."""
    registry = cast("_Registry", current_app.extensions[_FINISHERS])
    return registry.finishers[kind](outcome)
