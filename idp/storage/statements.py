"""Statements that are asked with every request: put together once, and prepared once on each connection.

SQLAlchemy writes the SQL, as for all others, and keeps connections and transactions; how a value of each type goes to
the database and comes back is settled with it.  What is left for every call is what the database itself needs: values,
an answer, rows.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, cast

import psycopg
from psycopg import pq
from sqlalchemy import JSON, Boolean, Connection, Delete, Dialect, Insert, Integer, Select, String, Update
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError, InvalidRequestError, MultipleResultsFound
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Parameters = Mapping[str, Any]
READS: Final = "privyseal_reads_only"
"""The option of a connection on which each statement is a transaction of its own, on PostgreSQL."""
_NOTHING: Final[Parameters] = MappingProxyType({})
_PREPARED: Final = "privyseal_prepared"
"""In a connection's ``info``: the names of what the server has prepared for it."""
_DOLLARS: Final[Dialect] = PGDialect_psycopg(
    paramstyle="numeric_dollar"
)  # type: ignore[no-untyped-call] # the dialect's constructor has no types
"""Writes ``$1``, as the protocol has it, and not the placeholders of psycopg's own cursors."""
_NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave."""

    rows: Sequence[Any]
    """Named tuples, with the columns' names."""
    rowcount: int
    """Rows that were changed or, of a question, found."""

    def all(self) -> Sequence[Any]:
        """All rows."""
        return self.rows

    def first(self) -> Any | None:
        """The first row, or None."""
        return self.rows[0] if self.rows else None

    def one_or_none(self) -> Any | None:
        """The only row, or None.

        :raises MultipleResultsFound: there are several.
        """
        if len(self.rows) > 1:
            raise MultipleResultsFound("several rows where one was expected")
        return self.rows[0] if self.rows else None


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement as one kind of database has it, for parameters of certain names."""

    sql: str
    order: tuple[tuple[str, Callable[[Any], Any]], ...]
    """Of each placeholder, the parameter and what makes of its value what the driver takes."""
    constants: Parameters
    """Parameters whose values are in the statement itself."""
    row: Callable[[Sequence[Any]], Any] | None
    """Makes a row of values as they come; None: there are no columns."""
    name: bytes
    """By which the server knows it once it is prepared."""


class Statement:
    """A statement of SQLAlchemy's; safe to share between threads."""

    def __init__(self, clause: Select[Any] | Insert | Update | Delete) -> None:
        """:param clause: its columns are texts, integers, truth values and JSON; what it inserts has no defaults."""
        self._clause = clause.inline() if isinstance(clause, Insert) else clause
        self._forms: dict[tuple[str, tuple[str, ...]], _Form] = {}
        self._making = threading.Lock()

    def __call__(self, connection: Connection, given: Parameters | Sequence[Parameters] = _NOTHING) -> Answer:
        """Ask, in the transaction that the connection is in.

        :param given: values of the parameters; for an insert and an update those of columns by their names, too.  Or
            several of them, each of which it is asked with.
        :raises DBAPIError: the database refuses it.
        :raises InvalidRequestError: there is no transaction, and it is not for reading only.
        """
        if not connection.in_transaction() and not connection.get_execution_options().get(READS, False):
            raise InvalidRequestError("a statement is asked within a transaction")
        if not isinstance(given, Mapping):
            answers = [self(connection, each) for each in given]
            return Answer(
                [row for answer in answers for row in answer.rows], sum(answer.rowcount for answer in answers)
            )
        form = self._form(connection.dialect, tuple(given))
        values = {**form.constants, **given} if form.constants else given
        ask = _ask_postgresql if connection.dialect.name == "postgresql" else _ask_sqlite
        return ask(connection, form, values)

    def _form(self, dialect: Dialect, names: tuple[str, ...]) -> _Form:
        key = dialect.name, names
        found = self._forms.get(key)
        if found is None:
            with self._making:
                found = self._forms.setdefault(key, _made(self._clause, dialect, names))
        return found


def _made(clause: Any, dialect: Dialect, names: tuple[str, ...]) -> _Form:
    postgresql = dialect.name == "postgresql"
    compiled = cast(
        "SQLCompiler", clause.compile(dialect=_DOLLARS if postgresql else dialect, column_keys=_columns(clause, names))
    )
    if compiled.post_compile_params:
        raise TypeError("a statement takes no lists of values")
    conversions = _POSTGRESQL if postgresql else _SQLITE
    order = tuple(
        (name, conversions.encoder(compiled.binds[name].type)) for name in compiled.positiontup or ()
    )
    columns = [(column.name, column.type) for column in clause.exported_columns]
    return _Form(
        sql=str(compiled),
        order=order,
        constants=_constants(compiled, names),
        row=_row_of(columns, conversions) if columns else None,
        name=b"privyseal_%d" % next(_NUMBERS),
    )


def _columns(clause: Any, names: tuple[str, ...]) -> list[str] | None:
    """The columns that the parameters give values of."""
    return None if isinstance(clause, Select) else [name for name in names if name in clause.table.c]


def _constants(compiled: SQLCompiler, names: tuple[str, ...]) -> Parameters:
    return {name: bind.value for name, bind in compiled.binds.items() if name not in names and bind.value is not None}


# PostgreSQL


def _ask_postgresql(connection: Connection, form: _Form, values: Parameters) -> Answer:
    for listener in connection.engine.dispatch.before_cursor_execute:
        listener(connection, None, form.sql, (), None, False)  # noqa: FBT003 - SQLAlchemy names them so
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    server = driver.pgconn
    prepared: set[bytes] = connection.info.setdefault(_PREPARED, set())
    try:
        bound = [encode(values[name]) for name, encode in form.order]
        if form.name not in prepared:
            _checked(server.prepare(form.name, form.sql.encode()))
            prepared.add(form.name)
        result = _checked(server.exec_prepared(form.name, bound))
    except psycopg.Error as error:
        raise refused(connection, form.sql, error) from error
    if form.row is None:
        return Answer((), result.command_tuples or 0)
    width = range(result.nfields)
    rows = [form.row([result.get_value(number, column) for column in width]) for number in range(result.ntuples)]
    return Answer(rows, result.ntuples)


def _checked(result: pq.abc.PGresult) -> pq.abc.PGresult:
    if result.status not in {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}:
        raise psycopg.errors.error_from_result(result)
    return result


def refused(connection: Connection, sql: str, error: psycopg.Error) -> BaseException:
    """A driver's error as SQLAlchemy has it, without any value; a connection that is lost is not used again."""
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    lost = driver.closed
    if lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        sql,
        None,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=connection.dialect,
    )


# SQLite


def _ask_sqlite(connection: Connection, form: _Form, values: Parameters) -> Answer:
    result = connection.exec_driver_sql(form.sql, tuple(encode(values[name]) for name, encode in form.order))
    if form.row is None:
        return Answer((), result.rowcount)
    rows = [form.row(tuple(row)) for row in result]
    return Answer(rows, len(rows))


# Values


@dataclass(frozen=True, slots=True)
class _Conversions:
    """How values go to a driver and come back, by the type of their column; None is NULL and is not converted."""

    text: tuple[Callable[[Any], Any], Callable[[Any], Any]]
    integer: tuple[Callable[[Any], Any], Callable[[Any], Any]]
    boolean: tuple[Callable[[Any], Any], Callable[[Any], Any]]
    document: tuple[Callable[[Any], Any], Callable[[Any], Any]]

    def encoder(self, kind: TypeEngine[Any]) -> Callable[[Any], Any]:
        """What makes of a value what the driver takes."""
        encode = self._pair(kind)[0]
        # SQLAlchemy keeps None in a column of JSON as JSON's null, unless the column says otherwise.
        if isinstance(kind, JSON) and not kind.none_as_null:
            return encode
        return lambda value: None if value is None else encode(value)

    def decoder(self, kind: TypeEngine[Any]) -> Callable[[Any], Any]:
        """What makes of what the driver gives a value."""
        return self._pair(kind)[1]

    def _pair(self, kind: TypeEngine[Any]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
        for known, pair in (
            (String, self.text), (Boolean, self.boolean), (Integer, self.integer), (JSON, self.document)
        ):  # fmt: skip
            if isinstance(kind, known):
                return pair
        raise TypeError(f"a statement has no values of the type {kind!r}")


def _same(value: Any) -> Any:
    return value


def _octets(text: str) -> bytes:
    """In UTF-8, which the engine sees to that the connection has; a NUL would end the text unseen.

    :raises psycopg.DataError: there is one.
    """
    if "\0" in text:
        raise psycopg.DataError("a text in the database has no NUL")
    return text.encode()


def _json_of_sqlite(value: Any) -> Any:
    # A column of JSON has numeric affinity there: what looks like a number comes back as one.
    return json.loads(value) if isinstance(value, str) else value


_POSTGRESQL: Final = _Conversions(
    text=(_octets, bytes.decode),
    integer=(lambda value: b"%d" % value, int),
    boolean=(lambda value: b"t" if value else b"f", b"t".__eq__),
    document=(lambda value: json.dumps(value).encode(), lambda value: json.loads(value.decode())),
)
_SQLITE: Final = _Conversions(
    text=(_same, _same),
    integer=(_same, _same),
    boolean=(int, bool),
    document=(json.dumps, _json_of_sqlite),
)


def _row_of(
    columns: Sequence[tuple[str, TypeEngine[Any]]], conversions: _Conversions
) -> Callable[[Sequence[Any]], Any]:
    kind = namedtuple("Row", [name for name, _ in columns])  # type: ignore[misc] # the columns are the statement's
    decoders = [conversions.decoder(type_) for _, type_ in columns]

    def made(values: Sequence[Any]) -> Any:
        # A list: a generator costs as much again, and rows are made dozens of times a request.
        return kind._make(
            [None if value is None else decode(value) for decode, value in zip(decoders, values, strict=True)]
        )

    return made
