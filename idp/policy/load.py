"""A policy file to a :class:`~idp.policy.model.Policy`, or to a list of everything that is wrong with it.

Nothing in a file is ever passed over.  Each part of the language has its own reader: :mod:`~idp.policy.load_levels`,
:mod:`~idp.policy.load_rules`, :mod:`~idp.policy.load_frameworks`, :mod:`~idp.policy.load_upstream` and
:mod:`~idp.policy.load_factors`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from idp.policy.document import MAX_FAULTS, MAX_OCTETS, Node, Unreadable, read_document
from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.keys import ACTIONS, FILE_KEYS, FRAMEWORKS, LANGUAGE, NAME, NAME_FORM
from idp.policy.load_factors import factors
from idp.policy.load_frameworks import declare, edges
from idp.policy.load_levels import LevelLoader
from idp.policy.load_rules import RuleLoader
from idp.policy.load_upstream import UpstreamLoader
from idp.policy.loading import Loading
from idp.policy.model import Policy

__all__ = ["ACTIONS", "FRAMEWORKS", "LANGUAGE", "load_policy", "parse_policy", "read_file"]


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    :raises PolicyLoadError: it cannot be read, or has faults.
    """
    return parse_policy(read_file(path), str(path))


def read_file(path: Path) -> bytes:
    """The octets of a policy or cases file, not more than such a file may have and one.

    :raises PolicyLoadError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise PolicyLoadError((Fault(str(path), 1, 1, f"cannot be read: {error.strerror}"),)) from error


def parse_policy(data: bytes, file: str) -> Policy:
    """The policy in a file's octets.  ``file`` is the name to use in reasons.

    :raises PolicyLoadError: with all faults, at most :data:`~idp.policy.document.MAX_FAULTS`.
    """
    faults: list[Fault] = []
    try:
        policy = _policy(Loading(faults), read_document(data, file, faults), hashlib.sha256(data).hexdigest())
    except Unreadable:
        policy = None
    if policy is None or faults:
        raise PolicyLoadError(tuple(sorted(set(faults)))[:MAX_FAULTS])
    return policy


def _policy(loading: Loading, node: Node, sha256: str) -> Policy | None:
    """The whole file; None if it has faults, since an index over half a policy would mislead."""
    read = loading.read
    top = read.fields(node, "a policy", FILE_KEYS)
    read.integer(top.get("policy"), "'policy', the version of the language,", LANGUAGE, LANGUAGE, LANGUAGE)
    name = read.name(top.get("name"), "name", NAME, NAME_FORM)
    read.text(top.get("description"), "description")
    declare(loading, top.get("frameworks"), top.get("actions"))
    joined = edges(loading, top.get("implies"))
    limits = factors(loading, top.get("factors"))
    level_loader = LevelLoader(loading)
    levels = level_loader.levels(top.get("levels"))
    rules = RuleLoader(loading, level_loader).rules(top.get("rules"))
    upstream = UpstreamLoader(loading).upstream(top.get("upstream"))
    by_name = {level.name: level for level in levels}
    loading.check_levels(by_name)
    level_loader.check(by_name, joined)
    if loading.faults:
        return None
    rules_at = top.values["rules"].where
    return Policy(
        name=name,
        file=rules_at.file,
        sha256=sha256,
        rules_at=rules_at,
        levels=levels,
        rules=rules,
        edges=joined,
        upstream=upstream,
        factors=limits,
        frameworks=dict(loading.frameworks),
        actions=frozenset(loading.actions - ACTIONS),
    )
