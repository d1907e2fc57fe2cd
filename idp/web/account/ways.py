"""One of the person's authenticators: its name, its use, and what its removal would mean."""

from __future__ import annotations

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from idp.authn.methods import SINGLE
from idp.errors import CredentialUnavailable, CredentialUnusable, InputRefused
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage import authenticators
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.web import prospects, wording
from idp.web.account.common import blueprint, me, page, refused, signed_in
from idp.web.account.overview import described
from idp.web.enrol.registry import kinds as enrolled_kinds
from idp.web.language import gettext as _
from idp.web.services import CredentialView, services


@blueprint.get("/ways/<authenticator_id>")
@signed_in
def way(authenticator_id: str) -> Response:
    """The page of one authenticator."""
    owned = _owned()
    item = _enabled(owned, authenticator_id)
    return refused() if item is None else _page(owned, item)


@blueprint.post("/ways/<authenticator_id>/rename")
@signed_in
def rename(authenticator_id: str) -> Response:
    """Call it something else."""
    owned = _owned()
    item = _enabled(owned, authenticator_id)
    if item is None:
        return refused()
    try:
        with services().engine.begin() as connection:
            authenticators.rename(connection, services().seals, item.id, request.form.get("label", ""))
    except InputRefused:
        return _page(owned, item, _("A name has at most 64 characters, all of which can be seen."))
    return redirect(url_for("account.way", authenticator_id=item.id), 303)


def _page(owned: tuple[Authenticator, ...], item: Authenticator, notice: str = "") -> Response:
    credentials = _credentials()
    return page(
        "account_way.html",
        400 if notice else 200,
        item=described(item),
        label=item.label,
        prospect=prospects.prospect(me(), owned, item, credentials or ()),
        subjects={view.credential_id: view.subject for view in credentials or ()},
        unread=credentials is None,
        replaceable=item.kind in SINGLE and item.kind in enrolled_kinds() and item.kind in services().messaging.factors,
        wording=wording,
        notice=notice,
    )


def _credentials() -> tuple[CredentialView, ...] | None:
    """The person's signing credentials; None: they cannot be read now."""
    try:
        return services().credentials.of_account(me().id, ACCOUNT_CLIENT_ID)
    except (CredentialUnavailable, CredentialUnusable):
        return None


def _owned() -> tuple[Authenticator, ...]:
    with reading(services().engine) as connection:
        return authenticators.of_account(connection, services().seals, me().id)


def _enabled(owned: tuple[Authenticator, ...], authenticator_id: str) -> Authenticator | None:
    return next((item for item in owned if item.id == authenticator_id and not item.disabled), None)
