"""Documents for the identity provider, which shows them to their person before the approval.

It comes with a token that it signed for this document and us (docs/oidc.md, "Documents that are shown").
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Final

from flask import Blueprint, Response, request, send_file

from foundation import log
from foundation.errors import JoseError
from foundation.jose import verify_compact
from portal.errors import NoSuchDocument, PortalError
from portal.outside.identity import LEEWAY_SECONDS
from portal.store import documents
from portal.store.documents import Document
from portal.web.parts import parts

blueprint = Blueprint("shown", __name__)
TOKEN_TYPE: Final = "document-fetch+jwt"
SHA256: Final = "2.16.840.1.101.3.4.2.1"
_BEARER: Final = re.compile(r"Bearer ([A-Za-z0-9_.-]{1,4096})\Z", re.ASCII)
_logger = log.get(__name__)


def address(document: Document) -> str:
    """Where the identity provider finds a document: below the folder that is registered for us."""
    return f"{parts().settings.public_url}/shown/{document.id}.pdf"


@blueprint.get("/shown/<document_id>.pdf")
def show(document_id: str) -> Response:
    """The document that the token is for, and no other; 401 for everybody else, whether there is one or not."""
    try:
        return _found(document_id, _digest())
    except (PortalError, JoseError) as error:
        _logger.info("a document was not given out", extra={"fields": {"code": error.code}})
        return Response("", 401, {"WWW-Authenticate": "Bearer"})


def _digest() -> str:
    """The digest of the document that the identity provider comes for.

    1. The token is of its type and signed by a key of the issuer.
    2. It is the issuer's, and for us.
    3. It lives.

    :raises JoseError: step 1. :raises NoSuchDocument: the others, or there is no token.
    """
    with_parts = parts()
    found = _BEARER.match(request.headers.get("Authorization", ""))
    if found is None:
        raise NoSuchDocument("no token")
    # 1.
    claims = verify_compact(found[1], with_parts.outside.keys(), (TOKEN_TYPE,))
    # 2.
    if claims.get("iss") != with_parts.settings.issuer or claims.get("aud") != with_parts.settings.client_id:
        raise NoSuchDocument("the token is another issuer's, or for somebody else")
    # 3.
    begins, ends = claims.get("iat"), claims.get("exp")
    if not isinstance(begins, int) or not isinstance(ends, int):
        raise NoSuchDocument("the token does not say when it lives")
    if not begins - LEEWAY_SECONDS <= with_parts.now < ends + LEEWAY_SECONDS:
        raise NoSuchDocument("the token does not live")
    if claims.get("hashAlgorithmOID") != SHA256:
        raise NoSuchDocument("the digest is of another algorithm")
    return str(claims.get("digest", ""))


def _found(document_id: str, digest: str) -> Response:
    with_parts = parts()
    with with_parts.engine.connect() as connection:
        found = documents.find_any(connection, with_parts.seal, document_id, with_parts.now)
        if found.sha256 != digest:
            raise NoSuchDocument("the token is for another document")
        content = documents.content_of(connection, with_parts.seal, found, "original")
    return send_file(BytesIO(content), mimetype="application/pdf")
