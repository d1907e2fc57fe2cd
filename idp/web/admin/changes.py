"""What is done when a change was shown, approved, and may still be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from werkzeug.wrappers import Response

from idp.authn.approval import Approval
from idp.errors import NotWhatWasApproved
from idp.web.admin import clients, guard, resets, roles
from idp.web.interaction import Finished

_DONE: Final[Mapping[str, Callable[[Approval, Mapping[str, Any]], Response]]] = {
    "admin.clients.change": clients.changed,
    "admin.roles.propose": roles.proposed,
    "admin.roles.confirm": roles.confirmed,
    "admin.roles.reject": roles.rejected,
    "admin.accounts.reset.propose": resets.proposed,
    "admin.accounts.reset.confirm": resets.confirmed,
    "admin.accounts.reset.reject": resets.rejected,
}


def changed(outcome: Finished) -> Response:
    """The end of a change's interaction."""
    approval = guard.approved(outcome)
    if not isinstance(approval, Approval):
        return approval
    if approval.action not in _DONE:
        raise NotWhatWasApproved("no change has that name")
    return _DONE[approval.action](approval, outcome.payload)
