"""How often the identity provider goes to PostgreSQL: each way there and back costs a turn, whatever goes on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from psycopg.pq.abc import PGresult

from idp.storage.driver import Asked, Driver, DriverCursor


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on the first words of what goes on each way."""
    ways: list[str] = []
    exchange, command, execute, ask = Driver._exchange, Driver._command, DriverCursor.execute, Driver.ask

    def exchanged(self: Driver, sent: Sequence[Asked]) -> None:
        ways.append(" ".join(asked.sql.split()[0] for asked in sent))
        exchange(self, sent)

    def commanded(self: Driver, text: bytes) -> PGresult:
        ways.append(text.decode())
        return command(self, text)

    def executed(self: DriverCursor, query: Any, *rest: Any, **options: Any) -> Any:
        ways.append(str(query).split()[0])
        return execute(self, query, *rest, **options)

    def alone(self: Driver, asked: Asked) -> Any:
        if not self._kept_back:
            ways.append(asked.sql.split()[0])
        return ask(self, asked)

    for name, counted in (("_exchange", exchanged), ("_command", commanded), ("ask", alone)):
        monkeypatch.setattr(Driver, name, counted)
    monkeypatch.setattr(DriverCursor, "execute", executed)
    return ways
