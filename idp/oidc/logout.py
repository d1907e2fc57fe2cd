"""Logout requests of relying parties (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from idp.oidc.client import Client
from idp.oidc.errors import ClientUnknown, RedirectUriRefused, RequestInvalid
from idp.oidc.parameters import read_parameters


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """A logout request that was checked; where nothing names a client there is no way back to one."""

    client: Client | None
    redirect_uri: str | None
    state: str | None

    @property
    def fields(self) -> Mapping[str, str]:
        """The same request in parameters, without the ID token: it has said whose it is."""
        values = {
            "client_id": None if self.client is None else self.client.client_id,
            "post_logout_redirect_uri": self.redirect_uri,
            "state": self.state,
        }
        return {name: value for name, value in values.items() if value is not None}


def parse_logout_request(
    pairs: Iterable[tuple[str, str]],
    find_client: Callable[[str], Client | None],
    read_hint: Callable[[str, str | None], Mapping[str, Any]],
) -> LogoutRequest:
    """Check a logout request.

    :param read_hint: claims of an ID token of ours; raises :class:`RequestInvalid` for what is none.
    :raises ClientUnknown: a client is named, and there is none of that name.
    :raises RedirectUriRefused: the way back is not, character for character, one that the client registered.
    :raises RequestInvalid: the hint is no ID token of ours, or another client's; state cannot be given back.
    """
    parameters = read_parameters(pairs)
    client_id = parameters.get("client_id")
    hint = parameters.get("id_token_hint")
    if hint is not None:
        client_id = str(read_hint(hint, client_id)["aud"])
    client = None if client_id is None else find_client(client_id)
    if client_id is not None and client is None:
        raise ClientUnknown("Invalid parameter client_id")
    redirect_uri = parameters.get("post_logout_redirect_uri")
    # Without a client nobody vouches for the address, however well known it looks.
    allowed = () if client is None else client.registration.post_logout_redirect_uris
    if redirect_uri is not None and redirect_uri not in allowed:
        raise RedirectUriRefused("Invalid parameter post_logout_redirect_uri")
    state = parameters.get("state")
    if state is not None and not (state.isascii() and state.isprintable()):
        raise RequestInvalid("Invalid parameter state")
    return LogoutRequest(client, redirect_uri, state)
