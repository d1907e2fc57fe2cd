"""Binding an authenticator app: the seed is shown once, and a code proves that the app has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import segno

from idp.authn.totp import NO_STEP, SEED_OCTETS, Timing, base32, judge, provisioning_uri, timing
from idp.errors import EnrolmentRefused
from idp.storage import boxes
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.enrolments import Enrolment, about
from idp.web.enrol.registry import Enroller, Prepared
from idp.web.services import services

KIND: Final = "totp"


def _prepare(enrolment_id: str, account: Account) -> Prepared:
    seed = services().random(SEED_OCTETS)
    box = boxes.close(services().keys.secret, services().random, about(enrolment_id, account.id, KIND), seed)
    # The step that holds now is the app's for good: it learns it from the picture.
    return Prepared(box, {"step": services().settings.codes.totp_step_seconds})


def _values(enrolment: Enrolment, account: Account) -> Mapping[str, Any]:
    seed, step = _seed(enrolment), _timing(enrolment).step
    uri = provisioning_uri(seed, account=account.username, issuer=services().settings.service_name, step=step)
    # Inline, so that no address holds the seed and the page's policy needs no exception.
    picture = segno.make(uri, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff", svgclass="qr")
    return {"seed": base32(seed), "qr": picture, "step": step}


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    seed = _seed(enrolment)
    step = judge(seed, form.get("code", "")[:16], services().clock.now(), NO_STEP, _timing(enrolment)).step
    if step is None:
        raise EnrolmentRefused("the code is not the app's")
    # The authenticator takes the enrolment's id, so that the seed's box belongs to it from the first moment; and the
    # step of this code is spent: it cannot be used to sign in as well.
    box = boxes.close(services().keys.secret, services().random, (enrolment.id, account.id, KIND), seed)
    return NewAuthenticator(
        enrolment.id,
        account.id,
        KIND,
        label=form.get("label", ""),
        data=dict(enrolment.data),
        secret_box=box,
        counter=step,
    )


def _timing(enrolment: Enrolment) -> Timing:
    return timing(enrolment.data, services().settings.codes)


def _seed(enrolment: Enrolment) -> bytes:
    owner = about(enrolment.id, enrolment.account_id, KIND)
    return boxes.unlock(services().keys.secret, owner, enrolment.secret_box)


ENROLLER: Final = Enroller(KIND, "enrol_totp.html", _prepare, _values, _confirm)
