"""A signing service that cannot finish at once: the person's approval is not lost for that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from clients.csc import BusyError, ClientError, UnreachableError
from portal.errors import ServiceUnavailable
from portal.outside import signing
from portal.outside.signing import Wish, sign

SIGNED = b"%PDF and /ByteRange"


@dataclass
class Played:
    """Fails so often, in this way."""

    failures: list[ClientError]
    asked: list[Any] = field(default_factory=list)
    answer: bytes = SIGNED

    def sign_documents(self, *asked: Any) -> list[bytes]:
        """See :class:`clients.csc.Service`."""
        self.asked.append(asked)
        if self.failures:
            raise self.failures.pop()
        return [self.answer]


@dataclass
class Approved:
    """Of tokens and a credential what is looked at."""

    id: str = "cred-alice"
    credential_id: str = "cred-alice"
    access_token: str = "SAD"
    expires_in: int = 300


def busy(retry_after: int | None) -> BusyError:
    return BusyError(503, "temporarily_unavailable", "No time-stamping authority is available", retry_after=retry_after)


@pytest.fixture(autouse=True)
def scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "_scheme", lambda _credential: None)


def signed(service: Any, pauses: list[float]) -> list[bytes]:
    approved: Any = Approved()
    return sign(service, approved, approved, [Wish("1", "a.pdf", b"%PDF")], "Ades-B-LT", pause=pauses.append)


@pytest.mark.parametrize(
    ("failure", "paused"),
    [(busy(2), [2]), (busy(600), [5]), (busy(None), [5]), (UnreachableError("gone"), [])],
)
def test_the_identical_request_is_sent_once_more(failure: ClientError, paused: list[float]) -> None:
    service, pauses = Played([failure]), list[float]()
    assert signed(service, pauses) == [SIGNED]
    first, second = service.asked
    assert first == second
    assert pauses == paused


def test_more_than_once_is_not_waited() -> None:
    service, pauses = Played([busy(1), busy(1)]), list[float]()
    with pytest.raises(BusyError):
        signed(service, pauses)
    assert (len(service.asked), pauses) == (2, [1])


@pytest.mark.parametrize("answer", [b"%PDX and /ByteRange", b"%PDF", b"", b"%PDF and nothing"])
def test_another_document_than_was_approved_is_not_taken_for_the_signed_one(answer: bytes) -> None:
    with pytest.raises(ServiceUnavailable):
        signed(Played([], answer=answer), [])
