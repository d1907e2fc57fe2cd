"""Errors in words for a visitor: what happened, what it means for the document, what to do."""

from __future__ import annotations

from dataclasses import dataclass

from examples.errors import (
    AuthorizationRefusedError,
    ExampleError,
    FormNotCurrentError,
    ResponseForgedError,
    ServiceRefusedError,
    SignatureValueError,
    UnreachableError,
)

MAX_QUOTE = 300
"""Characters of foreign text that are shown; templates escape it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One error page."""

    title: str
    text: str
    quote: str = ""
    """What the other side said, to be shown as a quotation."""
    can_retry: bool = False
    """Whether going back to the review page makes sense."""


_REFUSALS = {
    "access_denied": (
        "The signature was not approved",
        "Nothing was signed and your document is unchanged. You can come back to it whenever you like.",
    ),
    "login_required": ("You are signed out", "Please sign in at the identity provider and try again."),
    "interaction_required": ("The identity provider needs you", "Please try again and answer what it asks."),
    "consent_required": ("Your approval is needed", "Please try again and approve the request."),
    "unmet_authentication_requirements": (
        "A stronger sign-in is needed",
        "This signature asks for a way of proving who you are that your account does not have yet.",
    ),
    "temporarily_unavailable": (
        "The identity provider is busy",
        "Nothing was signed. Please try again in a few minutes.",
    ),
    "invalid_grant": ("That took too long", "The approval had expired before it could be used. Please try again."),
}


def explain(error: ExampleError) -> Explanation:
    """The page for an error. Only text that is meant for people is quoted."""
    if isinstance(error, AuthorizationRefusedError):
        title, text = _REFUSALS.get(
            error.error,
            ("The request was refused", "The identity provider did not accept the request. Nothing was signed."),
        )
        return Explanation(title, text, _quote(error.description or error.error), can_retry=True)
    if isinstance(error, FormNotCurrentError):
        return Explanation(
            "This page was open for too long", "For your safety the form was not used. Please start again."
        )
    if isinstance(error, ResponseForgedError):
        return Explanation("This answer cannot be trusted", f"{error} Nothing was signed.", can_retry=True)
    if isinstance(error, ServiceRefusedError):
        return Explanation(
            "The signing service refused",
            "Nothing was signed. Please try again; if it stays so, tell the operator of the signing service.",
            _quote(error.description or error.error),
            can_retry=True,
        )
    if isinstance(error, UnreachableError):
        return Explanation(
            "A service does not answer",
            "Your document is still here. Please try again in a moment.",
            _quote(str(error)),
            can_retry=True,
        )
    if isinstance(error, SignatureValueError):
        return Explanation(
            "The signature does not fit",
            "What the signing service returned was refused. Please try again.",
            can_retry=True,
        )
    return Explanation("That did not work", "Nothing was signed. Please try again.", _quote(str(error)), can_retry=True)


def _quote(text: str) -> str:
    return text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "…"
