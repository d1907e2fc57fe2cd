"""Finds connectors by entry point.  Installed is not enabled: only what the settings name is loaded.

A connector package publishes ``<name> = module:Class`` in the group ``privyseal.connectors.<kind>``.  The class is
built with one argument, its own table of the settings.  A stand-in for development says ``unsafe_in_production =
True``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final, Literal

from connectors.errors import ConnectorMisconfigured, ConnectorNotAllowed, UnknownConnector
from foundation.errors import PrivySealError

Kind = Literal["messaging", "pki", "status", "tsa"]
_GROUP: Final = "privyseal.connectors."


def known(kind: Kind) -> tuple[str, ...]:
    """Names of the installed connectors of a kind."""
    return tuple(sorted(entry.name for entry in _installed(kind)))


def _installed(kind: Kind) -> metadata.EntryPoints:
    return metadata.entry_points(group=_GROUP + kind)  # noqa: TID251 - connectors are found here, and nowhere else


def load(kind: Kind, name: str, settings: Mapping[str, Any], *, production: bool) -> Any:
    """Build a connector.

    :param settings: the connector's own table.
    :raises UnknownConnector: none of that name; the message lists the known ones.
    :raises ConnectorNotAllowed: a development stand-in, in production mode.
    :raises ConnectorMisconfigured: it refused its settings.
    """
    entries = [entry for entry in _installed(kind) if entry.name == name]
    if len(entries) != 1:
        listed = ", ".join(known(kind)) or "none"
        trouble = "is installed twice" if entries else "is not installed"
        raise UnknownConnector(f"the {kind} connector {name!r} {trouble}; known: {listed}")
    factory = entries[0].load()
    if production and getattr(factory, "unsafe_in_production", False):
        raise ConnectorNotAllowed(f"the {kind} connector {name!r} is a development stand-in: refused in production")
    try:
        return factory(settings)
    except (PrivySealError, TypeError, ValueError, KeyError) as error:
        raise ConnectorMisconfigured(f"the {kind} connector {name!r} refused its settings: {error}") from error
