"""Requests made from the documents, right and wrong: no 5xx, nothing undocumented, and no method without a token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import signing.app
from contract.sad import encode
from signing.csc.dialect import dialects
from signing.settings import TimestampSettings
from tests.fakes.tsa import FakeTsa
from tests.unit.signing_csc.conftest import SAD_KEY, Bench, running
from tests.unit.signing_csc.test_credentials import whole_sad
from tests.unit.signing_csc.test_jobs import settings as with_jobs

pytestmark = pytest.mark.loopback

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
    negative_data_rejection,
]
REFUSED: Final = ["400", "401", "403", "413"]
"""What a request that the document does not allow is answered with.  413: a text that is longer than its member may be
can make the whole request too long, above all where JSON writes each character in twelve."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing.app, "load_connector", lambda *_arguments, production: FakeTsa())
        place = tmp_path_factory.mktemp("world")
        changed = {**with_jobs(place), "timestamp_authorities": (TimestampSettings("fake"),)}
        with running(place, **changed) as made:
            yield made


def hold(world: Bench, base: str, examples: int) -> int:
    """Make requests of every kind to every method of a base, each with each kind of token.

    :returns: how many were made.
    """
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})
    schema = schemathesis.openapi.from_wsgi(f"{base}/openapi.json", world.client.application, config=config)
    tokens = [world.service_token(), encode(whole_sad(world), SAD_KEY)]
    made: list[str] = []

    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in GenerationMode:

            @settings(
                max_examples=examples,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def requests(case: Any) -> None:
                for token in tokens:
                    case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)
                    made.append(case.operation.path)

            requests()
    assert set(made) == set(schema.raw_schema["paths"])
    return len(made)


BASES = [dialect.path for dialect in dialects()]


@pytest.mark.parametrize("base", BASES)
def test_what_the_documents_allow_and_what_they_do_not(world: Bench, base: str) -> None:
    assert hold(world, base, 10) > 100


@pytest.mark.full
@pytest.mark.parametrize("base", BASES)
def test_the_same_for_longer(world: Bench, base: str) -> None:
    assert hold(world, base, 100) > 1000
