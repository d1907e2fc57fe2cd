"""``privyseal policy``: tools for those who write policy files.  A module a command; :mod:`~idp.cli.policy.root` lists
them."""

from __future__ import annotations

from idp.cli.policy.root import main, parser

__all__ = ["main", "parser"]
