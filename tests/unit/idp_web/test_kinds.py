"""Every native kind of authenticator is there wherever kinds are listed: nobody meets one without a name or a page."""

from __future__ import annotations

from typing import Any

from idp.authn.methods import MESSAGES, NATIVE
from idp.web.enrol import registry as enrol
from idp.web.prove import registry as prove
from tests.fakes.idp import Idp


def test_every_kind_has_a_name_a_picture_a_page_and_an_enrolment(idp: Idp) -> None:
    with idp.app.test_request_context():
        parts: Any = idp.app.jinja_env.get_template("_parts.html").module
        assert [kind for kind in NATIVE if str(parts.factor_name(kind)).strip() in {"", kind}] == []
        pictures = {str(parts.factor_icon(kind)) for kind in (*NATIVE, "another")}
        assert len(pictures) == len(NATIVE) + 1
        assert {kind for kind in NATIVE if prove.page_for(kind)} == set(NATIVE) - {"password", *MESSAGES}
        assert set(enrol.kinds()) == set(NATIVE)
