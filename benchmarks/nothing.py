"""What is left for a server to do anything: Flask under granian, which reads a request's JSON and answers a constant.

It stands where the web tier stands in ``benchmarks.csc``, is arranged as that is, and is asked the same.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from flask import Flask, Response, request

HOST: Final = "nothing.localhost"
_EMPTY: Final = '{"":""}'


def path(octets: int) -> str:
    """Where an answer of so many octets is."""
    return f"/{octets}"


@cache
def answer(octets: int) -> str:
    """JSON of so many octets, or as few as an object takes."""
    return f'{{"":"{"x" * (octets - len(_EMPTY))}"}}'


def nothing() -> Flask:
    """The application, for granian."""
    app = Flask("nothing")

    def constant(octets: int) -> Response:
        request.get_json()
        return Response(answer(octets), mimetype="application/json")

    app.add_url_rule("/<int:octets>", "constant", constant, methods=["POST"])
    app.add_url_rule("/health/ready", "ready", lambda: "")
    return app
