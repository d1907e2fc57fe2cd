"""A PDF examined before it is signed or shown: refused with the reason, or accepted with what is to be said of it.

Pure, and for confined processes: pyHanko reads whatever a stranger made.  Servers ask a
:class:`documents.examiner.Examiner`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pyhanko.pdf_utils import generic

from documents.bounds import Bounds
from documents.content import Content, unused
from documents.errors import DocumentRefused
from documents.expansion import Expansion
from documents.findings import Examination
from documents.pages import pages_of
from documents.prior import SignatureDictionaries, check_prior
from documents.reading import faults_as, let_go, open_pdf, references
from documents.structure import check_structure
from documents.walk import Walk

_BOUNDS: Final = Bounds()


def examine(document: bytes, bounds: Bounds = _BOUNDS) -> Examination:
    """Examine a PDF.

    :raises DocumentRefused: it is not one to be signed.
    :raises MemoryError: it needs more than this process has.
    """
    reader = open_pdf(document, bounds)
    with let_go(reader):
        return _examined(reader, document, bounds)


def _examined(reader: Any, document: bytes, bounds: Bounds) -> Examination:
    content, signed = Content(), SignatureDictionaries()
    with faults_as("malformed"):
        leaves = pages_of(reader, bounds)
        expansion = Expansion(bounds, len(document))

        def visit(node: Any, page: int | None) -> None:
            content.visit(node, page)
            signed.visit(node)
            if isinstance(node, generic.StreamObject):
                expansion.count(node)

        walk = Walk(reader, bounds, visit)
        walk.from_pages(leaves)
        walk.from_trailer()
        for node in _unreachable(reader, walk):
            signed.visit(node)
            if unused(node):
                content.add("unused_content")
            if isinstance(node, generic.StreamObject):
                expansion.count(node)
    signatures, final = check_prior(reader, document, bounds, content)
    signed.check(reader)
    with faults_as("malformed"):
        version = ".".join(map(str, reader.input_version))
        numbers = set(references(reader))
        check_structure(reader, document, numbers)
    # The last of all: who only time-stamps, which such a certification permits, knows that all else was looked at.
    if final:
        raise DocumentRefused("certified_final")
    return Examination(content.findings, tuple(leaf.page for leaf in leaves), signatures, len(numbers), version)


def _unreachable(reader: Any, walk: Walk) -> Iterator[Any]:
    """What nothing refers to is not shown, but counts, and may be waiting for a revision that refers to it."""
    for key in sorted(set(references(reader)) - walk.seen):
        reference = generic.Reference(*key, pdf=reader)
        # Tables that are streams were read already, and bounded.
        if reference not in reader.xrefs.xref_stream_refs and reader.xrefs[reference] is not None:
            node = reader.get_object(reference)
            if isinstance(node, generic.DictionaryObject):
                yield node
