"""Which document, and which of its pages, the approval's page shows: by its address or form, without a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from idp.activation.shown import Shown
from idp.web.interaction import Interaction
from idp.web.shown import documents
from idp.web.shown.documents import View

_MAX_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Choice:
    """What is shown; both numbers count from 1."""

    view: View
    document: int
    page: int

    def at(self, number: int) -> Shown:
        """The document of that number."""
        return self.view.documents[number - 1]


def show_documents(interaction: Interaction, parameters: Mapping[str, str]) -> Choice | None:
    """What a request asks to see; None: there are no documents to be shown.

    :param parameters: the request's.
    """
    found = documents.view(interaction)
    if found is None:
        return None
    document = _number(parameters.get("document", ""), len(found.documents))
    page = _number(parameters.get("page", ""), found.documents[document - 1].pages)
    return Choice(found, document, page)


def _number(text: str, most: int) -> int:
    """A number of the address; what is none, or out of bounds, is the first."""
    if not text.isascii() or not text.isdecimal() or len(text) > _MAX_DIGITS:
        return 1
    return int(text) if 1 <= int(text) <= most else 1
