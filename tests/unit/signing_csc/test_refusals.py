"""Every refusal of the API is provoked, in every version that has it, and comes in exactly its words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import signing.app
from signing.csc.dialect import dialects, to_own_names
from signing.settings import AuthenticationDemand, AuthenticationSettings, LimitsSettings, Rate, TimestampSettings
from tests.fakes.tsa import FakeTsa
from tests.unit.signing_csc.conftest import VIEW, Bench, running
from tests.unit.signing_csc.refusals import ACR, ALL, CASES, Case, Trial
from tests.unit.signing_csc.test_jobs import settings

pytestmark = pytest.mark.loopback
DIALECTS = {dialect.name: dialect for dialect in dialects()}
PLENTY = Rate(1_000_000.0, 1_000_000)
AUTHORITY = FakeTsa()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One that offers everything, and demands something of whoever reads."""
    place = tmp_path_factory.mktemp("refusals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing.app, "load_connector", lambda *_arguments, production: AUTHORITY)
        with running(
            place,
            **settings(place),
            explicit=True,
            approval=True,
            login_client="typed",
            timestamp_authorities=(TimestampSettings("fake"),),
            limits=LimitsSettings(PLENTY, PLENTY, PLENTY, PLENTY),
            authentication=AuthenticationSettings(credentials=AuthenticationDemand((ACR,), 600)),
        ) as bench:
            yield bench


@pytest.fixture
def trial(deployment: Bench) -> Iterator[Trial]:
    rssp = deployment.client.application.extensions["privyseal-rssp"]
    jobs = rssp.jobs
    yield Trial(deployment, AUTHORITY, "v2")
    object.__setattr__(rssp, "jobs", jobs)
    AUTHORITY.failure = deployment.sam.refusal = None
    deployment.sam.refused_documents = "invalid_sad"
    deployment.sam.views["cred-alice"] = VIEW
    deployment.played.said.clear()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words)
def test_it_is_refused_in_exactly_these_words(trial: Trial, case: Case) -> None:
    for version in case.versions:
        answer = case.provoke(Trial(trial.bench, trial.tsa, version))
        told = answer.get_json()
        words = case.words if answer.status_code in {404, 405} else to_own_names(DIALECTS[version], case.words)
        expected = (case.status, {"error": case.error, "error_description": words})
        assert (answer.status_code, told) == expected, version
        if case.status in {429, 503}:
            assert answer.headers["Retry-After"], version


def test_no_version_is_left_out_without_need() -> None:
    """A case that names versions names those that have the method."""
    assert {case.versions for case in CASES} <= {ALL, ("v1",), ("v2", "v2_2")}
