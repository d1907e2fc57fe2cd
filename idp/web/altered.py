"""What was found altered in the database goes into the audit chain before the answer that it was found for goes out.

Rows are found altered in the middle of transactions that may only read, or that are rolled back, so the record gets a
transaction of its own.
"""

from __future__ import annotations

from flask import Flask, Response

from idp.web.services import services


def install(app: Flask) -> None:
    """Hook the record into an app."""
    app.after_request(_record)


def _record(response: Response) -> Response:
    with_services = services()
    while (found := with_services.seals.take()) is not None:
        recorded = False
        try:
            with with_services.engine.begin() as connection:
                with_services.audit.record(
                    connection, "record.altered", table=found.table, record=found.record, cause=found.cause
                )
            recorded = True
        finally:
            if not recorded:
                with_services.seals.give_back(found)
    return response
