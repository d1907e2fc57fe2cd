"""Fixtures of the tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.fakes.idp import Idp, make_idp


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    """An identity provider with the account ``alice``."""
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    """A browser without cookies."""
    return idp.client()
