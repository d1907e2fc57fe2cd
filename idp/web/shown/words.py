"""What is known of documents, as lines of a text: the same words as on the page that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import current_app

from idp.activation.shown import Shown
from idp.web.interaction import Interaction
from idp.web.shown import documents


def told(interaction: Interaction, party: str) -> tuple[tuple[str, ...], ...]:
    """Of each document, in the order of the digests, what a person is told of it; empty: no places are named.

    :param party: who asks, as it is shown.
    """
    view = documents.view(interaction)
    if view is None:
        return ()
    words = current_app.jinja_env.get_template("_documents.html").module
    return tuple(tuple(_told(words, item, party)) for item in view.documents)


def _told(words: Any, item: Shown, party: str) -> Iterator[str]:
    if item.state != "failed":
        yield _plain(words.known(item, party))
    if item.state != "shown":
        yield _plain(words.unseen(), words.cause_of(item, party))
    for code, pages in item.told:
        yield _plain(words.finding(code), words.found_on(pages)) if pages else _plain(words.finding(code))


def _plain(*parts: Any) -> str:
    """Parts of a page as text."""
    return " ".join(part.striptags() for part in parts)
