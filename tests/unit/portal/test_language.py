"""What the portal's pages say of numbers."""

from __future__ import annotations

import flask_babel  # type: ignore[import-untyped] # as in portal.web.language
import pytest
from flask import Flask

from portal.web.language import duration


@pytest.mark.parametrize(
    ("seconds", "language", "words"),
    [
        (60, "en", "1 minute"),
        (3 * 3600 - 1, "en", "2 hours"),
        (86_400, "de", "1 Tag"),
        (2 * 86_400 - 1, "fr", "1 jour"),
        (7 * 86_400, "es", "7 días"),
    ],
)
def test_nobody_is_told_that_documents_are_kept_longer_than_they_are(seconds: int, language: str, words: str) -> None:
    app = Flask(__name__)
    flask_babel.Babel(app, locale_selector=lambda: language)
    with app.test_request_context():
        assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == words
