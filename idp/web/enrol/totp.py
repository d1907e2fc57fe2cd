"""Binding an authenticator app: the seed is shown once, and a code proves that the app has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import segno

from idp.authn.totp import SEED_OCTETS, base32, matching_step, provisioning_uri
from idp.errors import EnrolmentRefused
from idp.storage import boxes
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.enrolments import Enrolment
from idp.web.enrol.registry import Enroller, Prepared
from idp.web.services import services

KIND: Final = "totp"
_NO_STEP: Final = -1


def _prepare(enrolment_id: str, account: Account) -> Prepared:
    seed = services().random(SEED_OCTETS)
    return Prepared(boxes.close(services().keys.secret, services().random, _about(enrolment_id, account.id), seed))


def _values(enrolment: Enrolment, account: Account) -> Mapping[str, Any]:
    seed = _seed(enrolment)
    uri = provisioning_uri(seed, account=account.username, issuer=services().settings.service_name)
    # Inline, so that no address holds the seed and the page's policy needs no exception.
    picture = segno.make(uri, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff", svgclass="qr")
    return {"seed": base32(seed), "qr": picture}


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    seed = _seed(enrolment)
    step = matching_step(seed, form.get("code", "")[:16], services().clock.now(), _NO_STEP)
    if step is None:
        raise EnrolmentRefused("the code is not the app's")
    # The authenticator takes the enrolment's id, so that the seed's box belongs to it from the first moment; and the
    # step of this code is spent: it cannot be used to sign in as well.
    box = boxes.close(services().keys.secret, services().random, (enrolment.id, account.id, KIND), seed)
    return NewAuthenticator(
        enrolment.id, account.id, KIND, label=form.get("label", ""), secret_box=box, counter=step
    )


def _seed(enrolment: Enrolment) -> bytes:
    about = _about(enrolment.id, enrolment.account_id)
    return boxes.unlock(services().keys.secret, about, enrolment.secret_box)


def _about(enrolment_id: str, account_id: str) -> tuple[str, ...]:
    return ("enrolment", enrolment_id, account_id, KIND)


ENROLLER: Final = Enroller(KIND, "enrol_totp.html", _prepare, _values, _confirm)
