"""What the pages work with, made once for an app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from flask import Flask, current_app
from sqlalchemy import Engine

from documents.findings import Examination
from foundation.clock import Clock, epoch
from portal.outside.provider import Outside
from portal.settings import PortalSettings
from portal.store.seal import Sealer

_KEY: Final = "privyseal-portal"


@dataclass(frozen=True, slots=True)
class Parts:
    """Settings, time, randomness, database, seal, and the way outside."""

    settings: PortalSettings
    clock: Clock
    random: Callable[[int], bytes] = field(repr=False)
    engine: Engine = field(repr=False)
    seal: Sealer = field(repr=False)
    outside: Outside = field(repr=False)
    examine: Callable[[bytes], Examination] = field(repr=False)
    """As :meth:`documents.examiner.Examiner.examine`."""
    draw: Callable[[bytes, int], bytes] = field(repr=False)
    """A page as a PNG, as :meth:`documents.render.Renderer.page`."""

    @property
    def now(self) -> int:
        """Whole seconds since 1970."""
        return epoch(self.clock.now())


def install(app: Flask, made: Parts) -> None:
    """Give an app its parts."""
    app.extensions[_KEY] = made


def parts() -> Parts:
    """Those of the app that answers this request."""
    return of(current_app)


def of(app: Flask) -> Parts:
    """Those of an app."""
    return cast("Parts", app.extensions[_KEY])
