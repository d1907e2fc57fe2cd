"""What can go wrong on the link."""

from __future__ import annotations

from signing.errors import SigningError
from signing.link.codes import BAD_REQUEST, DETAILS


class LinkError(SigningError):
    """Base of the link's errors; never raised itself."""

    code = "link"


class LinkUnavailable(LinkError):
    """No module answers: no socket, no connection free, deadline passed, or the connection broke.

    Whether the request was carried out is unknown; a SAD or an order in it may be spent.
    """

    code = "link_unavailable"


class PeerRefused(LinkUnavailable):
    """Whoever is at the other end is not let in, or is not the module."""

    code = "peer_refused"


class LinkRefused(LinkError):
    """The module answered that it will not.

    :ivar refusal: one of :mod:`signing.link.codes`.
    :ivar detail: the constant sentence for that code.
    """

    code = "link_refused"

    def __init__(self, refusal: str, detail: str | None = None) -> None:
        text = DETAILS.get(refusal, "") if detail is None else detail
        super().__init__(f"{refusal}: {text}")
        self.refusal = refusal
        self.detail = text


class MessageInvalid(LinkError):
    """A frame or message is not in the form of the link."""

    code = BAD_REQUEST


class SocketInUse(LinkError):
    """The socket cannot be served: another process does, or the path is something else."""

    code = "socket_in_use"
