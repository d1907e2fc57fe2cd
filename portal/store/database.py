"""The portal's own database: SQLite on one machine, PostgreSQL for more."""

from __future__ import annotations

import os
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from foundation.errors import SettingsError
from foundation.files import read_secret
from portal.errors import NotInitialised
from portal.settings import SQLITE_IN_PRODUCTION, PortalSettings
from portal.store.tables import SCHEMA_VERSION, metadata, schema_version

_BUSY_SECONDS: Final = 10
_OWNER_ONLY: Final = 0o600


def open_engine(settings: PortalSettings) -> Engine:
    """An engine with a connection pool; nothing is opened yet.

    :raises SecretFileError: the file with the URL cannot be used.
    :raises SettingsError: SQLite, in production: the URL may come from a file that the settings only name.
    """
    text = settings.database_url or ""
    if settings.database_url_file is not None:
        text = read_secret(settings.database_url_file).decode()
    url = make_url(text)
    # An error's text must not quote what was written: hide_parameters.
    if url.get_backend_name() != "sqlite":
        return create_engine(url.set(drivername="postgresql+psycopg"), hide_parameters=True, pool_pre_ping=True)
    if settings.production:
        raise SettingsError((SQLITE_IN_PRODUCTION,))
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True)
    event.listen(engine, "do_connect", _own_file)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def for_snapshot(settings: PortalSettings) -> Engine:
    """An engine with transactions whose reads all see one moment; for reading only.

    :raises SecretFileError: :raises SettingsError: as :func:`open_engine` does.
    """
    engine = open_engine(settings)
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    # Python's driver begins no transaction before a SELECT.
    event.listen(engine, "connect", lambda connection, _entry: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _own_file(_dialect: Any, _entry: object, arguments: list[Any], _options: dict[str, Any]) -> None:
    path = arguments[0] if arguments else ""
    if isinstance(path, str) and path and path != ":memory:" and not path.startswith("file:"):
        # Made by SQLite itself it would be readable by whoever the umask lets.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY))


def _prepare_sqlite(connection: Any, _entry: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
    # What was deleted is overwritten, and not only forgotten.
    connection.execute("PRAGMA secure_delete=ON")


def create_tables(engine: Engine) -> bool:
    """Make the tables; False where they are there already.

    :raises NotInitialised: there are tables of another version.
    """
    if inspect(engine).has_table(schema_version.name):
        check_schema(engine)
        return False
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
    return True


def check_schema(engine: Engine) -> None:
    """:raises NotInitialised: no tables of ours, or another version's."""
    try:
        with engine.connect() as connection:
            found = connection.scalar(select(schema_version.c.version))
    except SQLAlchemyError as error:
        raise NotInitialised("the portal's database cannot be read: run privyseal portal init") from error
    if found != SCHEMA_VERSION:
        raise NotInitialised(f"the portal's database is of version {found}, this is version {SCHEMA_VERSION}")
