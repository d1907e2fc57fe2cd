"""pyHanko's own client for the CSC API (v1 names), unchanged, signing at SCAL2 through an OAuth authorisation of ours.

`CSCSigner` asks its `CSCAuthorizationManager` for signature activation data once it knows the digests. The manager here
pushes them as `authorization_details`, sends the person to approve them, and hands over the SAD that comes back.

`python -m examples.csc_pyhanko` takes the options of `examples.walkthrough`, and `--csc-v1`.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import aiohttp
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from pyhanko.sign.signers.csc_signer import (
    CSCAuthorizationInfo,
    CSCAuthorizationManager,
    CSCCredentialInfo,
    CSCServiceSessionInfo,
    CSCSigner,
    fetch_certs_in_csc_credential,
)

from examples import csc_client, oauth_client
from examples.errors import ExampleError, ProtocolError, UsageError, VerdictError
from examples.http_local import LocalhostResolver
from examples.options import Setting, describe, parser, setting, signed_name
from examples.pdf_signing import BYTES_RESERVED, check_acceptable, verify
from examples.walkthrough import EXIT_CODES, arrive

SHA256_OID = "2.16.840.1.101.3.4.2.1"

Approve = Callable[[str], Mapping[str, str]]
"""Takes the URL to send the browser to; returns the parameters with which it comes back."""


class OAuthAuthorizationManager(CSCAuthorizationManager):
    """Obtains a SAD for the digests in hand through scope `credential`."""

    def __init__(
        self,
        csc_session_info: CSCServiceSessionInfo,
        credential_info: CSCCredentialInfo,
        *,
        metadata: oauth_client.ServerMetadata,
        client: oauth_client.Client,
        given: Setting,
        approve: Approve,
    ) -> None:
        super().__init__(csc_session_info, credential_info)
        self._metadata = metadata
        self._client = client
        self._given = given
        self._approve = approve

    async def authorize_signature(self, hash_b64s: list[str]) -> CSCAuthorizationInfo:
        # A person may take minutes: not in the event loop.
        sad = await asyncio.to_thread(self._obtain, hash_b64s)
        return CSCAuthorizationInfo(sad=sad)

    def _obtain(self, digests: Sequence[str]) -> str:
        details = oauth_client.credential_details(
            self.csc_session_info.credential_id,
            [(digest, self._given.pdf_name) for digest in digests],
            SHA256_OID,
            self._given.csc,
        )
        pending, url = oauth_client.begin_signing(self._metadata, self._client, details)
        parameters = self._approve(url)
        return oauth_client.finish(self._given.http, self._metadata, self._client, pending, parameters).access_token


async def sign_pdf(given: Setting, csc_v1: str, approve: Approve) -> bytes:
    """Sign with the person's first usable credential.

    :param csc_v1: base URL ending in `/csc/v1`.
    :raises ExampleError: from our half; pyHanko's refusal becomes a `ProtocolError`.
    """
    metadata = oauth_client.discover(given.http, given.issuer)
    pending, url = oauth_client.begin_sign_in(metadata, given.client)
    parameters = await asyncio.to_thread(approve, url)
    tokens = oauth_client.finish(given.http, metadata, given.client, pending, parameters)
    credential_id = _first_usable(given, tokens.access_token)
    session_info = CSCServiceSessionInfo(
        service_url=service_url(csc_v1), credential_id=credential_id, oauth_token=tokens.access_token, api_ver="v1"
    )
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=LocalhostResolver())) as session:
            credential_info = await fetch_certs_in_csc_credential(session, session_info)
            manager = OAuthAuthorizationManager(
                session_info,
                credential_info,
                metadata=metadata,
                client=given.client,
                given=given,
                approve=approve,
            )
            return await _sign(given.pdf, CSCSigner(session, manager, embed_roots=False))
    except SigningError as e:
        message = f"pyHanko's client could not sign: {e}"
        raise ProtocolError(message) from e


def service_url(csc_v1: str) -> str:
    """What precedes `/csc/v1`, as pyHanko wants it.

    :raises UsageError: the URL does not end that way.
    """
    base = csc_v1.rstrip("/")
    if not base.endswith("/csc/v1") or not urlsplit(base).netloc:
        message = "--csc-v1 must end in /csc/v1"
        raise UsageError(message)
    return base.removesuffix("/csc/v1")


def _first_usable(given: Setting, token: str) -> str:
    for each in csc_client.list_credentials(given.http, given.csc, token):
        if csc_client.credential_info(given.http, given.csc, token, each).usable:
            return each
    message = "The person has no credential that can sign."
    raise ProtocolError(message)


async def _sign(pdf: bytes, signer: CSCSigner) -> bytes:
    check_acceptable(pdf)
    metadata = PdfSignatureMetadata(
        field_name="CloudSignature", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES
    )
    output = io.BytesIO()
    # With the size given there is no dry run, so the person is asked once, for the final digest.
    await PdfSigner(metadata, signer=signer).async_sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(pdf)), output=output, bytes_reserved=BYTES_RESERVED
    )
    return output.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code of `examples.walkthrough`."""
    made = parser("python -m examples.csc_pyhanko", "Signs a PDF with pyHanko's own CSC client.", EXIT_CODES)
    made.add_argument("--csc-v1", default="http://sign.localhost:8402/csc/v1", help="base URL for CSC v1")
    options = made.parse_args(arguments)
    logging.getLogger("pyhanko").setLevel(logging.CRITICAL)
    try:
        given = setting(options)
        signed = asyncio.run(sign_pdf(given, options.csc_v1, lambda url: arrive(given.person, url)))
        path = given.out / signed_name(given.pdf_name)
        path.write_bytes(signed)
        verdict = verify(signed, given.roots, fetch_revocation=given.hard_fail, hard_fail=given.hard_fail)
        print(f"signed with pyHanko's CSC client: {path.resolve()}")
        for line in describe(verdict):
            print(f"  {line}")
        if not verdict.bottom_line:
            raise VerdictError(verdict.problem)
    except ExampleError as e:
        print(f"{e.code}: {e}", file=sys.stderr)
        return e.exit_status
    except OSError as e:
        print(f"{UsageError.code}: {e}", file=sys.stderr)
        return UsageError.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
