"""Fetches the documents of an approval from where the relying party keeps them.

It is done when the person comes to the approval: by the request that brings them there, or by the button of the page
that asks once more, and never by a page that is looked at.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests

from documents.errors import DocumentRefused, DocumentsError, ExaminerUnavailable
from documents.examiner import Examiner
from documents.render import Renderer
from foundation import log
from foundation.clock import epoch
from foundation.egress import Egress, read_limited
from foundation.errors import EgressRefused
from foundation.jose import sign_compact
from idp.activation.intent import DocumentLocation, SignatureIntent
from idp.activation.shown import OTHER_DOCUMENT, Shown
from idp.document_settings import DocumentSettings
from idp.oidc.document_locations import FETCH_TOKEN_TYPE, fetch_claims
from idp.storage import shown_documents
from idp.storage.shown_documents import Kept, Keys, Place
from idp.web.browser import new_id
from idp.web.interaction import Interaction
from idp.web.services import Services

_HASHES: Final = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.8": "sha3_256",
    "2.16.840.1.101.3.4.2.9": "sha3_384",
    "2.16.840.1.101.3.4.2.10": "sha3_512",
}
SIGNED_BEFORE: Final = "signed_before"
NOT_EXAMINED: Final = "not_examined"
"""Findings of this module's; the others are codes of :mod:`documents.findings`, or why it was refused."""
_logger = log.get(__name__)


class _NotFetched(Exception):
    """Why not, as a code."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Fetcher:
    """Fetches for one approval at a time in each of few threads."""

    def __init__(self, egress: Egress, renderer: Renderer, examiner: Examiner, settings: DocumentSettings) -> None:
        self._egress = egress
        self._renderer = renderer
        self._examiner = examiner
        self._settings = settings
        self._turns = threading.Semaphore(settings.fetching)

    def fetch(self, services: Services, interaction: Interaction, positions: tuple[int, ...]) -> None:
        """Fetch those documents, compare them with their digests, look at them, and keep them.

        What could not be done by the time that the settings allow is left for another request.
        """
        intent = interaction.request.intent
        if intent is None or not positions:
            return
        with self._turn() as free:
            if free:
                self._fetch(services, interaction, intent, positions)

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        free = self._turns.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self._turns.release()

    def _fetch(
        self, services: Services, interaction: Interaction, intent: SignatureIntent, positions: tuple[int, ...]
    ) -> None:
        keys = Keys(services.keys.secret, services.random)
        until = time.monotonic() + self._settings.fetch_seconds
        left = self._settings.max_total_octets
        for position in positions:
            seconds = until - time.monotonic()
            if seconds <= 0:
                return
            found, content = self._fetched(services, interaction, intent, position, (left, seconds))
            left -= found.octets
            kept = Kept(found.to_json(), content, epoch(interaction.stored.expires_at))
            place = Place(interaction.id, position)
            with services.engine.begin() as connection:
                shown_documents.put(connection, keys, place, kept)

    def _fetched(
        self,
        services: Services,
        interaction: Interaction,
        intent: SignatureIntent,
        position: int,
        bounds: tuple[int, float],
    ) -> tuple[Shown, bytes | None]:
        digest, location = intent.digests[position].digest, intent.documents[position]
        try:
            self._check_room(services, bounds[0])
            content = self._download(services, interaction, location, digest, bounds)
        except _NotFetched as error:
            _logger.warning(
                "a document could not be fetched",
                extra={"fields": {"txn": interaction.txn, "position": position, "cause": error.cause}},
            )
            return Shown("failed", error.cause), None
        if hashlib.new(_HASHES[intent.hash_alg], content).digest() != digest:
            return Shown("failed", OTHER_DOCUMENT), None
        return self._looked_at(content), content

    def _check_room(self, services: Services, left: int) -> None:
        with services.engine.connect() as connection:
            kept = shown_documents.kept_octets(connection, epoch(services.clock.now()))
        if left <= 0:
            raise _NotFetched("too_large")
        if kept >= self._settings.kept_octets:
            raise _NotFetched("busy")

    def _download(
        self,
        services: Services,
        interaction: Interaction,
        location: DocumentLocation,
        digest: bytes,
        bounds: tuple[int, float],
    ) -> bytes:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if location.bearer:
            headers["Authorization"] = f"Bearer {self._token(services, interaction, digest)}"
        most = min(self._settings.max_octets, bounds[0])
        try:
            with self._egress.brief_session(bounds[1]) as session:
                response = session.get(location.uri, headers=headers, stream=True, allow_redirects=False)
                with response:
                    if response.status_code != requests.codes.ok:
                        raise _NotFetched("refused")
                    if int(response.headers.get("Content-Length", "0") or "0") > most:
                        raise _NotFetched("too_large")
                    return _read(response, most)
        except requests.TooManyRedirects as error:
            raise _NotFetched("refused") from error
        except (requests.RequestException, EgressRefused, OSError, ValueError) as error:
            # Neither the address nor what the library says of it: both may hold what opens the document.
            raise _NotFetched("unreachable") from error

    @staticmethod
    def _token(services: Services, interaction: Interaction, digest: bytes) -> str:
        intent = interaction.request.intent
        claims = fetch_claims(
            issuer=services.settings.issuer,
            client_id=interaction.request.client_id,
            jti=new_id(services),
            digest=digest,
            hash_alg="" if intent is None else intent.hash_alg,
            now=services.clock.now(),
        )
        return sign_compact(claims, services.keys.token_key(), FETCH_TOKEN_TYPE)

    def _looked_at(self, content: bytes) -> Shown:
        try:
            found = self._renderer.look(content)
        except DocumentRefused as error:
            return Shown("unreadable", error.reason, octets=len(content))
        except DocumentsError as error:
            return Shown("unreadable", error.code, octets=len(content))
        findings = self._examined(content)
        return Shown("shown", "", len(content), found.pages, found.renderer, findings)

    def _examined(self, content: bytes) -> tuple[tuple[str, int], ...]:
        """What the signer is told of a document whose pages they see."""
        try:
            examined = self._examiner.examine(content)
        except DocumentRefused as error:
            # The signing service will not take it; somebody else may.
            return ((error.reason, 0),)
        except ExaminerUnavailable:
            return ((NOT_EXAMINED, 0),)
        before = ((SIGNED_BEFORE, 0),) if examined.signatures else ()
        return (*before, *((item.code, item.page or 0) for item in examined.findings))


def _read(response: requests.Response, most: int) -> bytes:
    try:
        return read_limited(response, most)
    except EgressRefused as error:
        raise _NotFetched("too_large") from error
