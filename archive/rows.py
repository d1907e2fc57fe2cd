"""Rows as lines, and lines as rows: each exactly as it stands in the database.

A JSON column's text is carried as text, so that a seal or a hash over it still fits; octets go in base64.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, LargeBinary, Table, Text, bindparam, cast, func, insert, select
from sqlalchemy import type_coerce as coerced
from sqlalchemy.sql.elements import ColumnElement

from archive.errors import ArchiveBroken

PAGE: Final = 500
"""Rows that are in memory at one time."""


def read_rows(connection: Connection, table: Table, page: int = PAGE) -> Generator[list[Any]]:
    """Every row, in the order of the columns, as JSON values.

    :param page: so many are in memory at one time.
    """
    columns = list(table.columns)
    statement = select(*(_read(connection, column) for column in columns)).order_by(*table.primary_key.columns)
    octets = [isinstance(column.type, LargeBinary) for column in columns]
    # Closed also where its reader stops early: a cursor on the server would stay.
    with connection.execute(statement, execution_options={"yield_per": page}) as found:
        for together in found.partitions():
            for row in together:
                yield [
                    b64encode(value).decode() if is_octets and value is not None else value
                    for value, is_octets in zip(row, octets, strict=True)
                ]


def write_rows(connection: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows that :func:`read_rows` gave.

    :raises ArchiveBroken: one has not the table's columns, or a value that cannot be read.
    """
    columns = list(table.columns)
    values = {column.name: _written(connection, column) for column in columns}
    connection.execute(insert(table).values(values), [_parameters(columns, row) for row in rows])


def count_up(connection: Connection, table: Table) -> None:
    """Let a table's own numbers go on after those that were restored; SQLite does so by itself."""
    counted = table.autoincrement_column
    if counted is None or connection.dialect.name != "postgresql":
        return
    sequence = connection.execute(select(func.pg_get_serial_sequence(table.name, counted.name))).scalar_one_or_none()
    highest = connection.execute(select(func.max(counted))).scalar_one_or_none()
    if sequence is not None and highest is not None:
        connection.execute(select(func.setval(sequence, highest)))


def _read(connection: Connection, column: Column[Any]) -> ColumnElement[Any]:
    if not isinstance(column.type, JSON):
        return column
    if connection.dialect.name == "postgresql":
        return cast(column, Text)
    return coerced(column, Text)


def _written(connection: Connection, column: Column[Any]) -> ColumnElement[Any]:
    if not isinstance(column.type, JSON):
        return bindparam(f"v_{column.name}", type_=column.type)
    text = bindparam(f"v_{column.name}", type_=Text())
    return cast(text, column.type) if connection.dialect.name == "postgresql" else coerced(text, Text)


def _parameters(columns: Sequence[Column[Any]], row: Sequence[Any]) -> Mapping[str, Any]:
    if not isinstance(row, list) or len(row) != len(columns):
        raise ArchiveBroken("a row has not the columns of its table")
    return {f"v_{column.name}": _value(column, value) for column, value in zip(columns, row, strict=True)}


def _value(column: Column[Any], value: Any) -> Any:
    if not isinstance(column.type, LargeBinary) or value is None:
        return value
    try:
        return b64decode(value, validate=True)
    except (ValueError, TypeError) as error:
        raise ArchiveBroken("octets of a row cannot be read") from error
