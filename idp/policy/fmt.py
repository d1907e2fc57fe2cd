"""One layout for policy files and their cases, which keeps every comment and changes no meaning.

Keys stand in the order of the grammar, indentation is two spaces, a list of words stands on one line where it fits, and
mappings stay on one line where their author wrote them so and nothing inside has a comment.  What comes out is read
again and compared with what went in; where that is not the same, the file is refused rather than damaged
(``docs/adr/0013-a-formatter-of-our-own.md``).
"""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import yaml
from yaml.events import ScalarEvent

from idp.policy.document import Mapping as MappingNode
from idp.policy.document import Node, Scalar, Sequence, Unreadable, read_document
from idp.policy.errors import Fault, LayoutRefused, PolicyLoadError
from idp.policy.fmt_source import Collection, Entry, ScalarNode, Source, comments_of, read_source

WIDTH: Final = 120
"""Characters of a line."""

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
"""Texts that mean themselves wherever they stand without quotes."""
_SIGN: Final = re.compile(r"([|>])([+-]?)(?:[ \t]|$)")

ORDER: Final[Mapping[str, tuple[str, ...]]] = {
    "policy": (
        "policy", "name", "description", "frameworks", "actions", "implies", "factors", "upstream", "levels", "rules",
    ),
    "frameworks": ("id", "levels"),
    "implies": ("from", "to"),
    "limits": (
        "min_length", "lifetime", "step", "max_failures", "reset_on_resend", "restricted_notice", "transfer",
    ),
    "upstream": ("issuer", "cap", "max_age", "mappings"),
    "mappings": ("when", "evidence"),
    "mapped": ("class", "acr", "amr", "attribute"),
    "levels": (
        "name", "title", "claims", "acr", "saml", "notified", "statement", "implies", "proofing", "freshness",
        "session_limit", "idle_limit", "any_of",
    ),
    "any_of": ("all_of", "different_categories"),
    "requirement": (
        "factor", "category", "flags", "without", "issuer", "channel", "attestation", "per_transaction", "max_age",
    ),
    "rules": ("id", "action", "when", "require", "evidence", "because"),
    "when": ("client", "group", "attribute", "credential", "network", "time"),
    "credential": ("id", "scal", "qualifier"),
    "time": ("days", "from", "to", "zone"),
    "policy-test": ("policy-test", "at", "people", "cases"),
    "person": ("proofing", "groups", "attributes", "enrolled"),
    "case": (
        "name", "person", "action", "client", "credential", "network", "transaction", "at", "evidence", "logins",
        "request", "expect",
    ),
    "login": ("issuer", "class", "acr", "amr", "attributes", "age", "for"),
    "used": ("factor", "id", "category", "age", "for", "flags", "issuer", "channel", "attestation"),
    "request": ("acr_values", "essential_acr", "max_age", "force"),
    "expect": ("outcome", "refusal", "acr", "loa", "session_limit", "idle_limit", "options", "reasons"),
}  # fmt: skip
"""For each kind of mapping its keys in order; others stay in the order they have, after these."""

_CHILDREN: Final[Mapping[tuple[str, str], str]] = {
    ("policy", "frameworks"): "frameworks",
    ("policy", "implies"): "implies",
    ("policy", "factors"): "factors",
    ("factors", "*"): "limits",
    ("policy", "upstream"): "upstream",
    ("upstream", "mappings"): "mappings",
    ("mappings", "when"): "mapped",
    ("mappings", "evidence"): "requirement",
    ("policy", "levels"): "levels",
    ("levels", "any_of"): "any_of",
    ("any_of", "all_of"): "requirement",
    ("policy", "rules"): "rules",
    ("rules", "when"): "when",
    ("rules", "evidence"): "requirement",
    ("when", "credential"): "credential",
    ("when", "time"): "time",
    ("policy-test", "people"): "people",
    ("people", "*"): "person",
    ("person", "enrolled"): "used",
    ("policy-test", "cases"): "case",
    ("case", "person"): "person",
    ("case", "credential"): "credential",
    ("case", "evidence"): "used",
    ("case", "logins"): "login",
    ("case", "request"): "request",
    ("case", "expect"): "expect",
}
"""Which kind of mapping stands below a key of another kind, itself or as an item of a list."""


def format_document(data: bytes, file: str) -> str:
    """The file in its layout; the same layout again changes nothing.

    :raises PolicyLoadError: it is not a document that the strict reader takes.
    :raises LayoutRefused: it cannot be laid out without changing it.
    """
    before = _read(data, file)
    if not isinstance(before, MappingNode):
        raise LayoutRefused(f"{file}: not a mapping, so neither a policy nor a file of cases")
    text = data.decode("utf-8")
    source = read_source(text)
    keys = {entry.key.text for entry in source.root.entries if entry.key is not None}
    kind = "policy-test" if "policy-test" in keys else "policy"
    lines = [*_head(source), *_block(source.root, 0, kind)]
    made = "\n".join([*lines, ""])
    # What was read again must be what was written before: this is what makes the rest of this module safe to trust.
    if _meaning(_read(made.encode(), file)) != _meaning(before):
        raise LayoutRefused(f"{file}: cannot be laid out without changing what it says")
    if Counter(comments_of(made)) != Counter(source.comments):
        raise LayoutRefused(f"{file}: cannot be laid out without losing a comment")
    return made


def _read(data: bytes, file: str) -> Node:
    faults: list[Fault] = []
    try:
        node = read_document(data, file, faults)
    except Unreadable:
        node = None
    if node is None or faults:
        raise PolicyLoadError(tuple(sorted(set(faults))))
    return node


def _meaning(node: Node) -> object:
    """What a tree says, without places.  Without quotes, a text may be a number; with a blank in it, it cannot."""
    if isinstance(node, Scalar):
        return node.text, node.plain or bool(re.search(r"\s", node.text))
    if isinstance(node, Sequence):
        return [_meaning(item) for item in node.items]
    return {key.text: _meaning(value) for key, value in node.entries}


def _head(source: Source) -> Iterator[str]:
    """What stands above all keys; it stays there, whichever key comes first."""
    for number, comment in enumerate(source.head):
        if comment.blank and number:
            yield ""
        yield comment.text
    if source.head and source.root.entries[0].blank:
        yield ""


def _block(node: Collection, indent: int, kind: str) -> list[str]:
    """A collection over several lines, each with its indentation."""
    lines: list[str] = []
    entries = _ordered(node, kind)
    for entry in entries:
        below = _below(kind, entry)
        for comment in entry.lead:
            _add(lines, [" " * indent + comment.text], blank=comment.blank)
        _add(lines, _entry_lines(entry, indent, below), blank=entry.blank)
    for comment in node.tail:
        _add(lines, [" " * indent + comment.text], blank=comment.blank)
    return lines


def _entry_lines(entry: Entry, indent: int, kind: str) -> list[str]:
    pad = " " * indent
    sign = f"{pad}- " if entry.key is None else f"{pad}{_key(entry.key, flow=False)}:"
    gap = "" if entry.key is None else " "
    side = f"  {entry.side}" if entry.side else ""
    value = entry.value
    if isinstance(value, ScalarNode):
        if value.style in {"|", ">"}:
            return _literal(value, f"{sign}{gap}", side, indent + 2)
        return _inline(value, f"{sign}{gap}", side, indent + 2)
    flow = _flow(value, kind)
    if flow is not None and (not value.entries or len(f"{sign}{gap}{flow}") <= WIDTH):
        return [f"{sign}{gap}{flow}{side}"]
    if entry.key is not None:
        return [f"{sign}{side}", *_block(value, indent + 2, kind)]
    return _item_lines(value, indent, kind, side)


def _item_lines(value: Collection, indent: int, kind: str, side: str) -> list[str]:
    """An item that is a collection: its first entry stands beside the dash, comments above it."""
    first = _ordered(value, kind)[0]
    above = [" " * indent + comment.text for comment in first.lead]
    first.lead = []
    lines = _block(value, indent + 2, kind)
    above = [*above, *([" " * indent + side.strip()] if side else [])]
    return [*above, f"{' ' * indent}- {lines[0][indent + 2 :]}", *lines[1:]]


def _ordered(node: Collection, kind: str) -> list[Entry]:
    if not node.mapping:
        return node.entries
    order = ORDER.get(kind, ())
    places = {name: place for place, name in enumerate(order)}
    return sorted(node.entries, key=lambda entry: places.get(entry.key.text if entry.key else "", len(order)))


def _below(kind: str, entry: Entry) -> str:
    """The kind of mapping below an entry; that of an item is its list's."""
    if entry.key is None:
        return kind
    return _CHILDREN.get((kind, entry.key.text)) or _CHILDREN.get((kind, "*"), "")


def _add(lines: list[str], more: Iterable[str], *, blank: bool) -> None:
    if blank and lines:
        lines.append("")
    lines.extend(more)


# Scalars


def _key(key: ScalarNode, *, flow: bool) -> str:
    sample = f"{{{key.text}: x}}" if flow else f"{key.text}: x"
    return key.text if key.style is None and _stays(sample, key.text) else _quoted(key.text)


def _inline(value: ScalarNode, sign: str, side: str, indent: int) -> list[str]:
    """On one line; words that do not fit are folded."""
    plain = value.style is None and "\n" not in value.text and _stays(f"x: {value.text}", value.text)
    text = value.text if plain else _quoted(value.text)
    long = len(sign) + len(text) > WIDTH and plain and " " in text
    if not long or text != " ".join(text.split()):
        return [f"{sign}{text}{side}"]
    pad = " " * indent
    folded = textwrap.wrap(text, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return [f"{sign}>-{side}", *(pad + line for line in folded)]


def _literal(value: ScalarNode, before: str, side: str, indent: int) -> list[str]:
    """Its lines as they are, at another indentation."""
    header, *lines = value.source.splitlines()
    found = _SIGN.match(header)
    if found is None or found[2] == "+":
        raise LayoutRefused(
            f"a text after '{header.split('#')[0].strip()}' cannot be laid out: use '|', '|-', '>' or '>-'"
        )
    while lines and not lines[-1].strip():
        lines.pop()
    margin = min((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), default=0)
    pad = " " * indent
    return [f"{before}{found[1]}{found[2]}{side}", *((pad + line[margin:]).rstrip() for line in lines)]


def _stays(sample: str, text: str) -> bool:
    """Whether a text without quotes is read as itself."""
    if _PLAIN.fullmatch(text):
        return True
    try:
        events = [event for event in yaml.parse(sample, Loader=yaml.SafeLoader) if isinstance(event, ScalarEvent)]
    except yaml.YAMLError:
        return False
    others = 0 if sample.startswith("[") else 1
    return len(events) == 1 + others and any(event.value == text and event.style is None for event in events)


def _quoted(text: str) -> str:
    if ('"' in text or "\\" in text) and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escaped(char) for char in quoted)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# On one line


def _flow(node: Collection, kind: str) -> str | None:
    """The collection on one line, or None where it may not stand so."""
    words = not node.mapping and all(isinstance(entry.value, ScalarNode) for entry in node.entries)
    if node.commented() or not (node.flow or words):
        return None
    parts = [_flow_entry(entry, _below(kind, entry)) for entry in _ordered(node, kind)]
    if None in parts:
        return None
    inner = ", ".join(part for part in parts if part is not None)
    return f"{{{inner}}}" if node.mapping else f"[{inner}]"


def _flow_entry(entry: Entry, kind: str) -> str | None:
    value = _flow(entry.value, kind) if isinstance(entry.value, Collection) else _flow_scalar(entry.value)
    if value is None or entry.key is None:
        return value
    return f"{_key(entry.key, flow=True)}: {value}"


def _flow_scalar(value: ScalarNode) -> str | None:
    """Texts over several lines stay so, and what means itself without quotes only outside of brackets stays outside."""
    if value.style in {"|", ">"}:
        return None
    if value.style is None and "\n" not in value.text:
        return value.text if _stays(f"[{value.text}]", value.text) else None
    return _quoted(value.text)
