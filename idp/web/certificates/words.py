"""What a person is told about a certificate that was not accepted."""

from __future__ import annotations

from idp.web.language import gettext as _


def explained(cause: str) -> str:
    """A cause (:data:`idp.authn.certificate.errors.CAUSES`) in words."""
    other = _("This certificate cannot be used here. Please use another one, or another way.")
    texts = {
        "missing": _(
            "Your browser presented no certificate. Insert your card if you use one, and try again. "
            "Browsers remember a choice: you may have to close all windows first."
        ),
        "expired": _("Your certificate has expired. Please renew it, or use another way."),
        "not_yet_valid": _("Your certificate is not valid yet. Please use another way until then."),
        "revoked": _("Your certificate has been revoked. Please use another one, or another way."),
        "unknown_issuer": _("This service does not know the issuer of your certificate. Please use another one."),
        "not_checked": _(
            "Whether your certificate is still valid cannot be checked now. "
            "Please try again in a moment, or use another way."
        ),
        "unknown_account": _(
            "This certificate is not linked to an account here. "
            "Sign in another way, and add it on your account page."
        ),
        "not_yours": _("This certificate is not one of yours here. Please use another one, or another way."),
    }
    return texts.get(cause, other)
