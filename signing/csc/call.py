"""One call of a method, its answer, and what a method is: the joint between HTTP and what the service does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from signing.csc.bearer import Bearer
from signing.csc.core import Rssp
from signing.csc.dialect import Dialect
from signing.csc.errors import MissingToken
from signing.settings import WebSettings


@dataclass(frozen=True, slots=True)
class Call:
    """A request, with its members under their v2 names."""

    dialect: Dialect
    body: Mapping[str, Any] = field(repr=False)
    presented: Bearer | None = None
    """The token of the ``Authorization`` header, not yet verified; None where the method takes none."""
    authorization: str | None = field(default=None, repr=False)
    """The ``Authorization`` header itself, for a method that reads it otherwise."""

    @property
    def lang(self) -> str | None:
        """The language that is asked for (RFC 5646)."""
        lang = self.body.get("lang")
        return lang if isinstance(lang, str) else None

    @property
    def bearer(self) -> Bearer:
        """The token of a method that demands one.

        :raises MissingToken: there is none.
        """
        if self.presented is None:
            raise MissingToken
        return self.presented


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method answers."""

    body: Mapping[str, Any] | bytes | None = field(repr=False)
    """None: no content (204); octets: JSON that has been written before."""
    status: int = 200
    documents: bool = False
    """Whether there are :class:`signing.csc.streaming.Document` in it, which go out piece by piece."""


MAX_BODY: Final = 256 * 1024
"""A hundred digests, a SAD over them, and room."""
Handler = Callable[[Rssp, Call], Answer]
EVERY_DIALECT: Final = frozenset({"v1", "v2", "v2_2"})


def _always(_settings: WebSettings) -> bool:
    return True


def _small(_settings: WebSettings) -> int:
    return MAX_BODY


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the API: where it is, and who answers."""

    name: str
    """As in ``methods`` of ``info``, and below the base URI."""
    handler: Handler
    dialects: frozenset[str] = EVERY_DIALECT
    """Names of the dialects that have it."""
    offered: Callable[[WebSettings], bool] = _always
    """Whether this deployment has it: one that it has not is not listed, and answers 501."""
    bearer: bool = True
    """Whether a token must be presented."""
    max_body: Callable[[WebSettings], int] = _small
    """Octets that a request may have."""
