"""A relying party's store of documents, over HTTP: it gives out what it has, and remembers who asked and how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import Flask, request
from werkzeug.serving import make_server
from werkzeug.wrappers import Response


@dataclass
class Holder:
    """What it has, by name, and what was asked of it."""

    origin: str = ""
    documents: dict[str, bytes] = field(default_factory=dict)
    tokens: list[str | None] = field(default_factory=list)
    """``Authorization`` of each request."""
    answer: Callable[[str], Response] | None = None
    """Instead of the document, where a test sets it."""

    @property
    def prefix(self) -> str:
        """Below which the documents are."""
        return f"{self.origin}/documents/"

    def give(self, name: str) -> Response:
        """The document of that name."""
        self.tokens.append(request.headers.get("Authorization"))
        if self.answer is not None:
            return self.answer(name)
        found = self.documents.get(name)
        return Response("", 404) if found is None else Response(found, content_type="application/pdf")


@contextmanager
def holding(**documents: bytes) -> Iterator[Holder]:
    """A holder on a port of this machine."""
    holder, app = Holder(documents=dict(documents)), Flask("holder")
    app.add_url_rule("/documents/<name>", "give", holder.give)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    holder.origin = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield holder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
