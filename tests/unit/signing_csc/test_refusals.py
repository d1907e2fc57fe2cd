"""Every refusal of the API is provoked, in every version that has it, and comes in exactly its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

import signing.app
from signing.csc.dialect import dialects, to_own_names
from signing.settings import (
    AuthenticationDemand,
    AuthenticationSettings,
    LimitsSettings,
    Rate,
    StatusSettings,
    TimestampSettings,
)
from tests.fakes.status import FakeStatus
from tests.fakes.tsa import FakeTsa
from tests.unit.signing_csc.conftest import VIEW, Bench, running
from tests.unit.signing_csc.refusals import ACR, ALL, ANA, CASES, ROOT, Case, Trial
from tests.unit.signing_csc.test_jobs import settings

pytestmark = pytest.mark.loopback
DIALECTS = {dialect.name: dialect for dialect in dialects()}
CERTIFIED = replace(VIEW, certificates=(ANA.der, ROOT.der))
PLENTY = Rate(1_000_000.0, 1_000_000)
AUTHORITY = FakeTsa()
STATUS = FakeStatus((ROOT,))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One that offers everything, and demands something of whoever reads."""
    place = tmp_path_factory.mktemp("refusals")
    with pytest.MonkeyPatch.context() as patch:
        connectors = {"tsa": AUTHORITY, "status": STATUS}
        patch.setattr(signing.app, "load_connector", lambda kind, *_arguments, production: connectors[kind])
        (place / "root.pem").write_bytes(ROOT.pem)
        with running(
            place,
            **settings(place),
            explicit=True,
            approval=True,
            login_client="typed",
            timestamp_authorities=(TimestampSettings("fake"),),
            status=StatusSettings("fake", (place / "root.pem",)),
            limits=LimitsSettings(PLENTY, PLENTY, PLENTY, PLENTY),
            authentication=AuthenticationSettings(credentials=AuthenticationDemand((ACR,), 600)),
        ) as bench:
            yield bench


@pytest.fixture
def trial(deployment: Bench) -> Iterator[Trial]:
    rssp = deployment.client.application.extensions["privyseal-rssp"]
    jobs = rssp.jobs
    deployment.sam.views["cred-alice"] = CERTIFIED
    yield Trial(deployment, AUTHORITY, STATUS, "v2")
    object.__setattr__(rssp, "jobs", jobs)
    AUTHORITY.failure = STATUS.failure = deployment.sam.refusal = None
    STATUS.revoked = {}
    deployment.sam.refused_documents = "invalid_sad"
    deployment.played.said.clear()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words)
def test_it_is_refused_in_exactly_these_words(trial: Trial, case: Case) -> None:
    for version in case.versions:
        answer = case.provoke(Trial(trial.bench, trial.tsa, trial.status, version))
        told = answer.get_json()
        words = case.words if answer.status_code in {404, 405} else to_own_names(DIALECTS[version], case.words)
        expected = (case.status, {"error": case.error, "error_description": words})
        assert (answer.status_code, told) == expected, version
        if case.status in {429, 503}:
            assert answer.headers["Retry-After"], version


def test_no_version_is_left_out_without_need() -> None:
    """A case that names versions names those that have the method."""
    assert {case.versions for case in CASES} <= {ALL, ("v1",), ("v2", "v2_2")}
