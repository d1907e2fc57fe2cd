"""What a server's process has beside the application: threads that nobody's request starts, and memory in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from foundation.memory import keep_for_good, use_large_pages
from idp import checkpointer, delivery, delivery_status, logout_delivery, notifier

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def served(app: Flask) -> WSGIApplication:
    """An application that is complete, ready for a server's process; to be called once in it."""
    for each in (delivery, logout_delivery, notifier, delivery_status, checkpointer):
        each.start(app)
    # Last, so that what has been made by then stays where it is.
    keep_for_good()
    use_large_pages()
    return app
