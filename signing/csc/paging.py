"""Pages of ``credentials/list`` (CSC API 1.0.4.0 11.3).

A token is a digest of the listing and of the last credential that was told: it says nothing, nothing has to be kept for
it, and it finds its place in the same listing only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from foundation.jose import encode_base64url
from signing.csc import errors
from signing.csc.requests import Page
from signing.link.messages import CredentialView


def page(
    views: Sequence[CredentialView], asked: Page, listing: Sequence[object]
) -> tuple[list[CredentialView], str | None]:
    """A part of a list, and the token for the next part, where there is one.

    :param listing: what tells this list from others.
    :raises errors.InvalidRequest: the token is of no place in this list.
    """
    tokens = [_token(listing, view) for view in views]
    start = 0
    if asked.token is not None:
        if asked.token not in tokens:
            raise errors.invalid("pageToken")
        start = tokens.index(asked.token) + 1
    end = len(views) if asked.most is None else min(start + asked.most, len(views))
    more = start < end < len(views)
    return list(views[start:end]), tokens[end - 1] if more else None


def _token(listing: Sequence[object], view: CredentialView) -> str:
    octets = json.dumps(["page", *listing, view.credential_id]).encode()
    return encode_base64url(hashlib.sha256(octets).digest())
