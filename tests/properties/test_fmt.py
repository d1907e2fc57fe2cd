"""Whatever a file looks like: its layout says the same with the same comments, and a second time changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from idp.policy.document import Mapping, Node, Scalar, Unreadable, read_document
from idp.policy.errors import Fault, LayoutRefused
from idp.policy.fmt import ORDER, format_document
from idp.policy.fmt_source import comments_of
from tests.properties.examples import examples
from tests.unit.idp_policy.support import POLICY
from tests.unit.idp_policy.test_fmt import COMMENTED

SAMPLES = [
    POLICY.partition("  - name: high")[0],
    POLICY.partition("rules:")[2].join(["rules:", ""]).partition("  - id: documents")[0],
    COMMENTED,
    "policy-test: 1\npeople:\n  anna: {enrolled: [password,\n    totp]}\ncases:\n- name: |\n    a\n    # b\n"
    "  evidence:\n    - {factor: a, for: t}\n    - 'b'\n",
]
KEYS = st.sampled_from(sorted({key for order in ORDER.values() for key in order})) | st.text(max_size=6)
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["2", "true", "a: b", "a #b", "- x", "[a", "it's", "word " * 40, "a\n\nb\n"]
)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        TEXTS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=12,
    ),
    min_size=1,
    max_size=5,
)
COMMENTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=12)


def tree(text: str) -> Node | None:
    faults: list[Fault] = []
    try:
        node = read_document(text.encode(), "f", faults)
    except Unreadable:
        return None
    return None if faults else node


def meaning(node: Node) -> Any:
    """With what stood without quotes, where that could be a number."""
    if isinstance(node, Scalar):
        return node.text, node.plain or len(node.text.split()) > 1 or node.text != node.text.strip()
    if isinstance(node, Mapping):
        return {key.text: meaning(value) for key, value in node.entries}
    return [meaning(item) for item in node.items]


def check(text: str) -> None:
    before = tree(text)
    assume(isinstance(before, Mapping))
    assert before is not None
    try:
        made = format_document(text.encode(), "f")
    except LayoutRefused:
        reject()
    after = tree(made)
    assert after is not None
    assert meaning(after) == meaning(before)
    assert Counter(comments_of(made)) == Counter(comments_of(text))
    assert format_document(made.encode(), "f") == made
    assert made.endswith("\n")
    assert not made.endswith("\n\n")


@settings(max_examples=examples(25), deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.lists(
        st.tuples(st.integers(0, 200), st.sampled_from(["above", "beside", "blank"]), st.integers(0, 8), COMMENTS),
        max_size=8,
    ),
)
def test_comments_and_blank_lines_anywhere(sample: str, changes: list[tuple[int, str, int, str]]) -> None:
    lines = sample.splitlines()
    for place, kind, indent, comment in changes:
        at = place % len(lines)
        if kind == "beside":
            lines[at] += f" # {comment}"
        else:
            lines.insert(at, "" if kind == "blank" else f"{' ' * indent}# {comment}")
    check("\n".join(lines))


@settings(max_examples=examples(25), deadline=None)
@given(TREES, st.sampled_from([None, True, False]), st.sampled_from([None, "'", '"', "|", ">"]), st.integers(20, 200))
def test_any_tree_however_it_was_written(value: Any, flow: bool | None, style: str | None, width: int) -> None:
    text = yaml.dump(
        value, default_flow_style=flow, default_style=style, width=width, sort_keys=False, allow_unicode=True
    )
    check(text)
