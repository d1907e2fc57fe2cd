"""Authenticators whose codes are typed, as a person has them, and a step-up at which they are asked for."""

from __future__ import annotations

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from idp.authn import recovery
from idp.storage import authenticators, boxes, hotp_devices
from idp.storage import recovery as codes
from idp.storage.authenticators import Authenticator, NewAuthenticator
from idp.storage.engine import reading
from idp.web import services as composition
from tests.fakes.idp import Idp
from tests.unit.idp_web.interactions import signature

SEED = b"12345678901234567890"
"""Of RFC 4226 appendix D."""


def give(idp: Idp, kind: str, name: str = "", *, seed: bytes = SEED, digits: int = 6, counter: int = 0) -> str:
    """An app or a device; returns its identifier."""
    secret = composition.of(idp.app).keys.secret
    authenticator_id = name or f"alice-{kind}"
    box = boxes.close(secret, bytes, (authenticator_id, idp.alice, kind), seed)
    data = {"step": 30} if kind == "totp" else {"digits": digits, "serial": name}
    with idp.engine.begin() as connection:
        new = NewAuthenticator(
            authenticator_id, idp.alice, kind, label=name, data=data, secret_box=box, counter=counter
        )
        authenticators.bind(connection, idp.seals, new, idp.clock.now())
    return authenticator_id


def give_recovery_codes(idp: Idp) -> tuple[str, ...]:
    """Ten codes."""
    octets = iter(bytes([number] * 10) for number in range(1, 11))
    made = recovery.make(lambda _count: next(octets))
    key = composition.of(idp.app).keys.secret("recovery codes")
    with idp.engine.begin() as connection:
        new = NewAuthenticator("alice-codes", idp.alice, "recovery_code")
        authenticators.bind(connection, idp.seals, new, idp.clock.now())
        digests = [recovery.digest(key, idp.alice, "alice-codes", recovery.read(code) or "") for code in made]
        codes.keep(connection, idp.alice, "alice-codes", digests, idp.clock.now())
    return made


def stock(idp: Idp, serial: str, *, seed: bytes = SEED, digits: int = 6) -> None:
    """A device that nobody carries."""
    secret = composition.of(idp.app).keys.secret
    box = boxes.close(secret, bytes, hotp_devices.about(serial), seed)
    with idp.engine.begin() as connection:
        hotp_devices.add(connection, idp.seals, hotp_devices.Device(serial, box, digits, 0), idp.clock.now())


def standing(idp: Idp, authenticator_id: str) -> Authenticator:
    """One of the person's authenticators as it is now."""
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, idp.alice)
    return next(item for item in owned if item.id == authenticator_id)


def at_step_up(idp: Idp, browser: FlaskClient) -> str:
    """A relying party asks for a signature; the person, who is signed in, is asked for a further factor."""
    path = idp.path(browser, signature())
    if 'data-form="sign-in"' in browser.get(path).text:
        idp.sign_in(browser, path)
    return path


def type_code(idp: Idp, browser: FlaskClient, path: str, kind: str, code: str, second: str = "") -> TestResponse:
    """Type a code on the page of its kind."""
    return idp.post(browser, path, f"/{kind.replace('_', '-')}", code=code, **({"second": second} if second else {}))
