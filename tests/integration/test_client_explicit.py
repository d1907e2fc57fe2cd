"""The client package's explicit authorisation, on real parts but the device, in each version of the API."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from clients.csc import Bearer, Sad, Service, ServiceRefusedError, Transport, discover, scheme_for, verify
from tests.fakes.device import FakeDevice
from tests.integration.in_band_world import ON, app_code, bind_app, policy_file
from tests.integration.oidc_world import PASSWORD
from tests.integration.whole_world import BASES, Whole, whole

DIGESTS = [hashlib.sha256(each).digest() for each in (b"one", b"two")]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    directory = tmp_path_factory.mktemp("client")
    identity = {"in_band": ON, "policy_file": policy_file(directory)}
    with whole(directory, FakeDevice(), identity=identity, explicit=True) as running:
        bind_app(running.idp, running.people["carol"].account_id)
        yield running


@pytest.mark.parametrize("version", ["v1", "v2", "v2_2"])
def test_the_answers_to_a_credentials_objects_sign(everything: Whole, version: str) -> None:
    everything.idp.clock.advance(31)
    transport = Transport()
    service = Service(transport, discover(transport, f"{everything.web_url}{BASES[version]}"))
    bearer = Bearer(everything.service_token("carol", "typed"))
    (credential,) = service.credentials(bearer)
    assert (credential.mode, credential.scal) == ("explicit", "1")
    assert len(credential.objects) >= 2
    password, app = ("PIN", "OTP") if version == "v1" else ("password", "totp")
    assert {password, app} <= {each.id for each in credential.objects}
    scheme = scheme_for(credential.certificates[0], credential.algorithms)
    with pytest.raises(ServiceRefusedError):
        service.authorize(bearer, credential, DIGESTS, "sha256", answers={password: "wrong", app: "000000"})
    answers = {password: PASSWORD, app: app_code(everything.idp)}
    sad = service.authorize(bearer, credential, DIGESTS, "sha256", answers=answers)
    assert isinstance(sad, Sad)
    values = service.sign_hash(bearer, sad, credential, DIGESTS, scheme)
    for digest, value in zip(DIGESTS, values, strict=True):
        verify(credential.certificates[0], scheme, digest, value)
    transport.close()
