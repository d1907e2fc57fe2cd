"""Statements that are asked with every request: put together once, and prepared once on each connection.

SQLAlchemy writes the SQL, as for all others, and keeps connections and transactions; how a value of each type goes to
the database and comes back is settled with it.  What is left for every call is what the database itself needs: values,
an answer, rows.
"""

from __future__ import annotations

import functools
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

from foundation.json_text import encoder
from idp.storage.driver import Asked, Driver, StatementFailed, checked, rows

Parameters = Mapping[str, Any]
READS: Final = "privyseal_reads_only"
"""The option of a connection on which each statement is a transaction of its own, on PostgreSQL."""
_ONE: Final = (dict, Mapping)
"""Nearly always the first: whether something is a mapping takes longer to find out."""
_NOTHING: Final[Parameters] = MappingProxyType({})
_DOLLARS: Final[Dialect] = PGDialect_psycopg(
    paramstyle="numeric_dollar"
)  # type: ignore[no-untyped-call] # the dialect's constructor has no types
"""Writes ``$1``, as the protocol has it, and not the placeholders of psycopg's own cursors."""
_NUMBERS: Final = itertools.count(1)
_JSON: Final = encoder()
_OUT_OF_STEP: Final = frozenset({"26000", "42P05", "0A000"})
"""SQLSTATE of a prepared statement that the server does not have, has already, or has for columns of other types."""


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


Later = Callable[[], Answer]
"""The answer to a statement that was put off."""


def _together(answers: Sequence[Answer]) -> Answer:
    return Answer([row for answer in answers for row in answer.rows], sum(answer.rowcount for answer in answers))


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement as one kind of database has it, for parameters of certain names."""

    sql: str
    order: tuple[tuple[str, Callable[[Any], Any], bytes | str | None], ...]
    """Of each placeholder, the parameter, what makes of its value what the driver takes, and what stands for None."""
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
        if not isinstance(given, _ONE):
            return _together([self(connection, each) for each in given])
        form = self._form(connection.dialect, tuple(given))
        values = {**form.constants, **given} if form.constants else given
        ask = _ask_postgresql if connection.dialect.name == "postgresql" else _ask_sqlite
        return ask(connection, form, values)

    def put_off(self, connection: Connection, given: Parameters | Sequence[Parameters] = _NOTHING) -> Later:
        """Ask with what comes next in the transaction: the next statement that is not put off, or its commit.

        For what nothing needs to be learnt from, or only together with what follows.  On SQLite it is asked at once.
        Where each statement is a transaction of its own, what nobody wants the answer of is never asked: so nothing
        that writes is put off there.

        :param given: as above.
        :returns: gives the answer, and asks for it where it has not come.  If the statement is refused, whatever it
            went with raises that.
        :raises DBAPIError: a value is none that the database takes.
        :raises InvalidRequestError: there is no transaction, and it does not only read.
        """
        reads = connection.get_execution_options().get(READS, False)
        if (reads and not isinstance(self._clause, Select)) or not (reads or connection.in_transaction()):
            raise InvalidRequestError("a statement is put off within a transaction")
        # What fails within a savepoint is told there.
        if connection.dialect.name != "postgresql" or connection.in_nested_transaction():
            answer = self(connection, given)
            return lambda: answer
        each = [given] if isinstance(given, _ONE) else given
        later = [self._put_off(connection, values) for values in each]
        if len(later) == 1:
            return later[0]
        return lambda: _together([one() for one in later])

    def _put_off(self, connection: Connection, given: Parameters) -> Later:
        form = self._form(connection.dialect, tuple(given))
        driver = _driver(connection)
        asked = _asked(connection, driver, form, {**form.constants, **given} if form.constants else given)
        driver.keep_back(asked)
        return lambda: _answer_later(connection, form, asked)

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
        (name, *conversions.encoder(compiled.binds[name].type)) for name in compiled.positiontup or ()
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
    driver = _driver(connection)
    asked = _asked(connection, driver, form, values)
    try:
        return _answer(form, driver.ask(asked))
    except psycopg.Error as error:
        raise refused(connection, form.sql, error) from error
    except StatementFailed as failed:
        raise refused(connection, failed.sql, failed.error) from failed


def _asked(connection: Connection, driver: Driver, form: _Form, values: Parameters) -> Asked:
    """The statement with its values, prepared; whoever listens to the engine has heard of it."""
    for listener in connection.engine.dispatch.before_cursor_execute:
        listener(connection, None, form.sql, (), None, False)  # noqa: FBT003 - SQLAlchemy names them so
    try:
        bound = [
            none if (value := values[name]) is None else encode(value) for name, encode, none in form.order
        ]
        if form.name not in driver.prepared:
            driver.prepare(form.name, form.sql)
    except psycopg.Error as error:
        raise refused(connection, form.sql, error) from error
    return Asked(form.sql, form.name, bound)


def _answer_later(connection: Connection, form: _Form, asked: Asked) -> Answer:
    try:
        if asked.result is None:
            _driver(connection).send_kept_back()
        return _answer(form, checked(asked))
    except psycopg.Error as error:
        first = error.__cause__
        raise refused(connection, first.sql if isinstance(first, StatementFailed) else form.sql, error) from error


def _answer(form: _Form, result: pq.abc.PGresult) -> Answer:
    if form.row is None:
        return Answer((), result.command_tuples or 0)
    found = rows(result, form.row)
    return Answer(found, len(found))


def _driver(connection: Connection) -> Driver:
    driver: Driver = connection.connection.dbapi_connection  # type: ignore[assignment] # idp.storage.engine opens it
    return driver


def refused(connection: Connection, sql: str, error: psycopg.Error) -> BaseException:
    """A driver's error as SQLAlchemy has it, without any value; a connection that is lost is not used again.

    Nor is one whose server has prepared something else than is known here: it would fail for ever.
    """
    lost = _driver(connection).closed
    if lost or error.sqlstate in _OUT_OF_STEP:
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
    bound = [none if (value := values[name]) is None else encode(value) for name, encode, none in form.order]
    result = connection.exec_driver_sql(form.sql, tuple(bound))
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

    def encoder(self, kind: TypeEngine[Any]) -> tuple[Callable[[Any], Any], Any]:
        """What makes of a value what the driver takes, and what stands for None."""
        encode = self._pair(kind)[0]
        # SQLAlchemy keeps None in a column of JSON as JSON's null, unless the column says otherwise.
        null = encode(None) if isinstance(kind, JSON) and not kind.none_as_null else None
        return encode, null

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


# What comes back the driver has read by the types that the database itself gives it.
_POSTGRESQL: Final = _Conversions(
    text=(_octets, _same),
    integer=(lambda value: b"%d" % value, _same),
    boolean=(lambda value: b"t" if value else b"f", _same),
    document=(lambda value: _JSON(value).encode(), _same),
)
_SQLITE: Final = _Conversions(
    text=(_same, _same),
    integer=(_same, _same),
    boolean=(int, bool),
    document=(_JSON, _json_of_sqlite),
)


def _row_of(
    columns: Sequence[tuple[str, TypeEngine[Any]]], conversions: _Conversions
) -> Callable[[Sequence[Any]], Any]:
    kind = namedtuple("Row", [name for name, _ in columns])  # type: ignore[misc] # the columns are the statement's
    decoders = [conversions.decoder(type_) for _, type_ in columns]
    # As the class's own _make, whose rows have the statement's columns and no others.
    row = functools.partial(tuple.__new__, kind)
    if all(decode is _same for decode in decoders):
        return row

    def made(values: Sequence[Any]) -> Any:
        # A list: a generator costs as much again, and rows are made dozens of times a request.
        return row(
            [None if value is None else decode(value) for decode, value in zip(decoders, values, strict=True)]
        )

    return made
