"""The web tier's half of the link; imports nothing of the module behind it."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from foundation import claims as read
from foundation.errors import JoseError, TokenMalformed
from foundation.jose import parse_json_object
from signing.link.codes import BAD_REQUEST, BUSY, NOT_PERMITTED
from signing.link.documents import SignDocumentsRequest, SignedDocument, SignPdfsRequest, documents_from_json
from signing.link.errors import LinkRefused, LinkUnavailable, MessageInvalid
from signing.link.frames import receive_octets, send_following, send_frame, wait_for_frame
from signing.link.messages import (
    MAX_DIGESTS_IN_REQUEST,
    MAX_ITEM_CHARACTERS,
    CreatedCredential,
    CredentialView,
    ExtendRequest,
    OfferedKey,
    SignRequest,
    octets_from_json,
    octets_to_json,
)
from signing.link.tls import Tls, TlsEndpoint, connect

T = TypeVar("T")

FOLLOWING_SECONDS: Final = 60.0
"""How much longer a request may take that a file follows."""
_PING_SECONDS: Final = 3.0
_MOST_KINDS: Final = 32
_REMEMBERED_OCTETS: Final = 16 * 1024
"""Of an answer: one with a chain of qualified certificates has 8 to 12 KiB."""
_REMEMBERED_VIEWS: Final = 512
"""With their octets 16 MiB at the very most."""
_LAST_WORDS: Final = frozenset({BAD_REQUEST, BUSY, NOT_PERMITTED})
"""Refusals after which the module may close the connection: it is not used again."""


class SamClient:
    """Asks the signature activation module.  Thread-safe: a request has a connection to itself for its duration.

    Every method raises :class:`LinkUnavailable` where no answer came, :class:`LinkRefused` where it was no, and
    :class:`MessageInvalid` where it could not be read; all are :class:`signing.link.errors.LinkError`.
    Nothing is ever sent a second time: whether a request without an answer was carried out is not known here.
    """

    def __init__(self, endpoint: Path | TlsEndpoint, timeout_seconds: float = 15, pool_size: int = 16) -> None:
        """Connect to nothing yet.

        :param endpoint: the module's socket, or where it listens on another host.
        :param timeout_seconds: for a whole request, the wait for a free connection included.
        :raises SettingsError: the files of TLS cannot be used.
        """
        self._connect = _TlsConnector(endpoint) if isinstance(endpoint, TlsEndpoint) else _UnixConnector(endpoint)
        self._timeout = timeout_seconds
        self._idle: deque[socket.socket] = deque()
        """The last one that was used is the next one that is."""
        self._slots = threading.BoundedSemaphore(pool_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def ping(self) -> None:
        """Ask whether the module can sign: its store answers and its device works; 3 seconds at most."""
        self.call("ping", {}, min(self._timeout, _PING_SECONDS))

    def offered_keys(self) -> tuple[OfferedKey, ...]:
        """The kinds of key with which the module signs, by its own settings."""
        found = self.call("offered_keys", {}).get("keys")
        if not isinstance(found, list) or len(found) > _MOST_KINDS or any(not isinstance(item, dict) for item in found):
            raise MessageInvalid("keys is not a list of kinds of key")
        return tuple(OfferedKey.from_json(item) for item in found)

    def credential(self, credential_id: str) -> CredentialView:
        """One credential, deleted ones included."""
        return self._ask("credential", {"credential_id": credential_id}, self._timeout, _view)

    def list_credentials(self, owner: str) -> tuple[CredentialView, ...]:
        """The credentials of a person, oldest first, without deleted ones."""
        return tuple(CredentialView.from_json(item) for item in self.pages("list_credentials", {"owner": owner}))

    def sign(self, request: SignRequest) -> tuple[bytes, ...]:
        """Spend a SAD's allowance: one value a digest, in the request's order.

        DER ``Ecdsa-Sig-Value`` (RFC 3279 2.2.3) for EC keys, the signature's octets for RSA.
        """
        answer = self.call("sign", request.to_json())
        values = octets_from_json(answer, "signatures", MAX_DIGESTS_IN_REQUEST, MAX_ITEM_CHARACTERS)
        if len(values) != len(request.digests):
            raise MessageInvalid("the module answered with another number of values")
        return values

    def sign_documents(self, request: SignDocumentsRequest) -> tuple[SignedDocument, ...]:
        """Spend a SAD's allowance for documents: one signature a template, in the request's order."""
        signed = documents_from_json(self.call("sign_documents", request.to_json()))
        if len(signed) != len(request.templates):
            raise MessageInvalid("the module answered with another number of signatures")
        return signed

    def allow_again(self, request: SignDocumentsRequest) -> None:
        """Ask whether what was signed for these documents, and not given out, may be; spends nothing.

        :param request: a template a document, of a PDF too.
        """
        self.call("allow_again", request.to_json())

    def sign_pdfs(self, request: SignPdfsRequest, chunks: Iterable[bytes], octets: int) -> tuple[SignedDocument, ...]:
        """Spend a SAD's allowance for PDFs that are prepared for their signatures, and for what is asked with them.

        :param chunks: the whole files one after another, with zeros in the places of the signatures.
        :param octets: their length together.
        :return: the PDFs' signatures in the request's order, then those of its templates.
        """
        deadline = time.monotonic() + self._timeout + FOLLOWING_SECONDS
        with _Lease(self, deadline) as link:
            send_frame(link, {"op": "sign_pdfs", "body": request.to_json(), "octets": octets}, deadline)
            send_following(link, chunks, octets, deadline)
            signed = documents_from_json(_read(_answer(link, deadline)))
        if len(signed) != len(request.pdfs) + len(request.templates):
            raise MessageInvalid("the module answered with another number of signatures")
        return signed

    def extend(self, request: ExtendRequest) -> None:
        """Let a SAD take the place of those before it: once this returns, none of them is redeemed."""
        self.call("extend", request.to_json())

    def create_credential(self, order: str) -> CreatedCredential:
        """Carry out an order of operation ``credential.create``.

        The same order gives the same credential and request again as long as that is pending or active.
        """
        return CreatedCredential.from_json(self.call("create_credential", {"order": order}))

    def link_certificate(self, credential_id: str, chain: tuple[bytes, ...]) -> CredentialView:
        """Give a pending credential its certificate.

        :param chain: DER, the signer's first, then its issuers; the anchor may be left out.
        """
        body = {"credential_id": credential_id, "chain": octets_to_json(chain)}
        return CredentialView.from_json(self.call("link_certificate", body))

    def execute_order(self, order: str) -> CredentialView:
        """Carry out an order to suspend, resume or delete; the answer shows the credential afterwards."""
        return CredentialView.from_json(self.call("execute_order", {"order": order}))

    def revoke(self, event: str) -> None:
        """Pass on a security event; it is recorded, and holds on every node, once this returns."""
        self.call("revoke", {"event": event})

    def pages(self, operation: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The items of an answer that comes in pages: one request, with a deadline of its own, for each."""
        after: str | None = None
        while True:
            answer = self.call(operation, body if after is None else {**body, "after": after})
            items, after = _page(answer)
            yield from items
            if after is None:
                return

    def call(self, operation: str, body: Mapping[str, Any], timeout_seconds: float | None = None) -> dict[str, Any]:
        """One request and its answer, as JSON.

        :param timeout_seconds: for this request, if not that of all.
        """
        return self._ask(operation, body, self._timeout if timeout_seconds is None else timeout_seconds, _read)

    def _ask(self, operation: str, body: Mapping[str, Any], seconds: float, understood: Callable[[bytes], T]) -> T:
        deadline = time.monotonic() + seconds
        with _Lease(self, deadline) as link:
            send_frame(link, {"op": operation, "body": body}, deadline)
            return understood(_answer(link, deadline))

    def lend(self, deadline: float) -> socket.socket:
        """A connection for one request; only for a lease.

        :raises LinkUnavailable: there is none before the deadline.
        """
        if not self._slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise LinkUnavailable("no connection to the signature activation module became free")
        try:
            return self._usable() or self._connect(deadline)
        except BaseException:
            self._slots.release()
            raise

    def take_back(self, link: socket.socket, *, usable: bool) -> None:
        """A connection that was lent."""
        if usable:
            self._idle.append(link)
        else:
            link.close()
        self._slots.release()

    def _usable(self) -> socket.socket | None:
        """An idle connection that the module has not closed meanwhile: then it would be readable."""
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return None
            poll = select.poll()
            poll.register(link, select.POLLIN)
            if not poll.poll(0):
                return link
            link.close()


class _Lease:
    """A connection of a client's for one request."""

    __slots__ = ("_client", "_deadline", "_link")

    def __init__(self, client: SamClient, deadline: float) -> None:
        self._client = client
        self._deadline = deadline

    def __enter__(self) -> socket.socket:
        self._link = self._client.lend(self._deadline)
        return self._link

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # After any other fault, what is left on the connection belongs to a request that nobody waits for any longer.
        refused = isinstance(error, LinkRefused) and error.refusal not in _LAST_WORDS
        self._client.take_back(self._link, usable=error is None or refused)


class _UnixConnector:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, deadline: float) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.settimeout(max(0.001, deadline - time.monotonic()))
            link.connect(str(self._path))
        except OSError as error:
            link.close()
            raise LinkUnavailable("the signature activation module does not listen") from error
        return link


def _answer(link: socket.socket, deadline: float) -> bytes:
    wait_for_frame(link, deadline)
    answer = receive_octets(link, deadline)
    if answer is None:
        raise LinkUnavailable("the signature activation module closed the connection")
    return answer


class _TlsConnector:
    def __init__(self, endpoint: TlsEndpoint) -> None:
        self._endpoint = endpoint
        self._tls = Tls(endpoint.files, server=False)

    def __call__(self, deadline: float) -> socket.socket:
        return connect(self._endpoint, self._tls, deadline)


def _read(octets: bytes) -> dict[str, Any]:
    """What an answer says.

    :raises LinkRefused: a no.
    :raises MessageInvalid: not in the form of the link.
    """
    try:
        return _body(parse_json_object(octets))
    except TokenMalformed as error:
        raise MessageInvalid("a frame that is not a JSON object") from error


def _view(octets: bytes) -> CredentialView:
    """The same, of a credential.

    What the same octets say is the same each time, so it is remembered by them; the module is asked each time.
    """
    return _parsed_view(octets) if len(octets) <= _REMEMBERED_OCTETS else _parsed_view.__wrapped__(octets)


@lru_cache(maxsize=_REMEMBERED_VIEWS)
def _parsed_view(octets: bytes) -> CredentialView:
    return CredentialView.from_json(_read(octets))


def _body(answer: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if "error" in answer:
            read.check_members(answer, {"error"})
            refusal = read.mapping(answer, "error")
            read.check_members(refusal, {"code", "detail"})
            code, detail = read.text(refusal, "code", max_length=64), read.text(refusal, "detail", max_length=255)
            raise LinkRefused(code, detail)
        read.check_members(answer, {"ok"})
        return dict(read.mapping(answer, "ok"))
    except JoseError as error:
        raise MessageInvalid("an answer that is not in the form of the link") from error


def _page(answer: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    items, after = answer.get("credentials"), answer.get("next")
    if answer.keys() != {"credentials", "next"} or not isinstance(items, list):
        raise MessageInvalid("not a page of credentials")
    if not all(isinstance(item, dict) for item in items):
        raise MessageInvalid("not a page of credentials")
    # A page that is empty and has a next one would have us ask for ever.
    if after is not None and (not isinstance(after, str) or not items):
        raise MessageInvalid("a page of credentials without an end")
    return items, after
