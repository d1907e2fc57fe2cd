"""What a client wishes of the sign-in: pages, language, level, and how recent it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from foundation.errors import TokenMalformed
from foundation.jose import parse_json_object
from idp.oidc.client import Registration
from idp.oidc.errors import RequestInvalid

PROMPTS: Final = ("none", "login", "consent", "select_account")
_PRINTABLE: Final = re.compile(r"[ -~]*\Z")
_MAX_AGE: Final = re.compile(r"[0-9]{1,9}\Z")
_LOCALE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,8}\Z")
_MAX_LIST: Final = 10


def prompt(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """What pages the client wants shown (OIDC Core 3.1.2.1).

    :raises RequestInvalid: another word, or one that goes with no other.
    """
    found = tuple(dict.fromkeys(parameters.get("prompt", "").split()))
    if not set(found) <= set(PROMPTS):
        raise RequestInvalid("Invalid parameter prompt")
    if "none" in found and len(found) > 1:
        raise RequestInvalid("prompt none goes with no other (OIDC Core 3.1.2.1)")
    return found


def max_age(parameters: Mapping[str, str]) -> int | None:
    """Seconds that an authentication may be old.

    :raises RequestInvalid: not a number of them.
    """
    text = parameters.get("max_age")
    if text is None:
        return None
    if not _MAX_AGE.match(text):
        raise RequestInvalid("Invalid parameter max_age")
    return int(text)


def ui_locales(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Languages, the best first; ``lang`` is the CSC API's name of it.  A wish about them is no reason to refuse."""
    wished = parameters.get("ui_locales", parameters.get("lang", "")).split()
    return tuple(item for item in wished[:_MAX_LIST] if _LOCALE.match(item))


def acr(parameters: Mapping[str, str], registration: Registration) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Voluntary and essential values; what the client registered stands in where the request names none at all
    (OpenID Connect Dynamic Client Registration 1.0, 2).

    :raises RequestInvalid: not in their form, or too many.
    """
    wished = parameters.get("acr_values", "").split()
    claim = _acr_claim(parameters.get("claims"))
    values = [claim["value"]] if "value" in claim else claim.get("values", [])
    essential = claim.get("essential", False)
    if not isinstance(values, list) or not isinstance(essential, bool):
        raise RequestInvalid("Invalid parameter claims")
    for item in (*wished, *values):
        if not isinstance(item, str) or not 0 < len(item) <= 255 or not _PRINTABLE.match(item):
            raise RequestInvalid("Invalid parameter acr_values")
    if len(wished) > _MAX_LIST or len(values) > _MAX_LIST:
        raise RequestInvalid("too many acr values")
    if essential and values:
        return tuple(wished), tuple(values)
    return (*wished, *values) or registration.default_acr_values, ()


def _acr_claim(text: str | None) -> Mapping[str, Any]:
    """The request for ``acr`` in the ``claims`` parameter; other claims are voluntary and may go unanswered
    (OIDC Core 5.5.1), but a condition on ``sub`` may not."""
    if text is None:
        return {}
    try:
        claims = parse_json_object(text)
    except TokenMalformed as error:
        raise RequestInvalid("Invalid parameter claims") from error
    for place in ("id_token", "userinfo"):
        requested = claims.get(place)
        if requested is not None and not isinstance(requested, dict):
            raise RequestInvalid("Invalid parameter claims")
        if requested and "sub" in requested:
            raise RequestInvalid("a request for a value of sub is not supported; use id_token_hint")
    found = (claims.get("id_token") or {}).get("acr")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RequestInvalid("Invalid parameter claims")
    return found
