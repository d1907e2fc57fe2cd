"""The decision code of the module: what says yes or no to a signature is small enough to be read in one sitting."""

from __future__ import annotations

import ast
import io
import tokenize
from typing import Final

import pytest

from tests.architecture.source import ROOT

DECIDES: Final = ("binding", "ledger", "proof", "revocation", "verify")
"""Modules of :mod:`signing.sam`; docs/signing.md says what each decides."""
MOST_LINES: Final = 500
_LAYOUT: Final = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines_of_code(source: str) -> int:
    """Lines with code: neither blank nor of a comment, a docstring or an import."""
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _LAYOUT:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(node, ast.Expr) and _is_text(node.value)):
            found.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(found)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_the_decision_code_stays_below_500_lines() -> None:
    sources = [(ROOT / "signing" / "sam" / f"{name}.py").read_text(encoding="utf-8") for name in DECIDES]
    assert sum(map(lines_of_code, sources)) < MOST_LINES


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""Text\n\nand more."""\n', 0),
        ("import a\nfrom b import (\n    c,\n)\n", 0),
        ("# why\n\nx = 1  # y\n", 1),
        ('def f(\n    a: int,\n) -> str:\n    """Text."""\n    return """\n\n"""\n', 6),
    ],
)
def test_lines_of_code_are_counted(source: str, lines: int) -> None:
    assert lines_of_code(source) == lines
