"""What a person is told whose proof or new password is not accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from idp.authn.new_password import MAX_LENGTH
from idp.errors import AlreadyExists, InputRefused, PasswordRefused, TooManyAuthenticators
from idp.web.language import gettext as _
from idp.web.services import services


def explained(error: InputRefused | AlreadyExists) -> str:
    """Why something typed is not accepted, as precisely as it may be said."""
    if isinstance(error, AlreadyExists):
        return _("This one is bound to an account already.")
    if isinstance(error, TooManyAuthenticators):
        return _("You have as many of these as you may have. Remove one that you no longer use.")
    if isinstance(error, PasswordRefused):
        return _PASSWORD[error.cause]()
    return _("That cannot be accepted in this form. Please check it.")


_PASSWORD: Final[Mapping[str, Callable[[], str]]] = {
    "too_short": lambda: _(
        "This password is too short. It needs at least %(number)d characters.",
        number=services().settings.password.min_length,
    ),
    "too_long": lambda: _("This password is too long. It may have up to %(number)d characters.", number=MAX_LENGTH),
    "control": lambda: _("This password holds a character that cannot be typed everywhere, such as a line break."),
    "common": lambda: _("Many people use this password, so it is among the first that are tried. Choose another one."),
    "about_you": lambda: _("This password is your name or ours, or nearly. Choose one that nobody can think of."),
    "pattern": lambda: _("This password repeats itself or follows a row of keys. Choose another one."),
    "unchanged": lambda: _("This is the password that you have now. Choose another one."),
}
