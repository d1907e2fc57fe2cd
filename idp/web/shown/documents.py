"""What there is of an approval's documents: for the page that shows them, and for the record of the approval."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Final, cast

from flask import Flask, current_app
from sqlalchemy import Connection

from documents.examiner import Examiner, ExaminerSettings
from documents.render import Renderer
from foundation.egress import Egress
from idp.activation.shown import NOT_FETCHED, OTHER_DOCUMENT, Shown, digest_of, lines_of
from idp.errors import DocumentsNotShown
from idp.storage import clients, shown_documents
from idp.storage.engine import reading
from idp.storage.shown_documents import Keys, Place
from idp.web.interaction import Interaction
from idp.web.services import Services, services
from idp.web.shown.fetching import Fetcher

_EXTENSION: Final = "privyseal.shown"


@dataclass(frozen=True, slots=True)
class Showing:
    """Whoever fetches and draws for this app."""

    fetcher: Fetcher
    renderer: Renderer


@dataclass(frozen=True, slots=True)
class View:
    """The documents of one approval, in the order of their digests."""

    documents: tuple[Shown, ...]
    demanded: bool
    """The relying party's registration: nothing is approved that was not shown."""

    @property
    def complete(self) -> bool:
        """Whether all of them can be looked at."""
        return all(item.state == "shown" for item in self.documents)

    @property
    def visible(self) -> bool:
        """Whether any of them is here."""
        return any(item.state != "failed" for item in self.documents)

    @property
    def missing(self) -> bool:
        """Whether asking once more may bring something."""
        return any(item.state == "failed" for item in self.documents)

    @property
    def different(self) -> bool:
        """Whether a document is another than its digest says."""
        return any(item.cause == OTHER_DOCUMENT for item in self.documents)

    @property
    def approvable(self) -> bool:
        """Whether the person may approve: nothing is known to be false, and all is seen where that is demanded."""
        return not self.different and (self.complete or not self.demanded)


def install(app: Flask, made: Services) -> None:
    """Make them ready to be fetched and drawn; processes are started when the first is."""
    settings = made.settings.documents
    renderer = Renderer(workers=settings.drawing)
    examiner = Examiner(ExaminerSettings(workers=settings.drawing))
    fetcher = Fetcher(Egress(made.settings.egress_allow), renderer, examiner, settings)
    # Its processes end with the app, whoever forgets to close it.
    weakref.finalize(fetcher, examiner.close)
    app.extensions[_EXTENSION] = Showing(fetcher, renderer)


def has_documents(interaction: Interaction) -> bool:
    """Whether the relying party said where the documents are."""
    return count(interaction) > 0


def count(interaction: Interaction) -> int:
    """How many documents it has places for."""
    intent = interaction.request.intent
    return 0 if intent is None else len(intent.documents)


def arrive(interaction: Interaction) -> None:
    """The person has come to the approval: fetch what nobody has tried to fetch yet."""
    if has_documents(interaction):
        _fetch(interaction, lambda found: found is NOT_FETCHED)


def fetch_again(interaction: Interaction) -> None:
    """The person asks for what is missing."""
    if has_documents(interaction):
        _fetch(interaction, lambda found: found.state == "failed")


def view(interaction: Interaction) -> View | None:
    """What there is; None: the relying party did not say where the documents are."""
    if not has_documents(interaction):
        return None
    with reading(services().engine) as connection:
        client = clients.find_active(connection, interaction.request.client_id)
        documents = _all(connection, interaction)
    return View(documents, client is not None and client.registration.documents_shown)


def page(interaction: Interaction, position: int, number: int, width: int) -> bytes | None:
    """A page's picture, as PNG; None: there is no such document here.

    :param position: from 0.
    :param number: from 1.
    :raises DocumentsError: it cannot be drawn.
    """
    found = content(interaction, position)
    return None if found is None else _showing().renderer.page(found, number, width)


def content(interaction: Interaction, position: int) -> bytes | None:
    """A document's octets; None: it is not here.

    :param position: from 0.
    """
    with reading(services().engine) as connection:
        return shown_documents.content(connection, _keys(), Place(interaction.id, position))


def check(interaction: Interaction) -> View | None:
    """The person approves: what there is to be recorded of it.

    :raises DocumentsNotShown: it may not be approved.
    """
    found = view(interaction)
    if found is not None and not found.approvable:
        raise DocumentsNotShown("a document is another one, or was not shown and had to be")
    return found


def record(interaction: Interaction, found: View | None) -> dict[str, Any]:
    """What the record of the approval says of it."""
    lines = _lines(interaction, found)
    return {"shown": list(lines), "shown_sha256": digest_of(lines)} if lines else {}


def mark_of(interaction: Interaction, found: View | None) -> str:
    """Stands for all that a page says of the documents, as it would be recorded; empty: no places are named."""
    lines = _lines(interaction, found)
    return digest_of(lines) if lines else ""


def _lines(interaction: Interaction, found: View | None) -> tuple[str, ...]:
    intent = interaction.request.intent
    if found is None or intent is None:
        return ()
    return lines_of([item.digest for item in intent.digests], found.documents)


def forget(connection: Connection, interaction: Interaction) -> None:
    """The approval has ended, one way or another."""
    if has_documents(interaction):
        shown_documents.forget(connection, interaction.id)


def _fetch(interaction: Interaction, wanted: Any) -> None:
    with reading(services().engine) as connection:
        known = _all(connection, interaction)
    positions = tuple(position for position, found in enumerate(known) if wanted(found))
    _showing().fetcher.fetch(services(), interaction, positions)


def _all(connection: Connection, interaction: Interaction) -> tuple[Shown, ...]:
    kept = shown_documents.of_interaction(connection, _keys(), interaction.id)
    places = range(count(interaction))
    return tuple(Shown.from_json(kept[at]) if at in kept else NOT_FETCHED for at in places)


def _keys() -> Keys:
    return Keys(services().keys.secret, services().random)


def _showing() -> Showing:
    return cast("Showing", current_app.extensions[_EXTENSION])
