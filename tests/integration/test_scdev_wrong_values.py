"""A token that gives a wrong value: what it gave is not released, and what was approved for it is spent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from signing.sam import errors
from signing.scdev.device import Pkcs11Device
from tests.fakes.sam import ECDSA_SHA256, World, digest, make_world
from tests.fakes.softhsm import make_token
from tests.shim import Shim, of_digest

pytestmark = pytest.mark.hsm
PKCS1_SHA256 = "1.2.840.113549.1.1.11"


@pytest.fixture(scope="module")
def stand(shim_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Shim]]:
    directory = tmp_path_factory.mktemp("wrong")
    settings = make_token(directory / "token")
    shim = Shim(shim_library, directory / "shim", settings.module)
    with Pkcs11Device(shim.before(settings)) as device:
        yield make_world(f"sqlite:///{directory / 'sam.sqlite'}", device), shim


@pytest.mark.parametrize("action", ["flip", "short"])
@pytest.mark.parametrize(("profile", "algorithm"), [("standard", ECDSA_SHA256), ("pkcs1", PKCS1_SHA256)])
def test_KEY_12_OPS_03_a_wrong_value_of_the_token_is_not_released_and_not_made_again(
    stand: tuple[World, Shim], profile: str, algorithm: str, action: str
) -> None:
    # With RSA and the CRT, a value with one fault in it would give the key away (Boneh, DeMillo, Lipton).
    world, shim = stand
    credential = world.credential(profile=profile)
    request = world.request(world.sad(credential, (digest(1), digest(2))), sign_algo=algorithm)
    before = len(shim.signatures())
    shim.fault("C_Sign/users", action, nth=2, times=1)
    with pytest.raises(errors.Indeterminate):
        world.activator().sign(request)
    assert len(shim.signatures()) == before + 2
    with pytest.raises(errors.SadSpent):
        world.activator().sign(request)
    assert len(shim.signatures()) == before + 2
    another = world.sad(credential, (digest(3),), txn=f"txn-{profile}-{action}")
    (value,) = world.activator().sign(world.request(another, sign_algo=algorithm))
    assert value
    if profile == "standard":
        assert shim.signatures()[-1].data == of_digest(digest(3))
