"""The identity provider's database, for tools that only read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import PrivySealError
from foundation.settings import load

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from idp.settings import IdpSettings


class DatabaseUnusable(PrivySealError):
    """The identity provider's database cannot be read."""

    code = "database_unusable"


@contextmanager
def opened(config: Path) -> Iterator[tuple[IdpSettings, Connection]]:
    """The settings and a transaction that only reads.

    :raises SettingsError: the settings cannot be used.
    :raises PrivySealError: the database cannot.
    """
    # Tools that need no database load none of this.
    from sqlalchemy.exc import SQLAlchemyError

    from idp.app import open_database
    from idp.settings import IdpSettings
    from idp.storage.engine import check_schema, reading

    settings = load(IdpSettings, config, prefix="IDP")
    engine = open_database(settings)
    try:
        check_schema(engine)
        with reading(engine) as connection:
            yield settings, connection
    except SQLAlchemyError as error:
        # A driver's message may quote the URL with its password.
        raise DatabaseUnusable(f"the database cannot be read: {type(error).__name__}") from error
    finally:
        engine.dispose()


def enabled_factors(settings: IdpSettings) -> frozenset[str]:
    """Kinds of factor that anybody can have here."""
    from idp.authn.methods import available

    return available(sms=settings.messaging.sms, mail=settings.messaging.mail)
