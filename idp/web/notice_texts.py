"""What a person is told when something that they sign in with was changed, in their language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idp.notices import WAITING
from idp.storage.notices import Pending
from idp.web.language import gettext as _
from idp.web.language import in_language
from idp.web.services import services


@dataclass(frozen=True, slots=True)
class Written:
    """A notice in words: a mail's subject and text, or a text message."""

    subject: str
    text: str
    short: str


def write(notice: Pending) -> Written:
    """A notice in the language of its account; the service's first where there are no pages in it.  Needs the app.

    It holds no link, so that nobody learns to follow one, and nothing that another person could have chosen.
    """
    with in_language(notice.locale):
        service = services().settings.service_name
        if notice.change == WAITING:
            return _waiting(service, notice)
        subject = _CHANGES[notice.change](service)
        method = method_name(notice.factor)
        text = _(
            "%(subject)s.\n\nWhat: %(method)s\nWhen: %(at)s UTC\n\n"
            "If it was you, there is nothing to do. If it was not, tell whoever gave you your account at once.\n"
            "Nobody who helps you needs a code or a password of yours.\n",
            subject=subject,
            method=method,
            at=f"{notice.created_at:%Y-%m-%d %H:%M}",
        )
        short = _("%(subject)s (%(method)s). Not you? Tell us at once.", subject=subject, method=method)
    return Written(subject, text, short)


def method_name(kind: str) -> str:
    """What a kind of authenticator is called in the middle of a sentence, in the language of now."""
    return _METHODS[kind]() if kind in _METHODS else kind


def _waiting(service: str, notice: Pending) -> Written:
    subject = _("%(service)s: something waits for your approval", service=service)
    text = _(
        "%(subject)s.\n\nWhen: %(at)s UTC\n\n"
        "Open %(service)s as you always do, sign in, and look under Approvals. There is no link in this message.\n"
        "If you do not expect it, refuse it there. Nothing happens until you approve.\n"
        "Nobody who helps you needs a code or a password of yours.\n",
        subject=subject,
        service=service,
        at=f"{notice.created_at:%Y-%m-%d %H:%M}",
    )
    return Written(subject, text, _("%(subject)s. Sign in as you always do.", subject=subject))


_CHANGES: Final[dict[str, Callable[[str], str]]] = {
    "added": lambda name: _("%(service)s: a way to sign in was added to your account", service=name),
    "removed": lambda name: _("%(service)s: a way to sign in was removed from your account", service=name),
    "replaced": lambda name: _("%(service)s: a way to sign in was replaced in your account", service=name),
    "reset": lambda name: _("%(service)s: a way to sign in was reset by the help desk", service=name),
    "used": lambda name: _("%(service)s: a way to sign in for emergencies was used in your account", service=name),
    "device": lambda name: _("%(service)s: a device was set up that approves your signatures", service=name),
}

_METHODS: Final[dict[str, Callable[[], str]]] = {
    "password": lambda: _("password"),
    "sms_otp": lambda: _("codes by text message"),
    "email_otp": lambda: _("codes by e-mail"),
    "totp": lambda: _("authenticator app"),
    "hotp": lambda: _("code device"),
    "recovery_code": lambda: _("recovery codes"),
    "certificate": lambda: _("certificate"),
    "passkey": lambda: _("passkey"),
    "mobile_id": lambda: _("Mobile ID"),
    "signing_device": lambda: _("device that approves signatures"),
}
