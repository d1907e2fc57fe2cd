"""Frameworks and actions of the operator's own, and the edges between frameworks' levels."""

from __future__ import annotations

from idp.policy.closure import closed
from idp.policy.document import Node
from idp.policy.keys import (
    ACTION,
    EDGE_KEYS,
    FRAMEWORK,
    FRAMEWORK_KEYS,
    FRAMEWORKS,
    MAX_EDGES,
    MAX_FRAMEWORK_LEVELS,
    MAX_FRAMEWORKS,
)
from idp.policy.loading import Loading
from idp.policy.model import Claim, Edge, Where
from idp.policy.schema import Text


def declare(loading: Loading, frameworks: Node | None, actions: Node | None) -> None:
    """Add the operator's own to what is built in."""
    for item in loading.read.items(frameworks, "frameworks", most=MAX_FRAMEWORKS):
        _framework(loading, item)
    for action in loading.read.texts(actions, "actions"):
        _action(loading, action)


def _framework(loading: Loading, node: Node) -> None:
    """An id with its edition, and its levels, weakest first."""
    read = loading.read
    fields = read.fields(node, "a framework", FRAMEWORK_KEYS)
    form = "a framework with its edition, such as acme:2026"
    name = read.name(fields.get("id"), "id", FRAMEWORK, form, rule="L19")
    levels = read.texts(fields.get("levels"), "levels")
    if len(levels) > MAX_FRAMEWORK_LEVELS:
        read.fault(fields.where, f"a framework has at most {MAX_FRAMEWORK_LEVELS} levels")
    if name in FRAMEWORKS:
        read.fault(fields.where, f"framework '{name}' is built in")
        return
    loading.once("framework", name, fields.where)
    loading.frameworks[name] = tuple(level.value for level in levels)


def _action(loading: Loading, action: Text) -> None:
    if not ACTION.fullmatch(action.value):
        loading.read.fault(action.where, f"action '{action.value}' is not words of a-z, 0-9 and '_' joined by '.'")
    elif loading.knows_action(action.value):
        loading.read.fault(action.where, f"action '{action.value}' is built in")
    loading.actions.add(action.value)


def known_levels(loading: Loading, framework: str, where: Where) -> tuple[str, ...]:
    """The levels of a framework, weakest first; none if it is unknown, which is a fault."""
    levels = loading.frameworks.get(framework)
    if levels is not None:
        return levels
    editions = sorted(name for name in loading.frameworks if name.split(":")[0] == framework)
    advice = (
        f"say which edition: {', '.join(editions)}"
        if editions
        else f"known are {', '.join(sorted(loading.frameworks))}"
    )
    loading.read.fault(where, f"unknown framework '{framework}'; {advice}", rule="L20" if ":" in framework else "L19")
    return ()


def edges(loading: Loading, node: Node | None) -> tuple[Edge, ...]:
    """The edges; one that would make a level include itself, or a stronger one of its framework, is a fault."""
    found = tuple(_edge(loading, item) for item in loading.read.items(node, "implies", most=MAX_EDGES))
    for edge in found:
        if edge.stronger.framework != edge.weaker.framework and edge.stronger in closed(
            (edge.weaker,), loading.frameworks, found
        ):
            loading.read.fault(
                edge.where,
                f"'{edge.stronger}' may not include '{edge.weaker}', which includes '{edge.stronger}' already",
                rule="L16",
            )
    return found


def _edge(loading: Loading, node: Node) -> Edge:
    fields = loading.read.fields(node, "an edge", EDGE_KEYS)
    stronger = _claim(loading, fields.get("from"), "from")
    weaker = _claim(loading, fields.get("to"), "to")
    if stronger.framework and stronger.framework == weaker.framework:
        loading.read.fault(
            fields.where, f"an edge joins two frameworks; the order within '{stronger.framework}' is fixed", rule="L16"
        )
    elif stronger.level and weaker.level:
        loading.once("edge", f"{stronger} to {weaker}", fields.where)
    return Edge(fields.where, stronger, weaker)


def _claim(loading: Loading, node: Node | None, what: str) -> Claim:
    text = loading.read.text(node, what)
    if node is None or not text.strip():
        return Claim("", "")
    framework, slash, level = text.partition("/")
    if not slash:
        loading.read.fault(node.where, f"{what} '{text}' is not a framework and a level, such as x1254:2020/aal2")
        return Claim("", "")
    levels = known_levels(loading, framework, node.where)
    if levels and level not in levels:
        loading.read.fault(node.where, f"unknown level of {framework} '{level}'; known are {', '.join(levels)}")
    return Claim(framework, level)
